"""Every kind of storage keeps every promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from rex.attach.conformance import promises_for

if TYPE_CHECKING:
    from rex.attach.conformance import Promise
    from rex.attach_demo.seaweedfs import SeaweedFS


@pytest.mark.parametrize("promise", promises_for(links=False))
def test_memory_keeps(promise: Promise) -> None:
    """A storage in memory keeps the promises of storages without links."""
    promise(MemoryHarness())


@pytest.mark.parametrize("promise", promises_for(links=False))
def test_a_directory_keeps(promise: Promise) -> None:
    """A storage in a directory keeps the promises of storages without links."""
    promise(LocalHarness())


@pytest.mark.parametrize("promise", promises_for(links=True))
def test_s3_keeps(promise: Promise, seaweedfs: SeaweedFS) -> None:
    """A storage on an S3 server keeps the promises of storages with links."""
    promise(S3Harness(seaweedfs))
