"""Every kind of storage keeps every promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.azure_harness import AzureHarness
from attach.azure_storage import azure_storage
from attach.fake_gcs import FakeGCS
from attach.gcs_storage import GCSHarness, gcs_storage
from attach.harnesses import LocalHarness, MemoryHarness, MovingHarness, S3Harness
from attach.s3_storage import s3_storage
from attach.service import Service
from attach.v4_cases import KEY_FILE
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.conformance import promises_for, putting, resumable, resumable_together, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.conformance import Harness, Promise
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS

PLAIN = promises_for(MemoryStorage().abilities)
ON_S3 = promises_for(s3_storage("bucket", access_key="key", secret_key="secret").abilities)
OF_LINKS = [promise for promise in ON_S3 if promise not in PLAIN]
ON_AZURE = promises_for(
    azure_storage("container", account="account", key="a2V5", url="http://localhost").abilities
)
WITHOUT_FORMS = [
    promise
    for promise in promises_for(azure_storage("container", account="account", key="a2V5").abilities)
    if promise not in PLAIN
]
ON_GOOGLE = promises_for(gcs_storage("bucket", key=str(KEY_FILE)).abilities)
MOVED_INTO = promises_for(FallbackStorage(MemoryStorage(), MemoryStorage()).abilities)
SLOW = [
    resumable.an_upload_in_pieces_becomes_an_attachment,
    resumable_together.many_uploads_in_pieces_do_not_get_mixed_up,
    putting.of_many_who_put_at_any_size_one_succeeds,
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


@pytest.mark.parametrize("promise", MOVED_INTO)
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


@pytest.mark.parametrize("promise", [promise for promise in ON_AZURE if promise not in SLOW])
def test_azure_keeps(promise: Promise, azurite: Azurite, service: Service) -> None:
    """A storage on Azure, whose forms the service answers, keeps the promises of its abilities."""
    promise(AzureHarness(azurite, service))


@pytest.mark.long
@pytest.mark.again
@pytest.mark.parametrize("promise", [promise for promise in ON_AZURE if promise in SLOW])
def test_azure_keeps_with_patience(promise: Promise, azurite: Azurite, service: Service) -> None:
    """Promises about large attachments and many threads take seconds on a server."""
    promise(AzureHarness(azurite, service))


@pytest.mark.long
@pytest.mark.again
@pytest.mark.parametrize("promise", WITHOUT_FORMS)
def test_azure_without_the_service_keeps(promise: Promise, azurite: Azurite) -> None:
    """A storage on Azure alone has links by PUT and GET only, and says so."""
    promise(AzureHarness(azurite))


def test_what_azure_does_not_promise_follows_from_its_abilities() -> None:
    """The suite names no backend: a promise is left out for an ability."""
    links = azure_storage("container", account="account", key="a2V5").abilities.links
    assert links is not None
    assert (False, False) == (links.post_links, links.pins_type)
    missing = {promise.__name__ for promise in {*ON_S3} - {*ON_AZURE}}
    assert {
        "a_put_link_needs_its_headers",
        "an_upload_in_a_coding_is_refused",
        "the_content_type_of_an_upload_is_pinned",
    } == missing


@pytest.fixture(scope="module")
def fake_gcs() -> Iterator[GCSHarness]:
    """Run a FAKE of Google's server, which checks signatures, policies and preconditions."""
    with FakeGCS() as server:
        yield GCSHarness(server)


@pytest.mark.parametrize("promise", [promise for promise in ON_GOOGLE if promise not in SLOW])
def test_the_fake_of_google_keeps(promise: Promise, fake_gcs: GCSHarness) -> None:
    """A storage on a fake of Google Cloud Storage keeps the promises of its abilities."""
    promise(fake_gcs)


@pytest.mark.long
@pytest.mark.again
@pytest.mark.parametrize("promise", [promise for promise in ON_GOOGLE if promise in SLOW])
def test_the_fake_of_google_keeps_with_patience(promise: Promise, fake_gcs: GCSHarness) -> None:
    """Promises about large attachments and many threads take seconds."""
    promise(fake_gcs)


def test_what_google_promises_more_and_less_follows_from_its_abilities() -> None:
    """The suite names no backend: a promise is left out, or added, for an ability."""
    names = {promise.__name__ for promise in ON_GOOGLE}
    of_s3 = {promise.__name__ for promise in ON_S3}
    multipart = {name for name in of_s3 if "multipart" in name}
    assert {"a_put_link_does_not_promise_a_limit"} | multipart == of_s3 - names
    assert {
        "a_put_link_keeps_to_its_limit",
        "of_many_who_put_at_any_size_one_succeeds",
        "of_several_removers_exactly_one_succeeds",
    } == names - of_s3


@pytest.mark.parametrize(
    ("make", "expected"),
    [(MemoryHarness, PLAIN), (LocalHarness, PLAIN), (MovingHarness, MOVED_INTO)],
)
def test_the_promises_are_those_of_the_abilities(
    make: Callable[[], Harness], expected: tuple[Promise, ...]
) -> None:
    """What is tested above is what `failures` would test."""
    with make().storage() as storage:
        assert expected == promises_for(storage.abilities)
