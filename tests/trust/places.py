"""The storages under test: each place can be opened again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from attach.harnesses import LocalHarness, S3Harness
from programs import PATIENCE
from rex.attach import open_storage
from trust.children import in_child
from trust.judge import judge
from trust.report import Line

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS
    from trust.ledger import Ledger

__all__ = ["Directory", "Place", "Prefix", "judged"]


class Place(Protocol):
    """Where a storage is."""

    def open(self) -> Storage:
        """Open the storage."""
        ...

    def garbage(self, storage: Storage) -> list[str]:
        """List what is there and is not an attachment."""
        ...


class Directory(NamedTuple):
    """A directory."""

    path: Path

    def make(self) -> Directory:
        """Make the directory."""
        with self.open() as storage:
            storage.init()
        return self

    def open(self) -> Storage:
        """Open the storage."""
        return open_storage(f"file://{self.path}")

    def garbage(self, storage: Storage) -> list[str]:
        """Walk the directory."""
        return LocalHarness().garbage(storage)


class Prefix(NamedTuple):
    """A prefix in the bucket of a server."""

    server: SeaweedFS
    prefix: str
    endpoint: str = ""
    """Another address of the server, as that of a proxy."""
    timeout: float = PATIENCE
    checksums: bool = True

    def open(self) -> Storage:
        """Open the storage."""
        return open_storage(
            f"s3://{self.server.bucket}/{self.prefix}",
            endpoint=self.endpoint or self.server.endpoint,
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
            timeout=self.timeout,
            checksums=self.checksums,
        )

    def garbage(self, storage: Storage) -> list[str]:
        """List the objects, and the multipart uploads."""
        return S3Harness(self.server).garbage(storage)


def judged(ledger: Ledger, place: Place) -> Line:
    """Judge a place in a process that has not used it before, and waits for a slow server."""
    patient = place._replace(timeout=PATIENCE) if isinstance(place, Prefix) else place

    def act() -> dict[str, object]:
        line = Line("")
        with patient.open() as storage:
            judge(ledger, storage, line, place.garbage)
        return vars(line)

    return Line(**in_child(act))
