"""The response to a GET or HEAD of an attachment (RFC 9110), streamed from any storage."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import re
import secrets
import time
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response

from rex.attach.content.content import READ_SIZE
from rex.attach.content.media_type import (
    DEFAULT_TYPE,
    content_type_for,
    disposition,
    essence,
    is_inline_type,
)
from rex.attach.storage import MAX_POSITION
from rex.attach.web.conditions import (
    CONDITIONS,
    NOT_EXPECTED,
    Verdict,
    judge,
    may_be_partial,
    pick_headers,
)
from rex.attach.web.ranges import Span, parse_spans, range_length, range_start
from rex.core import Error
from rex.core.web import problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from rex.attach.info import Info
    from rex.attach.storage import Storage
    from rex.attach.storage.aio import AsyncReader

__all__ = ["Presentation", "serve"]

SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response here: they keep a browser from running uploaded content."""

PLAYED = {
    "Content-Security-Policy": "sandbox allow-same-origin; default-src 'none'; media-src 'self'; "
    "style-src 'unsafe-inline'"
}
"""The policy of audio and video: in a tab or frame, Chromium creates a page for them that loads the
file from this origin and has inline styles. Images and PDF need no exception."""

SCRIPT_TYPE = re.compile(
    r"(?:(?:text|application)/(?:x-)?(?:java|ecma)script"
    r"|text/(?:javascript1\.[0-5]|jscript|livescript)) *(?:;|$)",
    re.IGNORECASE,
)
"""The types that a browser runs if a page loads them as a script (MIME Sniffing)."""

HEADERS = frozenset((*CONDITIONS, "if-range", "range"))
"""The headers that select the response."""

ASKED_AGAIN = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
"""Caching of protected content: it may be removed, and the user may change."""

FIRST_CHUNK_SIZE = 128 * 1024
"""In bytes: small, so that many stalled clients hold little memory."""
TAKEN_SIZE = 8 * 1024 * 1024
"""After this many bytes, more than buffers hold, the client is receiving: chunks are large then."""
PATIENCE_BYTES = 128 * 1024
"""The bytes that a client must receive in each `stall_seconds`, on average over a chunk."""

log = logging.getLogger("rex.attach")


class Presentation(NamedTuple):
    """The headers of a download, where a link decides them."""

    disposition: str
    """The Content-Disposition (RFC 6266)."""
    content_type: str | None = None
    """The type that replaces the stored one."""
    expires: float | None = None
    """When the link expires (seconds since 1970, UTC)."""


async def serve(
    request: Request,
    storage: Storage,
    handle: str,
    *,
    inline: bool = True,
    presentation: Presentation | None = None,
    stall_seconds: float = 30,
) -> Response:
    """Return the response to a GET or HEAD of an attachment.

    With `inline`, a browser may display the attachment if its stored type cannot carry a script; a
    `presentation` overrides that. A small attachment that is in memory is sent in one message. Any
    other is streamed in chunks (128 KiB; after 8 MiB, 256 KiB) as the client receives them; a
    client that receives less than 128 KiB in `stall_seconds` is disconnected. A response without
    content (HEAD, 304, 412) needs only the attachment's metadata.

    Errors, raised before anything is sent: those of `Storage.open`.
    """
    asked = _Asked(request, presentation)
    cached = storage.read_cached(handle)
    if cached is not None:
        info, content = cached
        answer = asked.answer(info, inline=inline)
        return answer.of(content) if isinstance(answer, _Answer) else answer
    start, length = asked.range_start, asked.range_length
    if start is None:
        info = await storage.aio.info(handle)
        answer = asked.answer(info, inline=inline)
        if isinstance(answer, Response):
            return answer
        start, stop = answer.parts[0].span
        length = stop - start if len(answer.parts) == 1 else None
    reader = await storage.aio.open(handle, start=start, length=length)
    try:
        answer = asked.answer(reader.info, inline=inline)
        if isinstance(answer, _Answer):
            return _Streamed(answer, reader, stall_seconds)
    except BaseException:
        await reader.close()
        raise
    await reader.close()
    return answer


