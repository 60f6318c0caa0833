"""Requests as an ASGI server hands them over, message by message."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ThenWhat = Literal["end", "disconnect", "silence"]


class Sent:
    """What a client sends, and what it does then; `read` counts the messages that were read."""

    def __init__(self, chunks: Iterable[bytes], then: ThenWhat = "end") -> None:
        self._chunks = iter(chunks)
        self._then = then
        self.read = 0
        self.is_waiting = asyncio.Event()
        """Set when the client has been silent for the first time."""

    async def receive(self) -> dict[str, Any]:
        """Give the next message; see ASGI's HTTP specification."""
        self.read += 1
        chunk = next(self._chunks, None)
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        if self._then == "silence":
            self.is_waiting.set()
            await asyncio.Future()
        if self._then == "disconnect":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    def request(self, headers: Mapping[str, str] | None = None, query: str = "") -> Request:
        """Give the request that all this belongs to."""
        pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
        return self.raw_request(pairs, query.encode())

    def raw_request(self, headers: Iterable[tuple[str, str]], query: bytes = b"") -> Request:
        """Give the request with headers that may be there twice."""
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": query,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        }
        return Request(scope, self.receive)


def pieces(body: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a body at some places."""
    cuts = [0, *sorted({place for place in places if 0 < place < len(body)}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(cuts)]
