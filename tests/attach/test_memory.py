"""A large attachment takes little memory, whichever way it goes.

The size is 160 MiB, and that of the environment variable REX_TEST_LARGE (MiB) where it is set:
``REX_TEST_LARGE=1024 make test-all``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from attach import memory_use
from programs import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

MIB = 1024 * 1024
LARGE = int(os.environ.get("REX_TEST_LARGE") or 160) * MIB
LIMIT = 96 * MIB
"""How much more memory than an idle process has, at most."""


@pytest.fixture(params=["local", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Give the settings of each storage that is for large attachments."""
    if request.param == "local":
        return {"attach_dir": str(tmp_path / "attachments")}
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    return {**server.settings(), "attach_s3_prefix": "memory"}


def test_a_large_attachment_takes_little_memory(
    settings: dict[str, Any], report_figure: Callable[[str], None]
) -> None:
    """It is added from a pipe, whose size nobody knows, and read back in small pieces."""
    task = json.dumps({"settings": settings, "size": LARGE})
    done = run(sys.executable, memory_use.__file__, task, seconds=600)
    assert 0 == done.returncode, done.stderr
    measured = json.loads(done.stdout)
    where = "S3" if "attach_s3_bucket" in settings else "a directory"
    for verb, used in measured.items():
        report_figure(
            f"memory, {LARGE // MIB} MiB through {verb} on {where}: "
            f"{used['bytes'] / MIB:.0f} MiB above idle, {used['seconds']:.1f} s"
        )
    assert max(used["bytes"] for used in measured.values()) <= LIMIT
