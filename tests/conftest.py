"""What the tests share: one S3 server for the whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rex.attach_demo.seaweedfs import READ_ONLY, SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """Run a SeaweedFS; tests keep apart by prefix, or make a bucket of their own.

    Beside the administrator it knows ``reader``, who may read and list, and ``nobody``, who may
    do nothing.
    """
    with SeaweedFS(identities={"reader": READ_ONLY, "nobody": ()}) as server:
        yield server
