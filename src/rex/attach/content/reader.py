"""An attachment opened for reading: a seekable binary file that streams lazily from a backend."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.content.comparison import Comparison, check_unchanged
from rex.attach.telemetry.operation import report_bytes
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from _typeshed import WriteableBuffer

    from rex.attach.info import Info, Metadata

__all__ = ["Body", "Reader", "Stream"]

BUFFER_SIZE = 64 * 1024
SKIP_SIZE = 1024 * 1024
"""A forward seek shorter than this many bytes reads on instead of making a new request."""
MIN_REQUEST = 64 * 1024
MAX_REQUEST = 8 * 1024 * 1024
"""Minimum and maximum size of a request after a seek, in bytes."""
MAX_RESUMES = 3
"""Maximum number of consecutive attempts to resume a broken stream."""


class Body(NamedTuple):
    """The metadata of an object and its bytes from a requested position, from a backend."""

    metadata: Metadata
    """Metadata of the whole object, also for a byte range."""
    chunks: Iterator[bytes]
    """Bytes from the requested position; the reader calls `close`, if there is one, after use.

    An optional method `read_cached(size)` returns the next bytes if they are in memory, or None.
    """
    end: int | None = None
    """The offset after the last byte of `chunks`; None means the end of the object."""


class Reader(io.BufferedReader):
    """An attachment opened for reading.

    A binary file: `read`, `readinto`, `readline`, `seek`, `tell`, iteration, `with`, `name`.
    Opening makes the first request; bytes arrive as the caller reads, a few chunks at a time. A far
    seek makes a new request, whose size grows while reading continues. The reader resumes a broken
    stream.

    Reading from the first to the last byte in order verifies the recorded digest before the last
    bytes are returned. Reading in any other order does not.

    Errors, all of them also `OSError`: `UNAVAILABLE` if a broken stream cannot be resumed;
    `NOT_FOUND` or `CORRUPT` if the attachment was removed or changed in the meantime; `CORRUPT` if
    the digest differs.
    """

    def __init__(self, stream: Stream) -> None:
        self.info = stream.info
        """The attachment's metadata."""
        self.stream = stream
        """The unbuffered stream; use either the stream or the reader, not both."""
        super().__init__(stream, BUFFER_SIZE)

    def __repr__(self) -> str:
        return f"Reader({self.info.handle!r})"


