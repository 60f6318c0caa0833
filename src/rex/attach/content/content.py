"""Content to be stored: whatever the caller gave, as chunks of bytes, counted and hashed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from rex.core import Error, Kind

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "CHUNK_SIZE",
    "READ_SIZE",
    "AsyncBinaryFile",
    "AsyncContentSource",
    "BinaryFile",
    "Content",
    "ContentSource",
]

CHUNK_SIZE = 1024 * 1024
"""The size, in bytes, of the chunks in which content is read and written."""

READ_SIZE = 256 * 1024
"""The size, in bytes, of the chunks in which a storage gives what it has; each reader holds one."""


class BinaryFile(Protocol):
    """What a file must offer to be stored: `read`, as a file opened in binary mode does."""

    def read(self, size: int, /) -> bytes:
        """Give at most `size` bytes; none at the end."""


class AsyncBinaryFile(Protocol):
    """What an asynchronous file must offer to be stored, as FastAPI's `UploadFile` does."""

    async def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


Chunk: TypeAlias = bytes | bytearray | memoryview
ContentSource: TypeAlias = str | Chunk | BinaryFile | Iterable[Chunk]
AsyncContentSource: TypeAlias = ContentSource | AsyncBinaryFile | AsyncIterable[Chunk]


class Content(Iterator["bytes | memoryview"]):
    """An iterator over the chunks of what the caller gave.

    A file is read from its position to its end, never closed, and need not be seekable. The
    chunks can be had once. What the caller's own file or iterable raises passes through, and is
    kept in `failure`, so that it is not mistaken for a failure of the storage.

    Errors: `ILL_FORMED` when this is not content, or text that should be bytes; `TOO_LARGE` over
    `max_size` bytes; `CORRUPT` at the end when its SHA-256 is not `digest`, or when the file has
    become shorter since it was measured.
    """

    known_size: int | None
    """The size of the whole in bytes, where it can be known beforehand."""

    def __init__(
        self, source: ContentSource, *, max_size: int | None = None, digest: str | None = None
    ) -> None:
        from hashlib import sha256

        self.known_digest = digest
        """The SHA-256 that the whole must have, in hexadecimal, where it is known beforehand."""

        self.upload_metadata = ""
        """What to record with the bytes, where the storage can: see `Metadata.upload_metadata`."""
        self.size = 0
        """The bytes that have passed so far."""
        self.failure: BaseException | None = None
        self._max_size = max_size
        self._limit_reason = "the limit for an attachment"
        self._hash: _Hash | None = sha256()
        self._pushed_back = b""
        self._chunks, self.known_size = _open(source)
        if self.known_size is not None:
            self._check_size(self.known_size)

    def __next__(self) -> bytes | memoryview:
        if self._pushed_back:
            chunk, self._pushed_back = self._pushed_back, b""
            return chunk
        try:
            fresh = _bytes_of(next(self._chunks))
            self.size += len(fresh)
            self._check_size(self.size)
        except StopIteration:
            self._check_digest()
            raise
        except BaseException as failure:
            self.failure = failure
            raise
        if self._hash is not None:
            self._hash.update(fresh)
        return fresh

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes that have passed, in hexadecimal."""
        if self._hash is None:
            raise ValueError("the digest of this content is not computed")
        return self._hash.hexdigest()

    def skip_digest(self) -> None:
        """Compute no digest, which takes a while for large content, unless it must be right."""
        if self.known_digest is None:
            self._hash = None

    def limit(self, max_size: int, reason: str) -> None:
        """Lower the largest size to what the storage can hold; `reason` goes into the error.

        Errors: `TOO_LARGE` where it is known to be more.
        """
        if self._max_size is None or max_size < self._max_size:
            self._max_size = max_size
            self._limit_reason = reason
        self._check_size(self.known_size or 0)

    def whole(self, limit: int) -> bytes | None:
        """Give all of the content if that is at most `limit` bytes, or else None.

        None leaves all of it in the iterator.
        """
        chunks: list[bytes | memoryview] = []
        for chunk in self:
            chunks.append(chunk)
            if self.size > limit:
                self._pushed_back = b"".join(chunks)
                return None
        return b"".join(chunks)

    def _check_digest(self) -> None:
        if self.known_digest is None or self.known_digest == self.digest:
            return
        self.failure = Error(
            "The content is not what it should be",
            f"its SHA-256 is {self.digest}, and should be {self.known_digest}",
            kind=Kind.CORRUPT,
            code="digest-mismatch",
        )
        raise self.failure from None

    def _check_size(self, size: int) -> None:
        if self._max_size is not None and size > self._max_size:
            raise Error(
                "Attachment is too large",
                f"more than {self._max_size} bytes, {self._limit_reason}",
                kind=Kind.TOO_LARGE,
            )


def _open(source: ContentSource) -> tuple[Iterator[Chunk], int | None]:
    """Give the chunks of the content, and its size where that can be known beforehand."""
    if isinstance(source, str):
        source = _encode(source)
    if type(source) is bytes and len(source) <= CHUNK_SIZE:
        return iter((source,) if source else ()), len(source)
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source)
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        return _slices(view), len(view)
    if hasattr(source, "read"):
        extent = _extent(source)
        return _read(source, extent), None if extent is None else max(extent.end - extent.start, 0)
    try:
        return iter(source), None
    except TypeError:
        raise _not_content(source) from None


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as failure:
        raise Error(
            "Attachment content is no Unicode text, so it has no UTF-8",
            f"half of a surrogate pair at position {failure.start}",
            kind=Kind.ILL_FORMED,
        ) from None


def _slices(view: memoryview) -> Iterator[memoryview]:
    return (view[start : start + CHUNK_SIZE] for start in range(0, len(view), CHUNK_SIZE))


class _Extent(NamedTuple):
    """The position and the end of a file, in bytes."""

    start: int
    end: int


def _read(file: Any, extent: _Extent | None) -> Iterator[Chunk]:
    """Yield the chunks of a file to its present end. Errors: `CORRUPT` if that came nearer."""
    size = 0
    while (chunk := file.read(CHUNK_SIZE)) != b"":
        yield chunk
        size += memoryview(chunk).nbytes
    if extent is None or size >= extent.end - extent.start:
        return
    # What is read need not be what was measured: a wrapper may decode, a system file pretend.
    now = _extent(file)
    if now is not None and now.end < extent.end:
        raise Error(
            "The content became shorter while it was stored",
            f"{size} bytes came of {extent.end - extent.start}",
            kind=Kind.CORRUPT,
        )


def _extent(file: Any) -> _Extent | None:
    """Measure a file, and leave its position; return None if it cannot be measured."""
    try:
        if not file.seekable() or hasattr(file, "encoding"):
            return None
        start = file.tell()
    except (AttributeError, OSError, ValueError):
        return None
    try:
        end = file.seek(0, 2)
    except (AttributeError, OSError, ValueError):
        end = None
    if file.tell() != start:
        file.seek(start)
    return _Extent(start, end) if isinstance(start, int) and isinstance(end, int) else None


def _bytes_of(chunk: object) -> bytes | memoryview:
    if type(chunk) is bytes:
        return chunk
    try:
        view = memoryview(chunk)  # type: ignore[arg-type]  # the question is whether it is
    except TypeError:
        raise _not_content(chunk) from None
    # Whoever gave it may use its memory again for the next chunk, unless nobody can write to it.
    is_constant = isinstance(view.obj, bytes) and view.c_contiguous
    return view.cast("B") if is_constant else view.tobytes()


def _not_content(found: object) -> Error:
    hint = ""
    if isinstance(found, str):
        hint = " (open the file in binary mode)"
    elif hasattr(found, "__await__"):
        found.close() if hasattr(found, "close") else None
        hint = " (give the synchronous file, or use storage.aio)"
    elif hasattr(found, "__fspath__"):
        hint = " (open the file and give that)"
    return Error(
        "Attachment content must be a string, bytes, a binary file or an iterable of bytes",
        f"got {type(found).__name__}{hint}",
        kind=Kind.ILL_FORMED,
    )
