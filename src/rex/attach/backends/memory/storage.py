"""Attachments in the memory of the process, for tests and examples."""

from __future__ import annotations

import bisect
import datetime
import secrets
import threading
from typing import TYPE_CHECKING, Unpack

from rex.attach.backend.abilities import Abilities
from rex.attach.backend.resumable import Holds, PartialUpload, Resumable
from rex.attach.backends.service_links import ServiceLinksStorage
from rex.attach.content.content import READ_SIZE, Content
from rex.attach.content.reader import Body
from rex.attach.info import Metadata
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rex.attach.backends.memory.config import MemoryConfig
    from rex.attach.storage import StorageOptions

__all__ = ["MemoryStorage", "make"]


class MemoryStorage(ServiceLinksStorage):
    """Attachments in memory; they are lost when the process ends."""

    def __init__(self, **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self._random = secrets.token_bytes(32)
        self._unfinished = _MemoryDrafts(self._put)
        self._objects: dict[str, tuple[Metadata, bytes]] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "MemoryStorage()"

    def __reduce__(self) -> tuple[object, ...]:
        """Raise an `UNSUPPORTED` error: another process would not have the attachments."""
        raise Error(
            "A storage in memory cannot be pickled",
            "another process would not have its attachments",
            kind=Kind.UNSUPPORTED,
        )

    def _own_secret(self) -> bytes:
        return self._random

    def _abilities(self) -> Abilities:
        return Abilities(
            links=self._links(),
            resumable=self._unfinished,
            one_remover=True,
            create_once=True,
        )

    def _put(self, key: str, content: Content, content_type: str) -> None:
        data = b"".join(content)
        metadata = Metadata(
            size=len(data),
            modified=datetime.datetime.now(datetime.UTC),
            content_type=content_type,
            etag=f'"{content.digest[:32]}"',
            digest=content.digest,
            upload_metadata=content.upload_metadata,
        )
        with self._lock:
            if key in self._objects:
                raise FileExistsError
            self._objects[key] = metadata, data

    def _get(self, key: str, start: int, end: int | None) -> Body:
        del end  # all bytes are in memory
        metadata, data = self._find(key)
        chunks = (data[at : at + READ_SIZE] for at in range(start, len(data), READ_SIZE))
        return Body(metadata, chunks)

    def _head(self, key: str) -> Metadata:
        return self._find(key)[0]

    def _delete(self, key: str) -> None:
        with self._lock:
            self._find(key)
            del self._objects[key]

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        with self._lock:
            keys = sorted(self._objects)
        prefix = "" if day is None else day.isoformat().replace("-", "/") + "/"
        start = 0 if after is None else bisect.bisect_right(keys, after)
        return (key for key in keys[start:] if key.startswith(prefix))

    def _find(self, key: str) -> tuple[Metadata, bytes]:
        try:
            return self._objects[key]
        except KeyError:
            raise FileNotFoundError from None


def make(config: MemoryConfig, **options: Unpack[StorageOptions]) -> MemoryStorage:
    """Create the storage of a configuration."""
    del config
    return MemoryStorage(**options)


class _MemoryDrafts(Resumable):
    """Resumable uploads in memory."""

    def __init__(self, put: Callable[[str, Content, str], None]) -> None:
        self._put = put
        self._held: dict[str, tuple[bytes, bytearray]] = {}
        self._published: set[str] = set()
        self._holds = Holds()

    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        del content_type, partial, upload_metadata
        self._held[key] = record, bytearray()

    def load(self, key: str) -> PartialUpload:
        record, data = self._find(key)
        return PartialUpload(record, len(data))

    def save(self, key: str, record: bytes) -> None:
        self._held[key] = record, self._find(key)[1]

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        del offset, remaining
        _, data = self._find(key)
        for chunk in content:
            data += chunk

    def read(self, key: str) -> Iterator[bytes]:
        yield bytes(self._find(key)[1])

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        del digest
        if key in self._published:
            return False
        content = Content(self._find(key)[1])
        content.upload_metadata = upload_metadata
        self._put(key, content, content_type)
        self._published.add(key)
        return True

    def forget(self, key: str) -> None:
        self._held.pop(key, None)
        self._published.discard(key)

    def remove(self, key: str) -> bool:
        self._published.discard(key)
        return self._held.pop(key, None) is not None

    def keys(self) -> Iterator[str]:
        return iter(sorted(self._held))

    def hold(self, key: str) -> AbstractContextManager[None]:
        return self._holds.hold(key)

    def _find(self, key: str) -> tuple[bytes, bytearray]:
        try:
            return self._held[key]
        except KeyError:
            raise FileNotFoundError from None
