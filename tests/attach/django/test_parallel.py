"""Django runs the tests of a project in processes that it forks: the storage works in each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from attach.django import forking
from attach.django.conftest import s3_place
from programs import started

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long


@pytest.mark.parametrize("kind", ["directory", "seaweedfs"])
def test_parallel_tests_use_the_storage_of_their_parent(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """The parent used it before: what it saved is there, and each test saves, reads, deletes."""
    place: tuple[str, dict[str, Any]] = f"file://{tmp_path}/attachments", {}
    if kind == "seaweedfs":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        place = s3_place(server)
    with started(sys.executable, forking.__file__, json.dumps(place)) as program:
        output, errors = program.communicate()
    assert 0 == program.returncode, errors
    assert "Found 4 test(s)." in output
    assert "\nOK" in errors
