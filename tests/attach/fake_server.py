"""Servers that are not what they should be: each does one thing that a real one cannot be made to.

None of them stands in for S3 where S3 itself can be had: that is what SeaweedFS is for.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

from programs import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class Request(NamedTuple):
    """What a client asked a fake server."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Answer(NamedTuple):
    """What a fake server answers."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = {}


@contextlib.contextmanager
def fake_server(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Run a server that answers as `answer` says; give its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = answer(Request(self.command, self.path, dict(self.headers.items()), sent))
            body = given.body.encode()
            self.send_response(given.status)
            for name, value in {**given.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815 - http.server's names
        do_DELETE = do_OPTIONS = answer  # noqa: N815 - as above

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Run a server that accepts connections and never answers; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


_refusing = socket.socket()
_refusing.bind(("127.0.0.1", 0))


def refused_address() -> str:
    """Return an address at which no program listens: its port is reserved."""
    return f"http://127.0.0.1:{_refusing.getsockname()[1]}"


class Relay:
    """A way to a server that can be cut: a relay of its bytes, with TLS in front if so wished.

    `address` is where it listens. After `cut`, every connection is broken, and new ones too.
    """

    def __init__(self, endpoint: str, context: ssl.SSLContext | None = None) -> None:
        target = urlsplit(endpoint)
        self._target = (target.hostname or "", target.port or 80)
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self.cut_after: int | None = None
        """Cut when so many bytes went either way."""
        self.stall_after: int | None = None
        """Pass nothing on any more when so many bytes went either way."""
        self._passed = 0
        self._ended = threading.Event()
        scheme = "https" if context else "http"
        self.address = f"{scheme}://localhost:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections, as the death of the server does."""
        self._is_cut = True
        for connection in [*self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.cut()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            held.callback(client.close)
            if self._is_cut:
                return
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            held.enter_context(client)
            server = held.enter_context(socket.create_connection(self._target))
            self._open |= {client, server}
            back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            back.start()
            self._pass_on(client, server)
            back.join()
            self._open -= {client, server}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._passed += len(data)
                if self.cut_after is not None and self._passed > self.cut_after:
                    self.cut()
                if self.stall_after is not None and self._passed > self.stall_after:
                    self._ended.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class Authority(NamedTuple):
    """A certificate authority that nobody knows, and a certificate of it for localhost."""

    ca_file: Path
    context: ssl.SSLContext


def make_authority(directory: Path) -> Authority:
    """Make a private authority with the program openssl."""
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    certificate, key = directory / "server.pem", directory / "server.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    request = ("openssl", "req", "-x509", *curve)
    _run(*request, "-subj", "/CN=Private authority", "-keyout", ca_key, "-out", ca)
    _run(
        *(*request, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-addext", "basicConstraints=critical,CA:FALSE", "-CA", ca, "-CAkey", ca_key),
        *("-keyout", key, "-out", certificate),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return Authority(ca, context)


def _run(*command: object) -> None:
    done = run(*command)
    assert 0 == done.returncode, done.stderr