class _Part(NamedTuple):
    """Part of the body: a byte range of the attachment, and the bytes that precede it."""

    head: bytes
    span: Span


class _Answer(NamedTuple):
    """A response with content."""

    status: int
    headers: dict[str, str]
    parts: list[_Part]
    end: bytes

    def of(self, content: bytes) -> Response:
        """Return the response, with the bytes of the whole attachment."""
        pieces = [head + content[start:stop] for head, (start, stop) in self.parts]
        return Response(b"".join((*pieces, self.end)), self.status, self.headers)


class _Asked:
    """The parts of a request that select the response."""

    def __init__(self, request: Request, presentation: Presentation | None) -> None:
        self._presentation = presentation
        self._method = request.method
        self._headers = pick_headers(request.scope["headers"], HEADERS)
        self._range = self._headers.get("range")

    @property
    def range_start(self) -> int | None:
        """The position to read from, or None if the metadata is needed first."""
        if self._method == "HEAD" or any(name in self._headers for name in CONDITIONS):
            return None
        start = range_start(self._range)
        return None if start is None else min(start, MAX_POSITION)

    @property
    def range_length(self) -> int | None:
        """The number of bytes to read from `range_start`, or None if it is unknown."""
        if "if-range" in self._headers:
            return None
        length = range_length(self._range)
        return MAX_POSITION if length is None else min(length, MAX_POSITION)

    def answer(self, info: Info, *, inline: bool) -> _Answer | Response:
        """Return the response for an attachment with this metadata."""
        content_type, shown_as = self._present(info, inline=inline)
        # Last-Modified must not be in the future (section 8.8.2.1).
        modified = min(info.modified, datetime.datetime.now(datetime.UTC))
        kept = {
            "ETag": info.etag,
            "Last-Modified": _http_date(modified.replace(microsecond=0)),
            **self._cache_headers(),
            **SAFETY,
            **(PLAYED if _is_played(content_type) else {}),
        }
        verdict = judge(self._headers, info.etag, modified)
        if verdict is Verdict.NOT_MODIFIED:
            return Response(status_code=304, headers=kept)
        if verdict is Verdict.PRECONDITION_FAILED:
            return problem(412, NOT_EXPECTED, "precondition-failed", SAFETY)
        headers = {
            **kept,
            "Accept-Ranges": "bytes",
            "Content-Disposition": shown_as,
        }
        if info.content_encoding is not None:
            headers["Content-Encoding"] = info.content_encoding
        info = dataclasses.replace(info, content_type=content_type)
        if self._method == "HEAD":  # ranges are for GET only (section 14.2)
            whole = _whole(info, headers)
            return Response(status_code=200, headers=whole.headers)
        partial = may_be_partial(self._headers, info.etag, modified)
        return _content(info, headers, parse_spans(self._range if partial else None, info.size))

    def _present(self, info: Info, *, inline: bool) -> tuple[str, str]:
        """Return the type and the disposition to send."""
        content_type = _safe_type(info.content_type)
        if self._presentation is None:
            inline = inline and is_inline_type(content_type)
            return content_type, disposition(info.name, inline=inline)
        given = self._presentation.content_type or content_type
        return _safe_type(given), self._presentation.disposition

    def _cache_headers(self) -> dict[str, str]:
        """Return the caching headers: a response to a link may be cached until the link expires."""
        if self._presentation is None or self._presentation.expires is None:
            return ASKED_AGAIN
        left = max(0, int(self._presentation.expires - time.time()))
        return {"Cache-Control": f"private, max-age={left}, immutable"}


def _content(
    info: Info, headers: dict[str, str], spans: tuple[Span, ...] | None
) -> _Answer | Response:
    """Return the whole attachment, its byte ranges, or 416 (section 15.5.17)."""
    if spans is None or (len(spans) > 1 and info.content_encoding is not None):
        # A coding of several ranges would seem to be that of the multipart body.
        return _whole(info, headers)
    if not spans:
        detail = f"The attachment has {info.size} bytes."
        refused = {**SAFETY, "Accept-Ranges": "bytes", "Content-Range": f"bytes */{info.size}"}
        return problem(416, detail, "range-not-satisfiable", refused)
    return _partial(info, headers, spans[0]) if len(spans) == 1 else _several(info, headers, spans)


