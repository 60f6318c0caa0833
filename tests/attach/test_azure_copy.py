"""Attachments go around: from a directory to S3, to Azure and back, and nothing changes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from attach.azure_harness import AzureHarness
from attach.contents import described, fill
from attach.harnesses import S3Harness
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.maintenance import Outcome, copy, verify

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach.storage import Storage
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS

NUMBER = 200


def go_around(number: int, directory: Path, on_s3: Storage, on_azure: Storage) -> None:
    """Copy from storage to storage; compare each with the first."""
    storages = [
        LocalStorage(str(directory / "first")),
        on_s3,
        on_azure,
        LocalStorage(str(directory / "last")),
    ]
    for storage in storages:
        storage.init()
    fill(storages[0], number)
    expected = described(storages[0])
    assert number == len(expected)
    for source, dest in itertools.pairwise(storages):
        outcomes = {copied.outcome for copied in copy(source, dest)}
        assert {Outcome.COPIED} == outcomes
        found = described(dest)
        assert expected.keys() == found.keys()
        for handle, (size, content_type, digest) in found.items():
            first = expected[handle]
            # S3 records no digest of what is in parts, unless it was known.
            assert (size, content_type, digest or first[2]) == first
        assert all(verified.is_fine for verified in verify(dest))


@pytest.mark.long
def test_attachments_go_around(tmp_path: Path, seaweedfs: SeaweedFS, azurite: Azurite) -> None:
    """Sets, sizes, types and digests are equal everywhere."""
    with S3Harness(seaweedfs).storage() as on_s3, AzureHarness(azurite).storage() as on_azure:
        go_around(NUMBER, tmp_path, on_s3, on_azure)
