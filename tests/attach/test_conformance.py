"""Every kind of storage keeps every promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.harnesses import LocalHarness, MemoryHarness, MovingHarness, S3Harness
from attach.s3_storage import s3_storage
from attach.service import Service
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.conformance import promises_for, putting, resumable, resumable_together, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.conformance import Harness, Promise
    from rex.attach_demo.seaweedfs import SeaweedFS

PLAIN = promises_for(MemoryStorage().abilities)
ON_S3 = promises_for(s3_storage("bucket", access_key="key", secret_key="secret").abilities)
OF_LINKS = [promise for promise in ON_S3 if promise not in PLAIN]
SLOW = [
    resumable.an_upload_in_pieces_becomes_an_attachment,
    resumable_together.many_uploads_in_pieces_do_not_get_mixed_up,
    putting.of_several_who_put_at_once_one_succeeds,
    threads.many_threads_can_do_different_things_at_once,
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Run the service."""
    with Service() as service:
        yield service


@pytest.mark.parametrize("promise", PLAIN)
def test_memory_keeps(promise: Promise) -> None:
    """A storage in memory keeps the promises of storages without links."""
    promise(MemoryHarness())


@pytest.mark.parametrize("promise", PLAIN)
def test_a_directory_keeps(promise: Promise) -> None:
    """A storage in a directory keeps the promises of storages without links."""
    promise(LocalHarness())


@pytest.mark.parametrize("promise", PLAIN)
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


@pytest.mark.parametrize("promise", [promise for promise in ON_S3 if promise not in SLOW])
def test_s3_keeps(promise: Promise, seaweedfs: SeaweedFS) -> None:
    """A storage on an S3 server keeps the promises of storages with links."""
    promise(S3Harness(seaweedfs))


@pytest.mark.long
@pytest.mark.parametrize("promise", SLOW)
def test_s3_keeps_with_patience(promise: Promise, seaweedfs: SeaweedFS) -> None:
    """Promises about large attachments and many threads take seconds on a server."""
    promise(S3Harness(seaweedfs))


@pytest.mark.parametrize("make", [MemoryHarness, LocalHarness, MovingHarness])
def test_the_promises_are_those_of_the_abilities(make: Callable[[], Harness]) -> None:
    """What is tested above is what `failures` would test."""
    with make().storage() as storage:
        assert PLAIN == promises_for(storage.abilities)
