"""What a backend implements for resumable uploads (`rex.attach.storage.resumable`)."""

from __future__ import annotations

import abc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rex.attach.content.content import Content

__all__ = ["Holds", "PartialUpload", "Resumable", "unreadable"]


class PartialUpload(NamedTuple):
    """The stored state of an unfinished upload."""

    record: bytes
    """The record of the upload, opaque to the backend."""
    size: int
    """The number of durable bytes."""


class Resumable(abc.ABC):
    """Stores unfinished uploads, which cannot be listed or opened as attachments.

    A key is always well formed, and an upload outlasts this process. A method may raise any
    exception: the operations make an `Error` of it.
    """

    @abc.abstractmethod
    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        """Create an empty upload; a partial upload is read later and not published.

        `publish` will receive the same content type and metadata.
        """

    @abc.abstractmethod
    def load(self, key: str) -> PartialUpload:
        """Return an upload; must raise `FileNotFoundError` if it does not exist.

        Its `size` counts durable bytes only, also after earlier failures. Nothing is removed.
        """

    @abc.abstractmethod
    def save(self, key: str, record: bytes) -> None:
        """Replace the record of an upload, atomically."""

    @abc.abstractmethod
    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        """Append the content to the upload; must return once the bytes are durable.

        The upload must end at `offset`: raise `CONFLICT` if another process may have appended
        since, in spite of `hold`. Truncate bytes that cannot be made durable. If the content
        raises, store the bytes before that, and let the exception propagate. After `remaining`
        bytes, the caller calls `publish` immediately.
        """

    @abc.abstractmethod
    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an upload."""

    @abc.abstractmethod
    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        """Store an upload as the attachment of its key; must return once it is durable.

        Return False if an earlier call may have published this upload. The record stays: `load`
        returns the upload with all its bytes until `forget` is called, so that a process can
        continue after another one died in between. It may lose the last bytes that `append`
        returned without storing, if they must be sent again.

        `digest` is the SHA-256 of the attachment, if known. `upload_metadata` is recorded with the
        attachment if the backend can (`Metadata.upload_metadata`). Must raise `FileExistsError` if
        the attachment exists, unless an earlier call published this upload.
        """

    @abc.abstractmethod
    def forget(self, key: str) -> None:
        """Remove the record of a published upload, and what else remains besides the attachment."""

    @abc.abstractmethod
    def remove(self, key: str) -> bool:
        """Remove an upload and its bytes; return False if it does not exist."""

    @abc.abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield the keys of all uploads."""

    @abc.abstractmethod
    def hold(self, key: str) -> AbstractContextManager[None]:
        """Lock an upload; raise `BlockingIOError` if it is locked already.

        The lock reaches as far as the backend can: in a directory to all processes, on a server to
        the threads of this process.
        """


class Holds:
    """The keys that threads of this process have locked."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Lock a key; raise `BlockingIOError` if it is locked already."""
        with self._lock:
            if key in self._held:
                raise BlockingIOError
            self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)


def unreadable(handle: str) -> Error:
    """Return the error for a damaged record of an upload, which is not removed."""
    return Error("The record of the upload cannot be read", handle, kind=Kind.CORRUPT)


def continued_elsewhere(key: str) -> Error:
    """Return the error for an upload that another server continued meanwhile."""
    return Error(
        "Another client has continued the upload",
        f"/{key}",
        kind=Kind.CONFLICT,
        code="upload-conflict",
    )
