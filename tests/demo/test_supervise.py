"""The supervisor of a throwaway server leaves neither processes nor files behind."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

from programs import PATIENCE
from rex.attach_demo import supervise

if TYPE_CHECKING:
    from pathlib import Path


def test_a_program_ends_with_its_children(tmp_path: Path) -> None:
    """A child that its program does not wait for, as those of a script that starts several."""
    alive, directory = tmp_path / "alive", tmp_path / "data"
    os.mkfifo(alive)
    directory.mkdir()
    script = f"sleep 600 >'{alive}' & sleep 600"
    task: supervise.Task = {
        "command": ["/bin/sh", "-c", script],
        "directory": str(directory),
        "log": str(directory / "log"),
        "leftovers": [],
    }
    command = [sys.executable, "-I", supervise.__file__, json.dumps(task)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe) as supervisor,
        alive.open("rb") as child,  # waits for its beginning
    ):
        supervisor.communicate(b".", PATIENCE)
        assert select.select([child], [], [], 0)[0], "the child lives"
        assert b"" == child.read()
    assert not directory.exists()
