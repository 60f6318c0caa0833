"""How the conformance suite gets at Azure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from attach.azure_storage import azure_storage
from attach.harnesses import ServedHarness, flipped
from rex.attach.backends.azure.storage import AzureStorage

if TYPE_CHECKING:
    from attach.service import Service
    from rex.attach.storage import Storage
    from rex.attach_demo.azurite import Azurite

PREFIXES = itertools.count()


class AzureHarness(ServedHarness):
    """On Azure, uncommitted blocks would be left over; forms are answered by the service."""

    def __init__(self, server: Azurite, service: Service | None = None) -> None:
        super().__init__(service)
        self.server = server

    def make(self, max_size: int | None) -> Storage:
        """Return a storage with a new prefix."""
        return self._at(f"conformance/{next(PREFIXES)}", max_size)

    def again(self, storage: Storage) -> Storage:
        """Return another storage with the same prefix."""
        assert isinstance(storage, AzureStorage)
        other = self._at(storage.prefix, storage.max_size)
        other.url = storage.url
        return other

    def _at(self, prefix: str, max_size: int | None) -> AzureStorage:
        server = self.server
        return azure_storage(
            server.container,
            account=server.account,
            endpoint=server.endpoint,
            key=server.key,
            prefix=prefix,
            max_size=max_size,
        )

    def garbage(self, storage: Storage) -> list[str]:
        """List the blobs behind the prefix, also those that have uncommitted blocks only."""
        assert isinstance(storage, AzureStorage)
        kept = {storage.prefix + handle[1:] for handle in storage}
        listed = storage._container.control.objects(storage.prefix, uncommitted=True)
        return sorted({found.name for found in listed} - kept)

    def damage(self, storage: Storage, handle: str) -> bool:
        """Store other bytes in place of the blob, and leave the rest of it."""
        assert isinstance(storage, AzureStorage)
        control, path = storage._container.control, storage.prefix + handle[1:]
        found = control.ask("GET", path)
        kept = {
            f"x-ms-blob-{name.lower()}": found.headers[name]
            for name in ("Content-Type", "Content-Encoding")
            if name in found.headers
        }
        kept |= {name: value for name, value in found.headers.items() if "x-ms-meta-" in name}
        headers = {"x-ms-blob-type": "BlockBlob", **kept}
        control.ask("PUT", path, {}, headers, flipped(found.body))
        return True
