"""The body of a request as chunks of bytes, with limits of size and time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from rex.attach.handle import show
from rex.attach.http.body_headers import Digests, check_whole, read_digests
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request

__all__ = ["STOPPED_SENDING", "WENT_AWAY", "Body", "content_length_of", "read_json"]

STOPPED_SENDING = "client-timeout"
"""The error code when a client stalls, answered with 408 (RFC 9110, section 15.5.9)."""

WENT_AWAY = "client-disconnected"
"""The error code when a client disconnects or sends a body that the server cannot decode."""

MIN_BYTES = 1024
"""The bytes that must arrive in each `stall_seconds`, unless the body ends."""

MAX_JSON_BYTES = 65536

_LENGTH = re.compile(r"[0-9]{1,19}")


class Body(AsyncIterator[bytes]):
    """The bytes of a request as they arrive, for one iteration.

    The body may have at most `max_size` bytes, and at least 1 KiB must arrive in each
    `stall_seconds`. The time that the reader spends on a chunk does not count.

    With `is_part`, the body is part of a file (`check_whole`); with `is_only`, it is the only part,
    so that Repr-Digest is that of the body.

    Errors: `TOO_LARGE`; `ILL_FORMED` for a Content-Length that is malformed or differs from the
    size of the body, for a Content-Range, and for a digest that does not match; `UNSUPPORTED` for a
    Content-Encoding; `UNAVAILABLE` with the code `STOPPED_SENDING` or `WENT_AWAY`. The constructor
    raises those that follow from the headers.
    """

    def __init__(
        self,
        request: Request,
        *,
        max_size: int | None,
        stall_seconds: float,
        is_part: bool = False,
        is_only: bool = False,
    ) -> None:
        check_whole(request.headers, is_part=is_part)
        self._digests = Digests(read_digests(request.headers, is_part=is_part and not is_only))
        self._receive = request.receive
        self._max_size = max_size
        self._stall_seconds = stall_seconds
        self._patience = stall_seconds
        self._due = MIN_BYTES
        self._size = 0
        self._has_more = True
        self._announced = content_length_of(request.headers)
        if self._announced is not None:
            self._check_size(self._announced)
        elif "wsgi_environ" in request.scope and "transfer-encoding" in request.headers:
            # Through WSGI, a body of unknown length arrives empty.
            raise Error("Content-Length is required", kind=Kind.ILL_FORMED)

    @property
    def content_length(self) -> int | None:
        """Content-Length in bytes, if there is one."""
        return self._announced

    @property
    def size(self) -> int:
        """The number of bytes that have arrived, also those beyond the limit."""
        return self._size

    def limit(self, max_size: int) -> None:
        """Lower the size limit. Errors: `TOO_LARGE` if the body is known to exceed it."""
        if self._max_size is None or max_size < self._max_size:
            self._max_size = max_size
        self._check_size(max(self._size, self._announced or 0))

    async def __anext__(self) -> bytes:
        chunk = await self._next_chunk()
        self._size += len(chunk)
        self._check_size(self._size)
        if self._announced is not None:
            self._check_announced(self._announced, is_end=not chunk)
        if not chunk:
            self._digests.check()
            raise StopAsyncIteration
        self._digests.update(chunk)
        return chunk

    async def _next_chunk(self) -> bytes:
        """Return the next bytes, or none at the end."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._patience):
                while self._has_more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Error("Client disconnected", kind=Kind.UNAVAILABLE, code=WENT_AWAY)
                    self._has_more = message.get("more_body", False)
                    chunk: bytes = message.get("body", b"")
                    if chunk:  # an empty message is not progress
                        self._begin_window(len(chunk), asyncio.get_running_loop().time() - began)
                        return chunk
        except TimeoutError:
            reason = f"less than {MIN_BYTES} bytes arrived in {self._stall_seconds:g} seconds"
            raise Error(
                "The client stopped sending", reason, kind=Kind.UNAVAILABLE, code=STOPPED_SENDING
            ) from None
        return b""

    def _begin_window(self, size: int, waited: float) -> None:
        """Begin a new window once all bytes due in the current window have arrived."""
        self._due -= size
        self._patience -= waited
        if self._due <= 0:
            self._due, self._patience = MIN_BYTES, self._stall_seconds

    def _check_size(self, size: int) -> None:
        if self._max_size is not None and size > self._max_size:
            raise Error(
                "The request is too large", f"more than {self._max_size} bytes", kind=Kind.TOO_LARGE
            )

    def _check_announced(self, announced: int, *, is_end: bool) -> None:
        if self._size > announced or (is_end and self._size < announced):
            raise Error(
                "Content-Length does not match the body",
                f"{announced} bytes were announced, "
                f"{'only' if is_end else 'at least'} {self._size} arrived",
                kind=Kind.ILL_FORMED,
            )


async def read_json(
    request: Request, *, stall_seconds: float, max_size: int = MAX_JSON_BYTES
) -> dict[str, Any]:
    """Read a JSON object of at most `max_size` bytes.

    Errors: `ILL_FORMED`, and those of `Body`.
    """
    body = Body(request, max_size=max_size, stall_seconds=stall_seconds)
    read = b"".join([chunk async for chunk in body])
    try:
        wanted = json.loads(read)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise Error("The body must be a JSON object", kind=Kind.ILL_FORMED)
    return wanted


def content_length_of(headers: Headers) -> int | None:
    """Return Content-Length, if there is one (RFC 9110, section 8.6). Errors: `ILL_FORMED`."""
    given = headers.getlist("content-length")
    if not given:
        return None
    if len(given) > 1 or not _LENGTH.fullmatch(given[0]):
        raise Error("Ill-formed Content-Length", show(", ".join(given)), kind=Kind.ILL_FORMED)
    return int(given[0])
