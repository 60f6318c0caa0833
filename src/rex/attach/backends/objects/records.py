"""Records of resumable uploads, each an object in the folder of its upload.

It is a line of JSON, with the fields of the backend, and then the bytes that the storage records.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rex.attach.backend.resumable import unreadable
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rex.attach.backends.objects.objects import Objects

__all__ = ["RECORD", "Records"]

RECORD = "record"
"""The name of the record in the folder of an upload; the upload exists while its record does."""


class _Record(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def partial(self) -> bool: ...


class _Listed(Protocol):
    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=_Record)


class Records(Generic[R]):
    """The records of a storage's uploads, whose folders are in one folder."""

    def __init__(
        self,
        objects: Objects,
        found: Callable[[str], Iterable[_Listed]],
        folder: str,
        make: Callable[..., R],
    ) -> None:
        """Take `found`, which lists a prefix, and `make`, called with `record` and the fields."""
        self._objects = objects
        self._found = found
        self._folder = folder
        self._make = make

    def path(self, key: str, name: str) -> str:
        """Return the path of an object in the folder of an upload."""
        return self._objects.path(f"{self._folder}/{key.rpartition('/')[0]}/{name}")

    def target(self, record: R) -> str:
        """Return the path of the object that an upload will become; a part stays in its folder."""
        if record.partial:
            return self.path(record.key, "data")
        return self._objects.path(record.key)

    def save(self, record: bytes, **known: object) -> None:
        """Write the record of the upload with the key in `known`."""
        data = json.dumps(known).encode() + b"\n" + record
        self._objects.write(self.path(str(known["key"]), RECORD), data)

    def load(self, key: str) -> R:
        """Return the record of an upload. Errors: `FileNotFoundError`, `CORRUPT`."""
        record = self.read(self.path(key, RECORD))
        if record.key != key:
            raise FileNotFoundError
        return record

    def read(self, path: str) -> R:
        """Return the record at a path. Errors: `FileNotFoundError`, `CORRUPT`."""
        head, _, record = self._objects.read(path).partition(b"\n")
        try:
            return self._make(**json.loads(head), record=record)
        except (ValueError, TypeError):
            raise unreadable(path) from None

    def __iter__(self) -> Iterator[R]:
        """Yield all records, without those that are damaged."""
        for found in self._found(self._objects.path(f"{self._folder}/")):
            if found.name.endswith(f"/{RECORD}"):
                with suppress(FileNotFoundError, Error):
                    yield self.read(found.name)
