"""An attachment open for reading: a seekable, lazily streaming, binary file over a storage."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.content.comparison import Comparison
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
"""Seeking forward by less than this many bytes reads on instead of making a new request."""
MIN_REQUEST = 64 * 1024
MAX_REQUEST = 8 * 1024 * 1024
"""After a seek, a request is for the bytes that are read, or for so many at least and at most."""
MAX_RESUMES = 3
"""How often in a row a broken stream is taken up again before it counts as failed."""


class Body(NamedTuple):
    """What a storage answers when it is asked for an object: what it is, and its bytes."""

    metadata: Metadata
    """Of the whole object, also when only a part was asked for."""
    chunks: Iterator[bytes]
    """From the byte asked for on; closed, where it has a `close`, when no longer needed.

    It may have a method `cached`: the next so many bytes if they are in memory, or else None.
    """
    end: int | None = None
    """Where the chunks end, in bytes from the beginning; None is the end of the object."""


class Reader(io.BufferedReader):
    """An attachment open for reading.

    A binary file: `read`, `readinto`, `readline`, `seek`, `tell`, iteration, `with`, `name`.
    Opening made the first request; the bytes come as they are read, a few chunks at a time. Seeking
    far makes a new request for what is read there, and for more each time while reading goes on.
    Where the stream breaks, it is taken up again.

    Bytes that are read in order from the first to the last are compared with the recorded SHA-256
    before the last ones are returned. Bytes that are read in another order are not compared.

    Errors, which are `OSError` as well: `UNAVAILABLE` when a broken stream cannot be taken up
    again; `NOT_FOUND` or `CORRUPT` when the attachment was removed or changed in the meantime;
    `CORRUPT` when the bytes do not have the SHA-256.
    """

    def __init__(self, stream: Stream) -> None:
        self.info = stream.info
        """What is known of the attachment."""
        self.stream = stream
        """What it reads from, for those who need no buffer: nobody can use both."""
        super().__init__(stream, BUFFER_SIZE)

    def __repr__(self) -> str:
        return f"Reader({self.info.handle!r})"


class Stream(io.RawIOBase):
    """The bytes of one object, fetched when they are read.

    It begins with `body`, whose chunks begin at `start`; `fetch` requests the bytes from one
    position to another; `map_errors` makes an `Error` of what either raises. Reading ends
    after `length` bytes, if that is given.
    """

    mode = "rb"
    """The mode, as a file has it."""

    def __init__(
        self,
        info: Info,
        body: Body,
        fetch: Callable[[int, int | None], Body],
        mapped: Callable[[], AbstractContextManager[None]],
        *,
        start: int = 0,
        length: int | None = None,
    ) -> None:
        self.info = info
        self.name = info.name
        """The name of the file, as a file has it."""
        self._fetch = fetch
        self._mapped = mapped
        self._chunks: Iterator[bytes] | None = body.chunks
        self._rest = memoryview(b"")
        self._position = start  # where the caller stands
        self._fetched = start  # where the end of `_rest` stands
        self._taken = 0  # how many bytes the caller has had
        self._end = info.size if length is None else min(start + length, info.size)
        self._requested = self._end_of(body)
        self._request_size = 0  # of the last request, once there was a seek
        # Where the first request was for little, its bytes are kept: libraries come back to them.
        self._kept_from = start
        is_little = self._requested < self._end and self._requested - start <= MIN_REQUEST
        self._kept: bytes | None = None if is_little else b""
        self._comparison = Comparison(info)
        if start == info.size == 0:  # there is nothing to read, which may be wrong
            self._comparison.update(0, b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def tell(self) -> int:
        """Tell the position, in bytes."""
        if self.closed:
            raise ValueError("tell of a closed attachment")
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another position; nothing is asked before the next read."""
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
        """Read into a buffer what is at hand, at least a byte unless at the end."""
        target = memoryview(buffer).cast("B")
        if not target or not self._fill(len(target)):
            return 0
        part = self._take(len(target))
        target[: len(part)] = part
        return len(part)

    def readall(self) -> bytes:
        """Read all that is left."""
        return self.read_full(max(self._end - self._position, 1))

    def read_full(self, size: int) -> bytes:
        """Read so many bytes, or all that are left; unlike `read`, never less."""
        parts = []
        while size > 0 and self._fill(size):
            part = self._take(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_cached(self, size: int) -> bytes | None:
        """Read as `read_full`, if that waits for no disk and no server; or else give None."""
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

    def close(self) -> None:
        """Stop fetching."""
        if not self.closed:
            self._drop()
            report_bytes("out", self._taken)
        super().close()

    def _take(self, size: int) -> memoryview:
        """Take at most so many bytes of `_rest`. Errors: `CORRUPT`, with nothing taken."""
        part = self._rest[: min(size, self._end - self._position)]
        self._comparison.update(self._position, part)
        self._rest = self._rest[len(part) :]
        self._position += len(part)
        self._taken += len(part)
        return part

    def _fill(self, wanted: int) -> bool:
        """Make `_rest` begin at the position, with at least one byte; False at the end."""
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
        """After a seek: skip what is at hand, read on over a small gap, or drop the request."""
        gap = self._position - (self._fetched - len(self._rest))
        if gap == 0:
            return
        if 0 < gap <= len(self._rest):
            self._rest = self._rest[gap:]
        elif 0 < gap < SKIP_SIZE and self._chunks is not None and self._position < self._requested:
            self._rest = memoryview(b"")
        else:
            self._leave()
        self._request_size = self._request_size or MIN_REQUEST // 2  # it is doubled first

    def _leave(self) -> None:
        """Go elsewhere: to what is kept, or to where a new request is needed."""
        if self._kept is None:
            try:
                with self._mapped():
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
        """Return the next chunk, or None when the request ended or broke and another is needed."""
        try:
            with self._mapped():
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
                    "Attachment is shorter than it should be", self.info.handle, kind=Kind.CORRUPT
                )
        return chunk

    def _reopen(self, wanted: int) -> Iterator[bytes]:
        self._requested = end = self._request_end(wanted)
        body = self._fetch(self._position, end if end < self.info.size else None)
        metadata = body.metadata
        same = metadata.etag == self.info.etag or (metadata.digest or "") == self.info.digest
        if metadata.size != self.info.size or not same:
            raise Error(
                "Attachment was changed while being read", self.info.handle, kind=Kind.CORRUPT
            )
        self._fetched = self._position
        self._requested = self._end_of(body)
        return body.chunks

    def _end_of(self, body: Body) -> int:
        return self._end if body.end is None else min(body.end, self._end)

    def _request_end(self, wanted: int) -> int:
        """Choose where the next request ends."""
        if self._position < self._requested:  # the last one broke
            return self._requested
        if not self._request_size:  # there was no seek
            return self._end
        self._request_size = min(2 * self._request_size, MAX_REQUEST)
        if wanted > BUFFER_SIZE:  # a buffered reader reads the rest of it in another step
            wanted += BUFFER_SIZE
        return min(self._position + max(self._request_size, wanted), self._end)

    def _drop(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._chunks = None
        self._rest = memoryview(b"")
        self._fetched = self._position