def _whole(info: Info, headers: dict[str, str]) -> _Answer:
    described = {**headers, "Content-Type": info.content_type, "Content-Length": str(info.size)}
    return _Answer(200, described, [_Part(b"", Span(0, info.size))], b"")


def _partial(info: Info, headers: dict[str, str], span: Span) -> _Answer:
    described = {
        **headers,
        "Content-Type": info.content_type,
        "Content-Length": str(span.stop - span.start),
        "Content-Range": span.content_range(info.size),
    }
    return _Answer(206, described, [_Part(b"", span)], b"")


def _several(info: Info, headers: dict[str, str], spans: tuple[Span, ...]) -> _Answer:
    """Return several byte ranges (sections 14.6 and 15.3.7.2)."""
    boundary = secrets.token_hex(16)
    parts = [
        _Part(
            (
                f"\r\n--{boundary}\r\nContent-Type: {info.content_type}\r\n"
                f"Content-Range: {span.content_range(info.size)}\r\n\r\n"
            ).encode("ascii"),
            span,
        )
        for span in spans
    ]
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    size = sum(len(head) + span.stop - span.start for head, span in parts) + len(end)
    described = {
        **headers,
        "Content-Type": f"multipart/byteranges; boundary={boundary}",
        "Content-Length": str(size),
    }
    return _Answer(206, described, parts, end)


@lru_cache(maxsize=1024)
def _http_date(date: datetime.datetime) -> str:
    return format_datetime(date.astimezone(datetime.UTC), usegmt=True)


@lru_cache(maxsize=256)
def _is_played(content_type: str) -> bool:
    return is_inline_type(content_type) and essence(content_type).startswith(("audio/", "video/"))


@lru_cache(maxsize=256)
def _safe_type(stored: str) -> str:
    """Return the stored type, or the default if it is a script or, from other writers, invalid."""
    try:
        content_type = content_type_for("", stored)
    except Error:
        return DEFAULT_TYPE
    return DEFAULT_TYPE if SCRIPT_TYPE.match(content_type) else content_type


class _NotTakenError(Exception):
    """The client does not receive the response."""


class _Streamed(Response):
    """A response that is read from the storage as the client receives it; closes the reader.

    A response that ends early lacks its last message and is shorter than Content-Length, so the
    server closes the connection and the client notices.
    """

    def __init__(self, answer: _Answer, reader: AsyncReader, stall_seconds: float) -> None:
        self.status_code = answer.status
        self.background = None
        self.init_headers(answer.headers)
        self._answer = answer
        self._reader = reader
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, unless the client disconnects or stalls."""
        del scope
        streaming = asyncio.create_task(self._stream(send))
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if streaming.done():
                streaming.result()
        finally:
            # Also if this task is cancelled, even twice.
            await asyncio.shield(asyncio.ensure_future(self._end(streaming, leaving)))

    async def _stream(self, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            await self._give(send, start)
            for head, span in self._answer.parts:
                if head:
                    await self._give(send, _body(head))
                await self._give_span(send, span)
            await self._give(send, _body(self._answer.end, more=False))
        except _NotTakenError:
            log.info("the client did not receive all of %s", self._reader.info.handle)

    async def _give_span(self, send: Send, span: Span) -> None:
        if self._reader.tell() != span.start:
            await self._reader.seek(span.start)
        position = span.start
        while position < span.stop:
            size = READ_SIZE if position - span.start >= TAKEN_SIZE else FIRST_CHUNK_SIZE
            chunk = await self._reader.read(min(size, span.stop - position))
            await self._give(send, _body(chunk))
            position += len(chunk)

    async def _give(self, send: Send, message: Message) -> None:
        windows = max(1, len(message.get("body", b"")) / PATIENCE_BYTES)
        try:
            async with asyncio.timeout(self._stall_seconds * windows):
                await send(message)
        except OSError as failure:  # a timeout, or disconnected
            raise _NotTakenError from failure

    async def _end(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reader.close()


async def _until_gone(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
