"""Storages broken on purpose are caught by the promises that they break."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import TYPE_CHECKING

import pytest

from attach import (
    broken_azure,
    broken_hooks,
    broken_links,
    broken_listing,
    broken_puts,
    broken_uploads,
    broken_verbs,
)
from attach.azure_harness import AzureHarness
from attach.broken import BROKEN
from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from rex.attach.backends.azure.storage import AzureStorage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.conformance import failures, promises, promises_for

if TYPE_CHECKING:
    from rex.attach.backend.abilities import Abilities
    from rex.attach.conformance import Harness, Promise
    from rex.attach.storage import Storage
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

MODULES = {
    module.__name__
    for module in (
        broken_azure,
        broken_hooks,
        broken_links,
        broken_listing,
        broken_puts,
        broken_uploads,
        broken_verbs,
    )
}
BY_NAME = {promise.__name__: promise for promise in promises}


def harness_of(broken: type[MemoryStorage | LocalStorage]) -> Harness:
    """Give the harness of a storage that needs no server."""

    class BrokenLocalHarness(LocalHarness):
        def open(self, *, max_size: int | None = None) -> Storage:
            assert issubclass(broken, LocalStorage)
            return broken(tempfile.mkdtemp(prefix="rex-attach-"), max_size=max_size)

    class BrokenMemoryHarness(MemoryHarness):
        def open(self, *, max_size: int | None = None) -> Storage:
            assert issubclass(broken, MemoryStorage)
            return broken(max_size=max_size)

    return BrokenLocalHarness() if issubclass(broken, LocalStorage) else BrokenMemoryHarness()


def uncaught(harness: Harness, names: tuple[str, ...]) -> list[str]:
    """Give the names of those promises that hold, although they should not."""
    found = failures(harness, tuple(BY_NAME[name] for name in names))
    assert all(failure.how and failure.promise in names for failure in found)
    return sorted({*names} - {failure.promise for failure in found})


@pytest.mark.parametrize(
    "broken", [kind for kind in BROKEN if issubclass(kind, MemoryStorage | LocalStorage)]
)
def test_a_broken_storage_is_caught(broken: type[MemoryStorage | LocalStorage]) -> None:
    """Each promise named with a broken storage fails, and says how."""
    assert [] == uncaught(harness_of(broken), BROKEN[broken])


@pytest.mark.parametrize("broken", [kind for kind in BROKEN if issubclass(kind, S3Storage)])
def test_a_broken_storage_on_s3_is_caught(broken: type[S3Storage], seaweedfs: SeaweedFS) -> None:
    """Each promise named with a storage whose links are broken fails, and says how."""

    class BrokenS3Harness(S3Harness):
        def open(self, *, max_size: int | None = None) -> Storage:
            storage = super().open(max_size=max_size)
            storage.__class__ = broken
            return storage

    assert [] == uncaught(BrokenS3Harness(seaweedfs), BROKEN[broken])


@pytest.mark.parametrize("broken", [kind for kind in BROKEN if issubclass(kind, AzureStorage)])
def test_a_broken_storage_on_azure_is_caught(broken: type[AzureStorage], azurite: Azurite) -> None:
    """Each promise named with a storage whose links or blocks are broken fails, and says how."""

    class BrokenAzureHarness(AzureHarness):
        def make(self, max_size: int | None) -> Storage:
            storage = super().make(max_size)
            assert isinstance(storage, AzureStorage)
            return broken(storage._container.config, max_size=max_size)

    assert [] == uncaught(BrokenAzureHarness(azurite), BROKEN[broken])


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_storage_says_how_it_is_broken(broken: type[Storage]) -> None:
    """The register of broken storages can be read."""
    assert broken.__doc__
    assert broken.__module__ in MODULES
    assert set(BROKEN[broken]) <= set(BY_NAME)


@pytest.mark.parametrize("promise", promises)
def test_a_promise_is_a_sentence(promise: Promise) -> None:
    """Every promise has a name of its own that is a sentence, and says what is promised."""
    assert len(promise.__name__.split("_")) >= 4
    assert promise.__doc__ is not None
    assert promise.__doc__.endswith(".")
    assert BY_NAME[promise.__name__] is promise


def test_the_runner_tells_what_is_broken_and_how() -> None:
    """Without a test framework, all promises are run, and the broken ones are named."""
    found = failures(harness_of(broken_hooks.LosesTheLastByte))
    assert "a_single_byte_comes_back" in [failure.promise for failure in found]
    assert "a single byte comes back: content read back: expected b'\\x00', got b''" in [
        str(failure) for failure in found
    ]


def test_a_storage_may_take_no_uploads_in_pieces() -> None:
    """Then it says so, and the promises on them are not asked of it."""

    class WithoutUploads(MemoryStorage):
        def _abilities(self) -> Abilities:
            return dataclasses.replace(super()._abilities(), resumable=None)

    class WithoutUploadsHarness(MemoryHarness):
        def make(self, max_size: int | None) -> Storage:
            return WithoutUploads(max_size=max_size)

    having = {*promises_for(MemoryStorage().abilities)}
    without = {*promises_for(WithoutUploads().abilities)}
    assert 1 == len(without - having)
    assert [] == failures(WithoutUploadsHarness(), tuple(without - having))
    of_uploads = tuple(having - without)
    assert len(of_uploads) == len(failures(WithoutUploadsHarness(), of_uploads)) > 20


def test_the_runner_finds_nothing_in_a_sound_storage() -> None:
    """A storage that keeps its promises has no failures."""
    assert [] == failures(MemoryHarness())
    assert len(promises) > len(promises_for(MemoryStorage().abilities))
