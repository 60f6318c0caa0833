"""Staged close after a response that precedes the end of its request (RFC 9112, section 9.6).

If a server closes a connection on which bytes still arrive, the kernel resets it, and a client that
is still sending loses a response that it has not read yet. `StagedClose` therefore reads and
discards the rest of the request after the response, within limits, before the server closes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MAX_BYTES", "MAX_SECONDS", "SILENT_SECONDS", "StagedClose"]

MAX_BYTES = 64 * 1024 * 1024
"""Maximum number of bytes to discard."""
MAX_CONFLICT_BYTES = 1024 * 1024
"""Maximum after a 409: a resumed upload sends those bytes again."""
MAX_SECONDS = 30.0
"""Maximum duration of discarding."""
SILENT_SECONDS = 5.0
"""Timeout for a client that stops sending."""
MAX_EMPTY_MESSAGES = 100
"""After so many in a row, the client has disconnected: a2wsgi then repeats them endlessly."""
SHORT_BYTES = 64 * 1024
"""A body up to this size is discarded quickly, and the connection stays open."""


_MARK = "rex.staged_close"
"""Scope key that marks requests handled by an outer `StagedClose`."""


class StagedClose:
    """ASGI middleware that discards the rest of a request after an early response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and _MARK not in scope and _has_body(scope):
            exchange = _Exchange(scope, receive, send)
            scope, receive, send = {**scope, _MARK: True}, exchange.receive, exchange.send
        await self._app(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    """Check whether the request has a body (RFC 9112, section 6)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


class _Exchange:
    """A request with a body, and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_read = False
        self._empty_messages = 0
        self._max_bytes = MAX_BYTES
        self._closes = scope.get("http_version", "1.1")[0] == "1" and not _is_short(scope)
        # In ASGI, an application can read a request until it sends the last response message.
        # granian stops earlier, once the client has the whole response, unless that message came.
        server = type(getattr(receive, "__self__", None)).__module__.partition(".")[0]
        self._reads_afterwards = server == "granian"

    async def receive(self) -> Message:
        """Receive a message from the server and record the end of the request."""
        message = await self._receive()
        self._empty_messages = 0 if message.get("body") else self._empty_messages + 1
        if self._empty_messages > MAX_EMPTY_MESSAGES:
            message = {"type": "http.disconnect"}
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response; discard the rest of the request after the last one."""
        if message.get("status") == HTTPStatus.CONFLICT:
            self._max_bytes = MAX_CONFLICT_BYTES
        if self._closes and not self._is_read and message["type"] == "http.response.start":
            message = {**message, "headers": _close_headers(message.get("headers", ()))}
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self._is_read or not is_last:
            await self._send(message)
        elif self._reads_afterwards:
            await self._send(message)
            await self._discard()
        else:
            await self._send({**message, "more_body": True})
            await self._discard()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _discard(self) -> None:
        left = self._max_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_SECONDS):
                while not self._is_read and left > 0:
                    async with asyncio.timeout(SILENT_SECONDS):
                        left -= len((await self.receive()).get("body", b""))


def _is_short(scope: Scope) -> bool:
    """Check whether the body is short; a client that expects 100 Continue may not send a body."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    return (
        headers.keys().isdisjoint((b"transfer-encoding", b"expect"))
        and length[:20].isdigit()
        and int(length[:20]) <= SHORT_BYTES
    )


def _close_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in headers if name.lower() != b"connection"]
    return [*others, (b"connection", b"close")]
