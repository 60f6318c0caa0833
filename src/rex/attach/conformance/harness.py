"""The harness: the description of a backend for the suite."""

from __future__ import annotations

import abc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.storage import Storage

__all__ = ["Harness"]


class Harness(abc.ABC):
    """The description of a backend; only `open` is required.

    A harness uses no test framework. A promise may open several storages, one after another.
    """

    many: int = 1200
    """The length of a long listing: more attachments than the server returns in one page."""

    @abc.abstractmethod
    def open(self, *, max_size: int | None = None) -> Storage:
        """Open an empty storage: a new directory, bucket or prefix."""

    def again(self, storage: Storage) -> Storage:
        """Open a second storage over the same place, as another process would.

        Return the given storage if that is impossible, as in memory.
        """
        return storage

    def garbage(self, storage: Storage) -> list[str]:  # noqa: ARG002 - for subclasses
        """Return the names of everything in the storage that is not an attachment.

        Examples are temporary files, empty directories and unfinished multipart uploads.
        """
        return []

    def damage(self, storage: Storage, handle: str) -> bool:  # noqa: ARG002 - as above
        """Change one stored byte of an attachment without the storage's knowledge.

        Return False if that is impossible.
        """
        return False

    def clean(self, storage: Storage) -> None:
        """Close a storage, and remove its content unless that happens automatically."""
        storage.close()

    @contextmanager
    def storage(self, *, max_size: int | None = None) -> Iterator[Storage]:
        """Open an empty storage for the duration of a ``with`` statement."""
        storage = self.open(max_size=max_size)
        try:
            yield storage
        finally:
            self.clean(storage)
