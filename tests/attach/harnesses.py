"""How the conformance suite gets at each kind of storage."""

from __future__ import annotations

import abc
import functools
import itertools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import botocore.session

from attach.s3_storage import s3_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local.secret_file import SECRET_NAME
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.conformance import Harness

if TYPE_CHECKING:
    from attach.service import Service
    from rex.attach.storage import Storage

PREFIXES = itertools.count()


class ServedHarness(Harness):
    """A storage without a server of its own has links where there is a service."""

    def __init__(self, service: Service | None = None) -> None:
        self._service = service

    def open(self, *, max_size: int | None = None) -> Storage:
        """Give a new storage, served where it can be."""
        storage = self.make(max_size)
        if self._service is not None:
            storage.url = self._service.serve(storage)
        return storage

    @abc.abstractmethod
    def make(self, max_size: int | None) -> Storage:
        """Give a new storage."""


class MemoryHarness(ServedHarness):
    """In memory there is nothing but attachments."""

    def make(self, max_size: int | None) -> Storage:
        """Give a new storage."""
        return MemoryStorage(max_size=max_size)

    def damage(self, storage: Storage, handle: str) -> bool:
        """Change the first byte."""
        assert isinstance(storage, MemoryStorage)
        metadata, data = storage._objects[handle[1:]]
        storage._objects[handle[1:]] = metadata, flipped(data)
        return True


class LocalHarness(ServedHarness):
    """In a directory, a temporary file or an empty directory would be left over."""

    def make(self, max_size: int | None) -> Storage:
        """Give a storage in a new directory."""
        return LocalStorage(tempfile.mkdtemp(prefix="rex-attach-"), max_size=max_size)

    def again(self, storage: Storage) -> Storage:
        """Give another storage in the same directory."""
        assert isinstance(storage, LocalStorage)
        return type(storage)(storage.directory, max_size=storage.max_size)

    def garbage(self, storage: Storage) -> list[str]:
        """Walk the directory; the only file in an attachment's directory is its own."""
        assert isinstance(storage, LocalStorage)
        root = Path(storage.directory)
        kept = {
            root / SECRET_NAME,
            root / MARKER,
            root / ".uploads",
            *(root / handle[1:] for handle in storage),
        }
        kept |= {directory for path in kept for directory in path.parents}
        records = {path for path in root.rglob(".*.json") if path.parent in kept}
        return sorted(str(path) for path in {*root.rglob("*")} - kept - records)

    def damage(self, storage: Storage, handle: str) -> bool:
        """Change the first byte of the file."""
        assert isinstance(storage, LocalStorage)
        with Path(storage.directory, handle[1:]).open("r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(flipped(byte))
        return True

    def clean(self, storage: Storage) -> None:
        """Remove the directory."""
        super().clean(storage)
        assert isinstance(storage, LocalStorage)
        shutil.rmtree(storage.directory)


class MovingHarness(Harness):
    """A storage in memory, into which attachments move from a directory."""

    def __init__(self) -> None:
        self._old = LocalHarness()

    def open(self, *, max_size: int | None = None) -> Storage:
        """Give both; an older directory that is empty needs its marker."""
        old = self._old.open()
        old.init()
        return FallbackStorage(MemoryStorage(max_size=max_size), old)

    def damage(self, storage: Storage, handle: str) -> bool:
        """Change the first byte of what is in memory, or in the directory."""
        assert isinstance(storage, FallbackStorage)
        if handle in storage.new:
            return MemoryHarness().damage(storage.new, handle)
        return self._old.damage(storage.old, handle)

    def garbage(self, storage: Storage) -> list[str]:
        """Look into the directory."""
        assert isinstance(storage, FallbackStorage)
        return self._old.garbage(storage.old)

    def clean(self, storage: Storage) -> None:
        """Remove the directory."""
        assert isinstance(storage, FallbackStorage)
        self._old.clean(storage.old)


class S3Place(Protocol):
    """A bucket and the credentials of its owner."""

    bucket: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str


class S3Harness(Harness):
    """On a server, an upload in parts that nobody finished would be left over."""

    def __init__(self, server: S3Place, folder: str = "conformance") -> None:
        self.server = server
        self._folder = folder

    def open(self, *, max_size: int | None = None) -> Storage:
        """Return a storage with a new prefix."""
        return self._at(f"{self._folder}/{next(PREFIXES)}", max_size)

    def again(self, storage: Storage) -> Storage:
        """Return another storage with the same prefix."""
        assert isinstance(storage, S3Storage)
        return self._at(storage.prefix, storage.max_size)

    def _at(self, prefix: str, max_size: int | None) -> S3Storage:
        return s3_storage(
            self.server.bucket,
            endpoint=self.server.endpoint,
            region=self.server.region,
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
            prefix=prefix,
            max_size=max_size,
        )

    def garbage(self, storage: Storage) -> list[str]:
        """List the objects and the unfinished uploads behind the prefix."""
        assert isinstance(storage, S3Storage)
        kept = {storage.prefix + handle[1:] for handle in storage}
        objects = self._listed(storage, "list_objects_v2", "Contents")
        unfinished = self._listed(storage, "list_multipart_uploads", "Uploads")
        return sorted((objects - kept) | unfinished)

    def damage(self, storage: Storage, handle: str) -> bool:
        """Store other bytes in place of the object, and leave the rest of it."""
        assert isinstance(storage, S3Storage)
        server = self.server
        client = s3_client(server.endpoint, server.access_key, server.secret_key, server.region)
        place = {"Bucket": storage.bucket, "Key": storage.prefix + handle[1:]}
        found = client.get_object(**place)
        kept = {name: found[name] for name in ("ContentType", "Metadata")}
        client.put_object(**place, **kept, Body=flipped(found["Body"].read()))
        return True

    def _listed(self, storage: S3Storage, operation: str, what: str) -> set[str]:
        """Give the keys behind the prefix, which no other test has."""
        server = self.server
        client = s3_client(server.endpoint, server.access_key, server.secret_key, server.region)
        pages = client.get_paginator(operation).paginate(
            Bucket=storage.bucket, Prefix=storage.prefix
        )
        return {found["Key"] for page in pages for found in page.get(what, ())}


def flipped(data: bytes) -> bytes:
    """Change the first byte."""
    return bytes([data[0] ^ 1]) + data[1:]


@functools.cache
def s3_client(endpoint: str, access_key: str, secret_key: str, region: str = "us-east-1") -> Any:
    """Give botocore's client, which is slow to make."""
    return botocore.session.get_session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )


def again(storage: Storage) -> Any:
    """Open another storage over the same place."""
    if isinstance(storage, LocalStorage):
        return LocalStorage(storage.directory)
    assert isinstance(storage, S3Storage)
    keys = storage._bucket.credentials()
    return s3_storage(
        storage.bucket,
        endpoint=storage.endpoint,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        prefix=storage.prefix,
    )
