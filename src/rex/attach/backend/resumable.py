"""What a kind of storage fills in for uploads that arrive piece by piece: see `uploads.py`."""

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
    """What is stored of an attachment that is not complete."""

    record: bytes
    """What is known of it: nothing that a storage has to understand."""
    size: int
    """How many of its bytes are stored for good."""


class Resumable(abc.ABC):
    """Attachments that are not complete; none of them is listed or can be opened.

    A key is well formed, and what is stored under it outlasts this process. A hook may raise what
    it likes: the verbs make an `Error` of it.
    """

    @abc.abstractmethod
    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        """Begin an empty draft; a part is read later, and not published.

        Content type and note are those that `publish` will name.
        """

    @abc.abstractmethod
    def load(self, key: str) -> PartialUpload:
        """Return a draft; must raise `FileNotFoundError` when there is none.

        Its `size` counts what outlasts a power cut, whatever failed before. Nothing is removed.
        """

    @abc.abstractmethod
    def save(self, key: str, record: bytes) -> None:
        """Replace the record of a draft, wholly or not at all."""

    @abc.abstractmethod
    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        """Store all that the content gives at the end of the draft, for good.

        The end was at `offset`; where another process may have gone on since, in spite of `hold`,
        that has to be a `CONFLICT`. What cannot be made durable is cut off.
        Where the content raises, what came before is stored all the same, and the exception
        passes. When as many bytes come as are `remaining`, `publish` follows at once.
        """

    @abc.abstractmethod
    def read(self, key: str) -> Iterator[bytes]:
        """Give the bytes of a draft."""

    @abc.abstractmethod
    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> None:
        """Make a draft the attachment of its key, for good; it is no draft any more.

        `digest` is the SHA-256 of the whole, if known. `upload_metadata` is recorded with the
        attachment if the storage can (`Metadata.upload_metadata`). Must raise `FileExistsError`
        if there is an attachment already, unless it is this very upload, published before.
        """

    @abc.abstractmethod
    def remove(self, key: str) -> bool:
        """Remove a draft and its bytes; return False when there is none."""

    @abc.abstractmethod
    def keys(self) -> Iterator[str]:
        """Give the keys of all drafts."""

    @abc.abstractmethod
    def hold(self, key: str) -> AbstractContextManager[None]:
        """Keep others from changing a draft; raises `BlockingIOError` while somebody else does.

        It is held as far as the storage can: on a directory against all processes, on a server
        against the threads of this process.
        """


class Holds:
    """What the threads of this process hold, by key."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold a key; raises `BlockingIOError` while somebody else does."""
        with self._lock:
            if key in self._held:
                raise BlockingIOError
            self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)


def unreadable(handle: str) -> Error:
    """Return the error for a record that is damaged; the draft stays."""
    return Error("The record of the upload cannot be read", handle, kind=Kind.CORRUPT)
