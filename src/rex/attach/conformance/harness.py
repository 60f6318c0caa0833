"""The harness: what the suite has to be told about a kind of storage."""

from __future__ import annotations

import abc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.storage import Storage

__all__ = ["Harness"]


class Harness(abc.ABC):
    """What the suite has to be told about a kind of storage; `open` is all that must be.

    It uses no test framework. A promise may ask for more than one storage, one after another.
    """

    links: bool = False
    """Whether the storage can sign links, and a server answers them."""

    uploads: bool = True
    """Whether the storage takes uploads in pieces: `storage.uploads`."""

    many: int = 1200
    """How many attachments a long listing has: more than the server gives in one page."""

    @abc.abstractmethod
    def open(self, *, max_size: int | None = None) -> Storage:
        """Give a storage with nothing in it: a new directory, bucket or prefix."""

    def again(self, storage: Storage) -> Storage:
        """Give another storage over the same place, as another process would have it.

        The storage itself, where there is no other, as in memory.
        """
        return storage

    def garbage(self, storage: Storage) -> list[str]:  # noqa: ARG002 - for those who override it
        """Name what lies in the storage and is no attachment.

        Such are temporary files, empty directories, unfinished uploads in parts.
        """
        return []

    def damage(self, storage: Storage, handle: str) -> bool:  # noqa: ARG002 - as above
        """Change one byte of what is stored, behind the storage's back, and nothing else.

        Return whether that was done; False means that it cannot be done.
        """
        return False

    def clean(self, storage: Storage) -> None:
        """Let go of a storage, and remove what is in it where that does not go by itself."""
        storage.close()

    @contextmanager
    def storage(self, *, max_size: int | None = None) -> Iterator[Storage]:
        """Give a storage with nothing in it, for as long as the ``with`` statement lasts."""
        storage = self.open(max_size=max_size)
        try:
            yield storage
        finally:
            self.clean(storage)
