"""An attachment open for reading: a seekable, lazily streaming, binary file over a storage."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.watching.watched import moved
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from _typeshed import WriteableBuffer

    from rex.attach.info import Info, Metadata

__all__ = ["Body", "Reader", "Stream"]

BUFFER_SIZE = 64 * 1024
SKIP_SIZE = 1024 * 1024
"""Seeking forward by less than this many bytes reads on instead of asking anew."""
MAX_RESUMES = 3
"""How often in a row a broken stream is taken up again before it counts as failed."""


class Body(NamedTuple):
    """What a storage answers when it is asked for an object: what it is, and its bytes."""

    metadata: Metadata
    """Of the whole object, also when only a part was asked for."""
    chunks: Iterator[bytes]
    """From the byte asked for to the end; closed, where it has a `close`, when no longer needed.

    It may have a method `cached`: the next so many bytes if they are in memory, or else None.
    """


class Reader(io.BufferedReader):
    """An attachment open for reading.

    A binary file: `read`, `readinto`, `readline`, `seek`, `tell`, iteration, `with`. Opening made
    the first request; the bytes come as they are read, a few chunks at a time; seeking far makes a
    new request. Where the stream breaks, it is taken up again. Errors: `UNAVAILABLE` when that
    fails, `NOT_FOUND` or `CORRUPT` when the attachment was removed or changed in the meantime.
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

    It begins with `chunks`, which are those from `start` on; `fetch` asks for those from another
    position, and `mapped` makes errors for people of what either raises.
    """

    def __init__(
        self,
        info: Info,
        chunks: Iterator[bytes],
        fetch: Callable[[int], Body],
        mapped: Callable[[], AbstractContextManager[None]],
        start: int = 0,
    ) -> None:
        self.info = info
        self._fetch = fetch
        self._mapped = mapped
        self._chunks: Iterator[bytes] | None = chunks
        self._rest = memoryview(b"")
        self._position = start  # where the caller stands
        self._fetched = start  # where the end of `_rest` stands
        self._taken = 0  # how many bytes the caller has had

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
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.info.size}
        if whence not in bases:
            raise ValueError(f"unsupported whence value: {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"negative seek position: {position}")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer what is at hand, at least a byte unless at the end."""
        target = memoryview(buffer).cast("B")
        if not target or not self._fill():
            return 0
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._take(size)
        return size

    def readall(self) -> bytes:
        """Read all that is left."""
        parts = []
        while self._fill():
            parts.append(self._rest)
            self._take(len(self._rest))
        return b"".join(parts)

    def read_full(self, size: int) -> bytes:
        """Read so many bytes, or all that are left; unlike `read`, never less."""
        parts = []
        while size > 0 and self._fill():
            part = self._rest[:size]
            parts.append(part)
            self._take(len(part))
            size -= len(part)
        return b"".join(parts)

    def read_cached(self, size: int) -> bytes | None:
        """Read as `read_full`, if that waits for no disk and no server; or else give None."""
        size = min(size, self.info.size - self._position)
        if size <= 0:
            return b""
        self._align()
        if len(self._rest) >= size:
            content = bytes(self._rest[:size])
            self._take(size)
            return content
        cached = getattr(self._chunks, "cached", None)
        if cached is None or self._rest or self._fetched != self._position:
            return None
        given: bytes | None = cached(size)
        if given is not None:
            self._taken += size
            self._position += size
            self._fetched = self._position
        return given

    def close(self) -> None:
        """Stop fetching."""
        if not self.closed:
            self._drop()
            moved("out", self._taken)
        super().close()

    def _take(self, size: int) -> None:
        self._rest = self._rest[size:]
        self._position += size
        self._taken += size

    def _fill(self) -> bool:
        """Make `_rest` begin at the position, with at least one byte; False at the end."""
        if self.closed:
            raise ValueError("read of a closed attachment")
        if self._position >= self.info.size:
            return False
        self._align()
        resumes = 0
        while not self._rest:
            chunk = self._next(resumes)
            if chunk is None:
                resumes += 1
                continue
            start = self._fetched
            self._fetched += len(chunk)
            self._rest = memoryview(chunk)[max(self._position - start, 0) :]
        return True

    def _align(self) -> None:
        """After a seek: skip what is at hand, read on over a small gap, or ask anew."""
        at = self._fetched - len(self._rest)
        gap = self._position - at
        if 0 <= gap <= len(self._rest):
            self._rest = self._rest[gap:]
        elif 0 < gap < SKIP_SIZE and self._chunks is not None:
            self._rest = memoryview(b"")
        else:
            self._drop()

    def _next(self, resumes: int) -> bytes | None:
        """Give the next chunk, or None when the stream broke and has to be taken up again."""
        try:
            with self._mapped():
                if self._chunks is None:
                    self._chunks = self._reopen()
                chunk = next(self._chunks, None)
        except Error as error:
            if error.kind is not Kind.UNAVAILABLE or resumes >= MAX_RESUMES:
                raise
            chunk = None
        if chunk is None:
            self._drop()
            if resumes >= MAX_RESUMES:
                raise Error(
                    "Attachment is shorter than it should be", self.info.handle, kind=Kind.CORRUPT
                )
        return chunk

    def _reopen(self) -> Iterator[bytes]:
        metadata, chunks = self._fetch(self._position)
        same = metadata.etag == self.info.etag or (metadata.digest or "") == self.info.digest
        if metadata.size != self.info.size or not same:
            raise Error(
                "Attachment was changed while being read", self.info.handle, kind=Kind.CORRUPT
            )
        self._fetched = self._position
        return chunks

    def _drop(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._chunks = None
        self._rest = memoryview(b"")
        self._fetched = self._position
