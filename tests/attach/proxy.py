"""A proxy before a real server that does something with what passes, as one in production may."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Passing", "proxy", "refusing", "with_host"]


class Passing(NamedTuple):
    """A request on its way to the server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def proxy(endpoint: str, change: Callable[[Passing], Passing | tuple[int, str]]) -> Iterator[str]:
    """Run a proxy; `change` gives what to send on, or a status and body to answer at once."""
    target = urlsplit(endpoint).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = change(Passing(self.command, self.path, dict(self.headers.items()), body))
            if not isinstance(asked, Passing):
                self.answer(asked[0], [], asked[1].encode())
                return
            connection = http.client.HTTPConnection(target, timeout=60)
            with contextlib.closing(connection):
                connection.putrequest(
                    asked.method, asked.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in asked.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(asked.body)
                given = connection.getresponse()
                self.answer(given.status, given.getheaders(), given.read())

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            kept = [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]
            length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else None
            for name, value in [*kept, ("Content-Length", length or str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = pass_on  # noqa: N815 - http.server's names

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


HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


def refusing(
    method: str, status: int, body: str = "<html>No</html>"
) -> Callable[[Passing], Passing | tuple[int, str]]:
    """Refuse one method."""
    return lambda asked: (status, body) if asked.method == method else asked


def with_host(host: str) -> Callable[[Passing], Passing | tuple[int, str]]:
    """Give the server another Host than the client did, or for '' the one it always had."""

    def change(asked: Passing) -> Passing:
        return asked._replace(headers={**asked.headers, "Host": host})

    return change
