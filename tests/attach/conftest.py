"""What the tests of attachments share: storages that are looked at afterwards, file systems."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from attach.azure_harness import AzureHarness
from attach.harnesses import LocalHarness, S3Harness
from rex.attach import open_storage
from rex.attach.backends.local import directory
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.s3.storage import S3Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage
    from rex.attach.backends.azure.storage import AzureStorage
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS


@pytest.fixture
def local() -> Iterator[LocalStorage]:
    """Give a storage in a directory; see afterwards that nothing but attachments is in it."""
    harness = LocalHarness()
    with harness.storage() as storage:
        assert isinstance(storage, LocalStorage)
        yield storage
        assert [] == harness.garbage(storage)


@pytest.fixture
def s3(seaweedfs: SeaweedFS) -> Iterator[S3Storage]:
    """Give a storage on S3; see afterwards that nothing but attachments is in it."""
    harness = S3Harness(seaweedfs)
    with harness.storage() as storage:
        assert isinstance(storage, S3Storage)
        yield storage
        assert [] == harness.garbage(storage)


@pytest.fixture
def azure(azurite: Azurite) -> Iterator[AzureStorage]:
    """Yield a storage on Azurite; check afterwards that only attachments are in it."""
    harness = AzureHarness(azurite)
    with harness.storage() as storage:
        yield storage  # type: ignore[misc]  # it is one
        assert [] == harness.garbage(storage)


@pytest.fixture
def memory() -> Iterator[Storage]:
    """Yield a storage in memory."""
    with open_storage("memory:") as storage:
        yield storage


@pytest.fixture(params=["usual", "without O_TMPFILE", "without attributes", "without both"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a file system that can all, or less."""
    if request.param in ("without O_TMPFILE", "without both"):
        monkeypatch.setattr(directory, "_TMPFILE", None)
    if request.param in ("without attributes", "without both"):
        monkeypatch.setattr(os, "setxattr", _not_supported)


def _not_supported(*_: object) -> NoReturn:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
