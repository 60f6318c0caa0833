"""What the tests of the service share: a storage of each kind, a page on S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from attach.web.uploaders import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.conformance import Harness


@pytest.fixture(params=["memory", "directory", "s3"])
def harness(request: pytest.FixtureRequest) -> Any:
    """Return the harness of each kind of storage."""
    if request.param == "memory":
        return MemoryHarness()
    if request.param == "directory":
        return LocalHarness()
    return S3Harness(request.getfixturevalue("seaweedfs"))


@pytest.fixture
def storage(harness: Harness) -> Iterator[Storage]:
    """Yield an empty storage of each kind."""
    with harness.storage() as storage:
        yield storage


@pytest.fixture
def page(s3: S3Storage) -> Page:
    """Give the page of somebody unknown, on a site that sends straight to S3."""
    return Page(s3)
