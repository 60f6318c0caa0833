"""What the browser tests drive: Chromium, the service in a process of its own, a plain server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = shutil.which("chromium")
HERE = Path(__file__).parent


class Service(NamedTuple):
    """A running `rex serve`."""

    origin: str
    directory: Path
    """Where it runs, and where its attachments are if they are not on S3."""

    @property
    def url(self) -> str:
        """The address of the attachments."""
        return f"{self.origin}/attach"


@contextmanager
def serving(directory: Path, settings: dict[str, str]) -> Iterator[Service]:
    """Run `rex serve` in a directory, with more settings; everybody may use it."""
    port = free_port()
    service = Service(f"http://127.0.0.1:{port}", directory)
    environment = {
        "PATH": os.environ["PATH"],
        "ATTACH_ACCESS": "anybody",
        "ATTACH_URL": service.url,
        **{name.upper(): value for name, value in settings.items()},
    }
    with (directory / "log").open("wb") as log:
        program = subprocess.Popen(
            [Path(sys.executable).with_name("rex"), "serve", "--port", str(port)],
            env=environment,
            cwd=directory,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=9)) as client:
            client.get(f"{service.origin}/health").raise_for_status()
        yield service
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait(60)


def free_port() -> int:
    """Give a port of the loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class PlainServer:
    """Serves what it is given with the type it is given, and not one header more.

    Requests for ``/ran/…`` are counted: that is what a script reports to.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {"/": ("text/html", b"<!doctype html>")}
        self.ran: list[str] = []
        pages, ran = self.pages, self.ran

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path.startswith("/ran/"):
                    ran.append(path.removeprefix("/ran/"))
                kind, content = pages.get(path, ("text/plain", b""))
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(ConnectionError):  # the page may have gone
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # `localhost` and 127.0.0.1 are two sites to a browser, not merely two origins.
        self.origin = f"http://localhost:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[PlainServer]:
        """Answer until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
