"""A storage on Google's server or the fake of it, from keywords of both kinds alike."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from attach.harnesses import flipped
from attach.v4_cases import KEY_FILE
from rex.attach.backends.gcs.config import GCSConfig
from rex.attach.backends.gcs.storage import GCSStorage
from rex.attach.conformance import Harness

if TYPE_CHECKING:
    from attach.fake_gcs import FakeGCS
    from rex.attach.storage import Storage

FIELDS = {field.name for field in dataclasses.fields(GCSConfig)}
PREFIXES = itertools.count()


def gcs_storage(bucket: str, **options: Any) -> GCSStorage:
    """Make a storage on Google Cloud Storage."""
    config = {name: options.pop(name) for name in FIELDS & options.keys()}
    return GCSStorage(GCSConfig(bucket, **config), **options)


class GCSHarness(Harness):
    """On the fake of Google's server, unfinished sessions would be left over."""

    def __init__(self, server: FakeGCS) -> None:
        self.server = server

    def open(self, *, max_size: int | None = None) -> Storage:
        """Return a storage with a new prefix."""
        return self._at(f"conformance/{next(PREFIXES)}", max_size)

    def again(self, storage: Storage) -> Storage:
        """Return another storage with the same prefix."""
        assert isinstance(storage, GCSStorage)
        return self._at(storage.prefix, storage.max_size)

    def _at(self, prefix: str, max_size: int | None) -> GCSStorage:
        server = self.server
        return gcs_storage(
            server.bucket,
            endpoint=server.endpoint,
            key=str(KEY_FILE),
            prefix=prefix,
            max_size=max_size,
        )

    def garbage(self, storage: Storage) -> list[str]:
        """List the objects and the unfinished sessions behind the prefix."""
        assert isinstance(storage, GCSStorage)
        kept = {storage.prefix + handle[1:] for handle in storage}
        with self.server.lock:
            names = {*self.server.objects}
            names |= {each.name for each in self.server.sessions.values() if not each.is_done}
        return sorted(name for name in names - kept if name.startswith(storage.prefix))

    def damage(self, storage: Storage, handle: str) -> bool:
        """Store other bytes in place of the object, and leave the rest of it."""
        assert isinstance(storage, GCSStorage)
        name = storage.prefix + handle[1:]
        found = self.server.objects[name]
        self.server.store(name, flipped(found.data), found.resource, once=False)
        return True
