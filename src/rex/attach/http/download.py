"""The response to a GET or HEAD of an attachment (RFC 9110), for any framework."""

from __future__ import annotations

import dataclasses
import datetime
import re
import secrets
import time
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.content.content import READ_SIZE
from rex.attach.content.media_type import (
    DEFAULT_TYPE,
    content_type_for,
    disposition,
    essence,
    is_inline_type,
)
from rex.attach.http.conditions import CONDITIONS, NOT_EXPECTED, Verdict, judge, may_be_partial
from rex.attach.http.ranges import Span, parse_spans, range_length, range_start
from rex.attach.http.sendfile import can_hand_over, target_header
from rex.attach.storage import MAX_POSITION
from rex.core import Error
from rex.core.problem import make_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach.content.reader import Reader
    from rex.attach.info import Info
    from rex.attach.storage import Storage
    from rex.core.problem import Problem

__all__ = [
    "HEADERS",
    "Download",
    "DownloadRequest",
    "DownloadResponse",
    "Part",
    "Presentation",
    "chunk_size",
    "open_download",
]

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

SIMPLE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")
"""A range that every proxy and server understands: others may have no capitals in the unit, no
blanks, and no numbers above 63 bits."""

HEADERS = frozenset((*CONDITIONS, "if-range", "range"))
"""The headers that select the response."""

ASKED_AGAIN = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
"""Caching of protected content: it may be removed, and the user may change."""

_OF_THE_BODY = ("Accept-Ranges", "Content-Length", "Content-Range")
"""Headers that the program which sends the body decides."""

FIRST_CHUNK_SIZE = 128 * 1024
"""In bytes: small, so that many stalled clients hold little memory."""
TAKEN_SIZE = 8 * 1024 * 1024
"""After this many bytes, more than buffers hold, the client is receiving: chunks are large then."""


class Presentation(NamedTuple):
    """The headers of a download, where a link decides them."""

    disposition: str
    """The Content-Disposition (RFC 6266)."""
    content_type: str | None = None
    """The type that replaces the stored one."""
    expires: float | None = None
    """When the link expires (seconds since 1970, UTC)."""


class Part(NamedTuple):
    """Part of the body: a byte range of the attachment, and the bytes that precede it."""

    head: bytes
    span: Span


class DownloadResponse(NamedTuple):
    """The status, the headers and the plan of the body."""

    status: int
    headers: dict[str, str]
    parts: tuple[Part, ...] = ()
    """The parts of the body; none if the response needs no content of the attachment."""
    end: bytes = b""
    """The bytes after the parts."""

    def handed_over(self, target: Mapping[str, str]) -> DownloadResponse:
        """Return the response by which a proxy sends the body, from a `target_header`.

        It describes the whole attachment: the proxy applies the range of the request.
        """
        kept = {name: value for name, value in self.headers.items() if name not in _OF_THE_BODY}
        return DownloadResponse(200, {**kept, **target})

    def body(self, content: bytes = b"") -> bytes:
        """Return the body, made from the bytes of the whole attachment."""
        pieces = [head + content[start:stop] for head, (start, stop) in self.parts]
        return b"".join((*pieces, self.end))


