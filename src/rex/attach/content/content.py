"""Content to store: the caller's bytes, text, file or iterable as chunks, counted and hashed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from rex.attach.content.comparison import load_sha256
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
"""Size of the chunks in which content is read and written, in bytes."""

READ_SIZE = 256 * 1024
"""Size of the chunks that a backend yields, in bytes; each reader holds one."""


class BinaryFile(Protocol):
    """A file to store: an object with `read`, such as a file opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""


class AsyncBinaryFile(Protocol):
    """An asynchronous file to store, such as FastAPI's `UploadFile`."""

    async def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""


Chunk: TypeAlias = bytes | bytearray | memoryview
ContentSource: TypeAlias = str | Chunk | BinaryFile | Iterable[Chunk]
AsyncContentSource: TypeAlias = ContentSource | AsyncBinaryFile | AsyncIterable[Chunk]


class Content(Iterator["bytes | memoryview"]):
    """A single-use iterator over the chunks of the caller's content.

    A file is read from its position to its end, is not closed, and need not be seekable.
    Exceptions raised by the caller's file or iterable propagate unchanged and are kept in
    `failure`, to distinguish them from errors of the storage.

    Errors: `ILL_FORMED` if the source is not content, or yields text instead of bytes; `TOO_LARGE`
    over `max_size` bytes; `CORRUPT` at the end if the SHA-256 is not `digest`, or if the file has
    shrunk since it was measured.
    """

    known_size: int | None
    """The total size in bytes, if known in advance."""

    def __init__(
        self, source: ContentSource, *, max_size: int | None = None, digest: str | None = None
    ) -> None:
        self.known_digest = digest
        """The expected digest of the whole content, if known in advance."""

        self.upload_metadata = ""
        """Metadata to record if the backend can: see `Metadata.upload_metadata`."""
        self.size = 0
        """The number of bytes read so far."""
        self.failure: BaseException | None = None
        self._max_size = max_size
        self._limit_reason = "the limit for an attachment"
        self._hash: _Hash | None = load_sha256()()
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
        """The SHA-256 of the bytes read so far, in hexadecimal."""
        if self._hash is None:
            raise ValueError("the digest of this content is not computed")
        return self._hash.hexdigest()

    def skip_digest(self) -> None:
        """Do not compute the digest, which is slow for large content, unless one is expected."""
        if self.known_digest is None:
            self._hash = None

    def limit(self, max_size: int, reason: str) -> None:
        """Lower the maximum size to a limit of the backend; `reason` is part of the error.

        Errors: `TOO_LARGE` if the known size exceeds the limit.
        """
        if self._max_size is None or max_size < self._max_size:
            self._max_size = max_size
            self._limit_reason = reason
        self._check_size(self.known_size or 0)

    def whole(self, limit: int) -> bytes | None:
        """Return the content if its size is at most `limit` bytes, or else None.

        After None, the iterator still yields the whole content.
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
            "The content does not have the given digest",
            f"expected SHA-256 {self.known_digest}, got {self.digest}",
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
    """Return the chunks of the content, and its size if known in advance."""
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
            "Attachment content must be valid Unicode text",
            f"lone surrogate at position {failure.start}",
            kind=Kind.ILL_FORMED,
        ) from None


def _slices(view: memoryview) -> Iterator[memoryview]:
    return (view[start : start + CHUNK_SIZE] for start in range(0, len(view), CHUNK_SIZE))


class _Extent(NamedTuple):
    """The position and end of a file, in bytes."""

    start: int
    end: int


def _read(file: Any, extent: _Extent | None) -> Iterator[Chunk]:
    """Yield the chunks of a file up to its end. Errors: `CORRUPT` if the file has shrunk."""
    size = 0
    while (chunk := file.read(CHUNK_SIZE)) != b"":
        yield chunk
        size += memoryview(chunk).nbytes
    if extent is None or size >= extent.end - extent.start:
        return
    # The size read may differ from the size measured: a wrapper may decode, and files in /proc and
    # /sys misreport their size.
    now = _extent(file)
    if now is not None and now.end < extent.end:
        raise Error(
            "The file shrank while it was being read",
            f"expected {extent.end - extent.start} bytes, got {size}",
            kind=Kind.CORRUPT,
        )


def _extent(file: Any) -> _Extent | None:
    """Return position and end of a file without moving its position; None if not seekable."""
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
        view = memoryview(chunk)  # type: ignore[arg-type]  # checked here
    except TypeError:
        raise _not_content(chunk) from None
    # The caller may reuse a writable buffer for the next chunk, so only immutable memory is shared.
    is_constant = isinstance(view.obj, bytes) and view.c_contiguous
    return view.cast("B") if is_constant else view.tobytes()


def _not_content(found: object) -> Error:
    hint = ""
    if isinstance(found, str):
        hint = " (open the file in binary mode)"
    elif hasattr(found, "__await__"):
        found.close() if hasattr(found, "close") else None
        hint = " (pass a synchronous file, or use storage.aio)"
    elif hasattr(found, "__fspath__"):
        hint = " (pass an open file instead of its path)"
    return Error(
        "Attachment content must be a string, bytes, a binary file or an iterable of bytes",
        f"got {type(found).__name__}{hint}",
        kind=Kind.ILL_FORMED,
    )