class Stream(io.RawIOBase):
    """The bytes of an object, fetched on demand.

    `body` is the first response, whose chunks begin at `start`; `fetch` requests the bytes from one
    position to another; `errors` is a reusable context manager that maps exceptions to `Error`.
    Reading ends after `length` bytes, if given.
    """

    mode = "rb"
    """The mode, as for a file."""

    def __init__(
        self,
        info: Info,
        body: Body,
        fetch: Callable[[int, int | None], Body],
        errors: AbstractContextManager[None],
        *,
        start: int = 0,
        length: int | None = None,
    ) -> None:
        self.info = info
        self.name = info.name
        """The file name, as for a file."""
        self._fetch = fetch
        self._errors = errors
        self._chunks: Iterator[bytes] | None = body.chunks
        self._rest = memoryview(b"")
        self._position = start  # of the caller
        self._fetched = start  # position of the end of `_rest`
        self._taken = 0  # number of bytes returned to the caller
        self._end = info.size if length is None else min(start + length, info.size)
        self._requested = self._end_of(body)
        self._request_size = 0  # of the last request; 0 before the first seek
        self.request_limit: int | None = None
        """The largest request in bytes, unless more are read at once; None means unlimited."""
        # The bytes of a small first request are kept: libraries come back to them.
        self._kept_from = start
        is_little = self._requested < self._end and self._requested - start <= MIN_REQUEST
        self._kept: bytes | None = None if is_little else b""
        self._comparison = Comparison(info)
        if start == info.size == 0:  # verify that the attachment should be empty
            try:
                self._comparison.update(0, b"")
            except Error:
                self._drop()
                raise

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        if self.closed:
            raise ValueError("tell of a closed attachment")
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; the next read makes a request if needed."""
        if self.closed:
            raise ValueError("seek of a closed attachment")
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}
        if whence not in bases:
            raise ValueError(f"unsupported whence value: {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise OSError(errno.EINVAL, f"negative seek position: {position}")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read available bytes into a buffer: at least one, except at the end."""
        target = memoryview(buffer).cast("B")
        if not target or not self._fill(len(target)):
            return 0
        part = self._take(len(target))
        target[: len(part)] = part
        return len(part)

    def readall(self) -> bytes:
        """Read all remaining bytes."""
        return self.read_full(max(self._end - self._position, 1))

    def read_full(self, size: int) -> bytes:
        """Read exactly `size` bytes, or all remaining ones."""
        parts = []
        while size > 0 and self._fill(size):
            part = self._take(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_cached(self, size: int) -> bytes | None:
        """Read like `read_full`, or return None if reading might wait for a disk or a server."""
        size = min(size, self._end - self._position)
        if size <= 0:
            return b""
        if self._position != self._fetched - len(self._rest):  # after a seek
            return None
        if len(self._rest) >= size:
            return bytes(self._take(size))
        cached = getattr(self._chunks, "read_cached", None)
        if cached is None or self._rest:
            return None
        given: bytes | None = cached(size)
        if given is not None:
            self._rest = memoryview(given)
            self._fetched += size
            self._take(size)
        return given

    def release(self) -> None:
        """Release the request to a server and what it has fetched; the next read makes another.

        An open file stays open: it would not be there any more if it were removed meanwhile.
        """
        if getattr(self._chunks, "read_cached", None) is None:
            self._drop()
            self._requested = self._position

    def close(self) -> None:
        """Stop fetching and release the request."""
        if not self.closed:
            self._drop()
            report_bytes("out", self._taken)
        super().close()

    def _take(self, size: int) -> memoryview:
        """Remove at most `size` bytes from `_rest`. Errors: `CORRUPT`, with `_rest` unchanged."""
        part = self._rest[: min(size, self._end - self._position)]
        self._comparison.update(self._position, part)
        self._rest = self._rest[len(part) :]
        self._position += len(part)
        self._taken += len(part)
        return part

    def _fill(self, wanted: int) -> bool:
        """Fill `_rest` with at least one byte from the position on; return False at the end."""
        if self.closed:
            raise ValueError("read of a closed attachment")
        if self._position >= self._end:
            return False
        self._align()
        resumes = 0
        while not self._rest:
            chunk = self._next(wanted, resumes)
            if chunk is None:
                resumes += self._position < self._requested
                continue
            if self._kept is None:
                self._kept = chunk if self._fetched == self._kept_from else b""
            self._fetched += len(chunk)
            self._rest = memoryview(chunk)[max(self._position - self._fetched + len(chunk), 0) :]
        return True

    def _align(self) -> None:
        """Follow a seek: skip fetched bytes, read over a small gap, or drop the request."""
        gap = self._position - (self._fetched - len(self._rest))
        if gap == 0:
            return
        if 0 < gap <= len(self._rest):
            self._rest = self._rest[gap:]
        elif 0 < gap < SKIP_SIZE and self._chunks is not None and self._position < self._requested:
            self._rest = memoryview(b"")
        else:
            self._leave()
        self._request_size = self._request_size or MIN_REQUEST // 2  # doubled before use

    def _leave(self) -> None:
        """Drop the request and continue with the kept bytes, or with a new request."""
        if self._kept is None:
            try:
                with self._errors:
                    self._kept = b"".join(self._chunks or ())
            except Error:
                self._kept = b""
        self._drop()
        self._request_size = 0
        self._requested = self._position
        at = self._position - self._kept_from
        if 0 <= at < len(self._kept):
            self._rest = memoryview(self._kept)[at:]
            self._requested = self._fetched = self._kept_from + len(self._kept)

    def _next(self, wanted: int, resumes: int) -> bytes | None:
        """Return the next chunk, or None if the request ended or broke and a new one is needed."""
        try:
            with self._errors:
                if self._chunks is None:
                    self._chunks = self._reopen(wanted)
                chunk = next(self._chunks, None)
        except Error as error:
            if error.kind is not Kind.UNAVAILABLE or resumes >= MAX_RESUMES:
                raise error.as_os_error() from error.__cause__
            chunk = None
        if chunk is None:
            self._drop()
            if resumes >= MAX_RESUMES:
                raise Error(
                    "Attachment is shorter than its recorded size",
                    self.info.handle,
                    kind=Kind.CORRUPT,
                )
        return chunk

    def _reopen(self, wanted: int) -> Iterator[bytes]:
        self._requested = end = self._request_end(wanted)
        body = self._fetch(self._position, end if end < self.info.size else None)
        try:
            check_unchanged(body.metadata, self.info)
        except Error:
            self._chunks = body.chunks
            self._drop()
            raise
        self._fetched = self._position
        self._requested = self._end_of(body)
        return body.chunks

    def _end_of(self, body: Body) -> int:
        return self._end if body.end is None else min(body.end, self._end)

    def _request_end(self, wanted: int) -> int:
        """Return the end of the next request."""
        if self._position < self._requested:  # the last request broke
            return self._requested
        limit = self._end if self.request_limit is None else self.request_limit
        if self._request_size:  # after a seek
            self._request_size = min(2 * self._request_size, MAX_REQUEST)
            limit = min(self._request_size, limit)
            if wanted > BUFFER_SIZE:  # a buffered reader reads the remainder in a second step
                wanted += BUFFER_SIZE
        return min(self._position + max(limit, wanted), self._end)

    def _drop(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._chunks = None
        self._rest = memoryview(b"")
        self._fetched = self._position
