"""A proxy before a real server that does something with what passes, as one in production may."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import io
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from programs import PATIENCE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["SILENCE", "Answer", "Change", "Passing", "flipped", "proxy", "refusing", "with_host"]


class Answer(NamedTuple):
    """What the server answered, on its way to the client."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    share: float = 1.0
    """How much of it the client gets before the connection ends."""


SILENCE = Answer(0, [], b"")
"""Is never answered: the client waits until it gives up."""


class Passing(NamedTuple):
    """A request on its way to the server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    then: Callable[[Answer], Answer | None] = lambda answer: answer
    """Returns what the client gets for the answer; for None, the connection is reset."""


Change = Passing | Answer | tuple[int, str] | None
"""What to send on, or to answer; for None, the connection is reset."""


@contextlib.contextmanager
def proxy(endpoint: str, change: Callable[[Passing], Change]) -> Iterator[str]:
    """Run a proxy; `change` returns what to send on, or what to answer at once.

    That is an answer, or a status and a body; for None, the connection is reset.
    """
    members = {"target": urlsplit(endpoint).netloc, "change": staticmethod(change)}
    handler: Any = type("Handler", (_Handler,), members)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    target: str
    change: Callable[[Passing], Change]
    protocol_version = "HTTP/1.1"  # or a client that expects "100 Continue" waits a second

    def pass_on(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = type(self).change(
            Passing(self.command, self.path, dict(self.headers.items()), body)
        )
        if isinstance(asked, Passing):
            self.reply(asked.then(self.answer(asked)))
        elif asked is None or isinstance(asked, Answer):
            self.reply(asked)
        else:
            self.reply(Answer(asked[0], [], asked[1].encode()))

    def answer(self, asked: Passing) -> Answer:
        connection = http.client.HTTPConnection(self.target, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.putrequest(
                asked.method, asked.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in asked.headers.items():
                connection.putheader(name, value)
            connection.endheaders(asked.body)
            given = connection.getresponse()
            return Answer(given.status, given.getheaders(), given.read())

    def reply(self, answer: Answer | None) -> None:
        if answer is None:
            reset = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            self.rfile.close()  # or the socket would stay open
            self.connection.close()
            return
        with contextlib.suppress(ConnectionError):  # the client may have given up
            if answer is SILENCE:
                self.connection.recv(1)
            else:
                whole = self.written(answer)
                self.wfile.write(whole[: int(len(whole) * answer.share)])

    def written(self, answer: Answer) -> bytes:
        kept, self.wfile = self.wfile, io.BytesIO()
        self.send_response_only(answer.status)
        headers = [each for each in answer.headers if each[0].lower() not in HOP_BY_HOP]
        length = str(len(answer.body))
        if self.command == "HEAD":
            length = dict(answer.headers).get("Content-Length", "0")
        for name, value in [*headers, ("Content-Length", length), ("Connection", "close")]:
            self.send_header(name, value)
        self.end_headers()
        head, self.wfile = self.wfile.getvalue(), kept
        return head + answer.body

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = pass_on  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Flip one bit of what is not empty."""
    changed = bytearray(data)
    if changed:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


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
