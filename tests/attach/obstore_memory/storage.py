"""A backend over obstore's memory store: what a new object backend takes at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from obstore.store import MemoryStore

from rex.attach.backends.objects.objects import Objects
from rex.attach.backends.objects.storage import ObjectStorage

if TYPE_CHECKING:
    from attach.obstore_memory.config import ObstoreConfig
    from rex.attach.content.content import Content

STORES: dict[str, MemoryStore] = {}


class _Store(Objects):
    def __init__(self, config: ObstoreConfig) -> None:
        super().__init__(config.prefix, setting="attach_obstore_prefix")
        self._name = config.store

    def _connect(self) -> MemoryStore:
        return STORES.setdefault(self._name, MemoryStore())


class ObstoreStorage(ObjectStorage):
    """Attachments in a memory store of obstore."""

    def __init__(self, config: ObstoreConfig, **options: Any) -> None:
        super().__init__(_Store(config), **options)

    def __repr__(self) -> str:
        return f"ObstoreStorage({self.prefix!r})"

    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        self._put_whole(key, b"".join(content), content, content_type, mode="create")
