"""Every kind of storage keeps every promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.harnesses import LocalHarness, MemoryHarness, MovingHarness, S3Harness
from attach.service import Service
from rex.attach.conformance import promises_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.conformance import Promise
    from rex.attach_demo.seaweedfs import SeaweedFS

OF_LINKS = [
    promise for promise in promises_for(links=True) if promise not in promises_for(links=False)
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Run the service."""
    with Service() as service:
        yield service


@pytest.mark.parametrize("promise", promises_for(links=False))
def test_memory_keeps(promise: Promise) -> None:
    """A storage in memory keeps the promises of storages without links."""
    promise(MemoryHarness())


@pytest.mark.parametrize("promise", promises_for(links=False))
def test_a_directory_keeps(promise: Promise) -> None:
    """A storage in a directory keeps the promises of storages without links."""
    promise(LocalHarness())


@pytest.mark.parametrize("promise", promises_for(links=False))
def test_a_storage_that_is_moved_into_keeps(promise: Promise) -> None:
    """A storage with an older one behind it keeps the promises of storages without links."""
    promise(MovingHarness())


@pytest.mark.parametrize("promise", OF_LINKS)
def test_memory_behind_the_service_keeps(promise: Promise, service: Service) -> None:
    """A storage in memory has links behind the service, and keeps the promises on them."""
    promise(MemoryHarness(service))


@pytest.mark.parametrize("promise", OF_LINKS)
def test_a_directory_behind_the_service_keeps(promise: Promise, service: Service) -> None:
    """A storage in a directory has links behind the service, and keeps the promises on them."""
    promise(LocalHarness(service))


@pytest.mark.parametrize("promise", promises_for(links=True))
def test_s3_keeps(promise: Promise, seaweedfs: SeaweedFS) -> None:
    """A storage on an S3 server keeps the promises of storages with links."""
    promise(S3Harness(seaweedfs))