class Download:
    """A response with an open reader, where it needs one: iterate over the body, then close it."""

    def __init__(
        self, response: DownloadResponse, reader: Reader | None = None, content: bytes = b""
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._reader = reader
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in chunks; close the reader at the end."""
        if self._reader is None:
            yield self._response.body(self._content)
            return
        with self._reader as reader:
            for head, span in self._response.parts:
                if head:
                    yield head
                if reader.tell() != span.start:
                    reader.seek(span.start)
                while (position := reader.tell()) < span.stop:
                    size = chunk_size(position - span.start)
                    yield reader.read(min(size, span.stop - position))
            if self._response.end:
                yield self._response.end

    def close(self) -> None:
        """Close the reader."""
        if self._reader is not None:
            self._reader.close()


def open_download(
    storage: Storage, handle: str, request: DownloadRequest, *, inline: bool = True
) -> Download:
    """Open an attachment for the response to a request; `rex.attach.web` has it for coroutines.

    With `inline`, a browser may display the attachment if its stored type cannot carry a script. A
    response without content (HEAD, 304, 412) needs only the attachment's metadata.

    Errors: those of `Storage.open`.
    """
    cached = storage.read_cached(handle)
    if cached is not None:
        info, content = cached
        return Download(request.answer(info, inline=inline), content=content)
    if request.is_simple and can_hand_over(storage):
        response = request.answer(storage.info(handle), inline=inline)
        if request.may_hand_over(response):
            return Download(response.handed_over(target_header(storage, handle)))
    start, length = request.range_start, request.range_length
    if start is None:
        response = request.answer(storage.info(handle), inline=inline)
        if not response.parts:
            return Download(response)
        start, stop = response.parts[0].span
        length = stop - start if len(response.parts) == 1 else None
    reader = storage.open(handle, start=start, length=length)
    try:
        response = request.answer(reader.info, inline=inline)
    except BaseException:
        reader.close()
        raise
    if response.parts:
        return Download(response, reader)
    reader.close()
    return Download(response)


def chunk_size(sent: int) -> int:
    """Return the number of bytes to read next, after this many of a range were sent."""
    return READ_SIZE if sent >= TAKEN_SIZE else FIRST_CHUNK_SIZE


class DownloadRequest:
    """The parts of a request that select the response.

    `headers` are those of `HEADERS`, by names in lower case; the values of a repeated header are
    joined by commas.
    """

    def __init__(
        self, method: str, headers: Mapping[str, str], presentation: Presentation | None = None
    ) -> None:
        self._presentation = presentation
        self._method = method
        self._headers = headers
        self._range = headers.get("range")

    @property
    def is_simple(self) -> bool:
        """Whether a proxy may send the body: a GET without conditions, of at most one range."""
        if self._method != "GET" or any(name in self._headers for name in CONDITIONS):
            return False
        return self._range is None or SIMPLE_RANGE.fullmatch(self._range) is not None

    def may_hand_over(self, response: DownloadResponse) -> bool:
        """Return whether a proxy sends the same as this response to a simple request.

        A range that is ignored here may be one that a proxy understands.
        """
        is_whole = response.status == 200 and self._range is None  # noqa: PLR2004 - OK
        return len(response.parts) == 1 and (is_whole or response.status == 206)  # noqa: PLR2004

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

    def answer(self, info: Info, *, inline: bool) -> DownloadResponse:
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
            return DownloadResponse(304, kept)
        if verdict is Verdict.PRECONDITION_FAILED:
            return _refused(make_problem(412, NOT_EXPECTED, "precondition-failed", SAFETY))
        headers = {
            **kept,
            "Accept-Ranges": "bytes",
            "Content-Disposition": shown_as,
        }
        if info.content_encoding is not None:
            headers["Content-Encoding"] = info.content_encoding
        info = dataclasses.replace(info, content_type=content_type)
        if self._method == "HEAD":  # ranges are for GET only (section 14.2)
            return DownloadResponse(200, _whole(info, headers).headers)
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
) -> DownloadResponse:
    """Return the whole attachment, its byte ranges, or 416 (section 15.5.17)."""
    if spans is None or (len(spans) > 1 and info.content_encoding is not None):
        # A coding of several ranges would seem to be that of the multipart body.
        return _whole(info, headers)
    if not spans:
        detail = f"The attachment has {info.size} bytes."
        refused = {**SAFETY, "Accept-Ranges": "bytes", "Content-Range": f"bytes */{info.size}"}
        return _refused(make_problem(416, detail, "range-not-satisfiable", refused))
    return _partial(info, headers, spans[0]) if len(spans) == 1 else _several(info, headers, spans)


def _refused(problem: Problem) -> DownloadResponse:
    return DownloadResponse(problem.status, problem.headers, (), problem.content)


def _whole(info: Info, headers: dict[str, str]) -> DownloadResponse:
    described = {**headers, "Content-Type": info.content_type, "Content-Length": str(info.size)}
    return DownloadResponse(200, described, (Part(b"", Span(0, info.size)),))


def _partial(info: Info, headers: dict[str, str], span: Span) -> DownloadResponse:
    described = {
        **headers,
        "Content-Type": info.content_type,
        "Content-Length": str(span.stop - span.start),
        "Content-Range": span.content_range(info.size),
    }
    return DownloadResponse(206, described, (Part(b"", span),))


def _several(info: Info, headers: dict[str, str], spans: tuple[Span, ...]) -> DownloadResponse:
    """Return several byte ranges (sections 14.6 and 15.3.7.2)."""
    boundary = secrets.token_hex(16)
    parts = tuple(
        Part(
            (
                f"\r\n--{boundary}\r\nContent-Type: {info.content_type}\r\n"
                f"Content-Range: {span.content_range(info.size)}\r\n\r\n"
            ).encode("ascii"),
            span,
        )
        for span in spans
    )
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    size = sum(len(head) + span.stop - span.start for head, span in parts) + len(end)
    described = {
        **headers,
        "Content-Type": f"multipart/byteranges; boundary={boundary}",
        "Content-Length": str(size),
    }
    return DownloadResponse(206, described, parts, end)


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
