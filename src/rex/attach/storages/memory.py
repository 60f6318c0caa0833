"""Attachments in the memory of the process, for tests and examples."""

from __future__ import annotations

import bisect
import datetime
import secrets
import threading
from typing import TYPE_CHECKING, Unpack

from rex.attach.content import CHUNK_SIZE, Content
from rex.attach.info import Metadata
from rex.attach.reader import Body
from rex.attach.storage import Storage, StorageOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MemoryStorage"]


class MemoryStorage(Storage):
    """Attachments in memory: gone with the process, and whole in memory."""

    def __init__(self, **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self._random = secrets.token_bytes(32)
        self._objects: dict[str, tuple[Metadata, bytes]] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "MemoryStorage()"

    def _own_secret(self) -> bytes:
        return self._random

    def _put(self, key: str, content: Content, content_type: str) -> None:
        data = b"".join(content)
        metadata = Metadata(
            size=len(data),
            modified=datetime.datetime.now(datetime.UTC),
            content_type=content_type,
            etag=f'"{content.digest[:32]}"',
            digest=content.digest,
        )
        with self._lock:
            if key in self._objects:
                raise FileExistsError
            self._objects[key] = metadata, data

    def _get(self, key: str, start: int) -> Body:
        metadata, data = self._find(key)
        chunks = (data[at : at + CHUNK_SIZE] for at in range(start, len(data), CHUNK_SIZE))
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
