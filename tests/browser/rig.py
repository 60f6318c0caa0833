"""What the browser tests drive: Chromium, the service in a process of its own, a plain server."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from programs import PATIENCE
from served import HOST, PORT, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HEADLESS_SHELL = shutil.which("chromium-headless-shell") or CHROMIUM
"""Chromium without its windows and its PDF reader: it takes half of the CPU time."""
HERE = Path(__file__).parent

BUNDLES = ("uppy5", "uppy6", "uppy601")
"""The pages with clients in them: of Uppy 5, of Uppy 6, and of the bundle `uppy` 6.0.1."""


def launch(playwright: Playwright, *options: str, program: str | None = HEADLESS_SHELL) -> Browser:
    """Start a browser without a window.

    Root needs ``--no-sandbox``; without a graphics card, ``--disable-gpu`` draws in less time.
    """
    options = ("--no-sandbox", "--disable-gpu", *options)
    patience = 1000 * PATIENCE
    browser = playwright.chromium.launch(executable_path=program, args=[*options], timeout=patience)
    browser.on("context", lambda context: context.set_default_timeout(patience))
    return browser


@contextmanager
def serving_pages(directory: Path, **settings: object) -> Iterator[Served]:
    """Run `rex serve` in a directory, with an address for the links that it makes itself."""
    url = f"http://{HOST}:{PORT}/attach"
    with rex_serving(directory, attach_url=url, **settings) as served:
        yield served


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

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
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
