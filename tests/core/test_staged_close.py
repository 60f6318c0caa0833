"""What is left of a request is discarded after an early answer, within limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from attach.web.virtual_time import VirtualTime
from rex.core.staged_close import MAX_BYTES, MAX_SECONDS, SILENT_SECONDS, StagedClose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Message, Receive, Scope, Send

MIB = 1024 * 1024
LARGE = {"content-length": str(1024 * MIB)}
SHORT = {"content-length": "5"}
CHUNKED = {"transfer-encoding": "chunked"}


class Server:
    """A server as ASGI describes it: once the answer is complete, there is nothing to receive."""

    discards_afterwards = False

    def __init__(
        self,
        headers: Mapping[str, str],
        chunks: Iterable[bytes],
        *,
        pause: float = 0.0,
        version: str = "1.1",
    ) -> None:
        self.scope: Scope = {
            "type": "http",
            "http_version": version,
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        self._chunks = iter(chunks)
        self._pause = pause
        self.repeats_nothing = False
        """Whether the end announces more, as a2wsgi does for a client that left."""
        self.sent: list[Message] = []
        self.received = 0
        self.received_afterwards = 0
        """After the client has the whole answer, complete or not."""

    @property
    def is_complete(self) -> bool:
        """Whether the last message of the answer was sent."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers of the answer."""
        return dict(self.sent[0]["headers"])

    async def receive(self) -> Message:
        """Return the next part of the request."""
        if self.is_complete and not self.discards_afterwards:
            return {"type": "http.disconnect"}
        await asyncio.sleep(self._pause)
        chunk = next(self._chunks, b"")
        self.received += len(chunk)
        self.received_afterwards += len(chunk) if self.sent else 0
        return {
            "type": "http.request",
            "body": chunk,
            "more_body": bool(chunk) or self.repeats_nothing,
        }

    async def send(self, message: Message) -> None:
        """Keep a part of the answer."""
        assert not self.is_complete
        self.sent.append(message)

    def ask(self, app: Any) -> float:
        """Run an application on this request; return the seconds that it took."""

        async def live() -> float:
            await app(self.scope, self.receive, self.send)
            return asyncio.get_running_loop().time()

        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            took = runner.run(live())
        assert self.is_complete
        return took


class Granian(Server):
    """A server that loses the request when the answer is whole, unless that was complete."""

    discards_afterwards = True

    async def receive(self) -> Message:
        """Return the next part of the request."""
        if self.sent and not self.is_complete:
            return {"type": "http.disconnect"}
        return await super().receive()


Granian.__module__ = "granian._granian"

SERVERS = pytest.mark.parametrize("server_type", [Server, Granian])


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading."""
    await PlainTextResponse("no", 413)(scope, receive, send)


async def read(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after reading all."""
    size = len(await Request(scope, receive).body())
    await PlainTextResponse(str(size))(scope, receive, send)


def pieces(size: int) -> Iterable[bytes]:
    """Return a body in pieces of a MiB."""
    return (bytes(MIB) for _ in range(size // MIB))


@SERVERS
def test_what_was_not_read_is_discarded_after_the_answer(server_type: type[Server]) -> None:
    """All of it, where it is within the limits; the answer comes first, whole and unchanged."""
    server = server_type(LARGE, pieces(20 * MIB))
    server.ask(StagedClose(refuse))
    assert 20 * MIB == server.received_afterwards
    assert b"no" == b"".join(message.get("body", b"") for message in server.sent)
    assert (413, b"2") == (server.sent[0]["status"], server.headers[b"content-length"])


@SERVERS
def test_no_more_is_discarded_than_the_limit(server_type: type[Server]) -> None:
    """Of a client that sends without end."""
    server = server_type(CHUNKED, (bytes(MIB) for _ in iter(int, 1)))
    server.ask(StagedClose(refuse))
    assert MAX_BYTES == server.received_afterwards


@SERVERS
@pytest.mark.parametrize(
    ("pause", "seconds"), [(1.0, MAX_SECONDS), (SILENT_SECONDS + 1, SILENT_SECONDS)]
)
def test_discarding_ends_after_a_time(
    server_type: type[Server], pause: float, seconds: float
) -> None:
    """Of a client that sends slowly, and sooner if the client is silent."""
    server = server_type(LARGE, (b"a" for _ in iter(int, 1)), pause=pause)
    assert seconds == server.ask(StagedClose(refuse))


@pytest.mark.parametrize("app", [refuse, read])
def test_a_server_that_brings_nothing_again_and_again_has_lost_the_client(app: Any) -> None:
    """Nothing is read in a busy loop: the application learns that the client has gone."""
    server = Server(LARGE, pieces(MIB))
    server.repeats_nothing = True
    if app is refuse:
        assert 0 == server.ask(StagedClose(app))
    else:
        with pytest.raises(ClientDisconnect):
            server.ask(StagedClose(app))


@SERVERS
def test_an_application_that_reads_all_is_left_alone(server_type: type[Server]) -> None:
    """Its messages pass unchanged."""
    server = server_type(LARGE, pieces(2 * MIB))
    server.ask(StagedClose(read))
    assert (0, str(2 * MIB).encode()) == (server.received_afterwards, server.sent[1]["body"])
    assert b"connection" not in server.headers


def test_a_request_without_a_body_is_not_read() -> None:
    """Some servers would wait for the end of the connection then."""
    for headers in ({}, {"content-length": "0"}):
        server = Server(headers, [])
        server.receive = None  # type: ignore[assignment,method-assign]  # it must not be called
        server.ask(StagedClose(refuse))
        assert b"connection" not in server.headers


@pytest.mark.parametrize(
    ("headers", "version", "closes"),
    [
        (LARGE, "1.1", True),
        (LARGE, "1", True),
        (CHUNKED, "1.1", True),
        ({**SHORT, "expect": "100-continue"}, "1.1", True),
        ({"content-length": "9" * 5000}, "1.1", True),
        ({"content-length": "nonsense"}, "1.1", True),
        (SHORT, "1.1", False),
        (LARGE, "2", False),
    ],
)
def test_a_client_is_told_that_the_connection_ends(
    headers: dict[str, str], version: str, *, closes: bool
) -> None:
    """By a header, if more may come than is discarded at once; HTTP/2 has no such header."""
    server = Server(headers, [b"12345"], version=version)
    server.ask(StagedClose(refuse))
    assert closes == (server.headers.get(b"connection") == b"close")


@SERVERS
def test_one_within_another_discards_once(server_type: type[Server]) -> None:
    """The service has its own, and so has an application around the service."""
    server = server_type(LARGE, pieces(3 * MIB))
    server.ask(StagedClose(StagedClose(refuse)))
    assert 3 * MIB == server.received_afterwards
