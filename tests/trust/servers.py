"""A SeaweedFS that can be killed, and started again on its data and its ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rex.attach_demo import supervise
from rex.attach_demo.seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from rex.attach_demo.supervise import Task

__all__ = ["MortalSeaweedFS"]


class MortalSeaweedFS(SeaweedFS):
    """Its first supervisor keeps the data; each further one runs the program again."""

    _again: subprocess.Popen[bytes] | None = None
    _program: int = 0
    _command: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        super().__enter__()
        assert self._supervisor is not None
        self._program = _child(self._supervisor.pid)
        line = Path(f"/proc/{self._program}/cmdline").read_bytes()
        self._command = tuple(line.decode().rstrip("\0").split("\0"))
        return self

    def __exit__(self, *exc_info: object) -> None:
        if os.getpid() == self._owner and self._again is not None:
            self._again.communicate(b".")  # a child may hold its pipe
        super().__exit__(*exc_info)

    def kill(self) -> None:
        """Kill the program at once."""
        os.kill(self._program, signal.SIGKILL)
        _wait_for_end(self._program)

    def restart(self) -> None:
        """Start the program again, and wait until it answers."""
        if self._again is not None:
            self._again.communicate(b".")
        task: Task = {
            "command": [*self._command],
            "directory": tempfile.mkdtemp(),
            "log": str(self.log_path),
            "leftovers": [],
        }
        self._again = subprocess.Popen(
            [sys.executable, "-I", supervise.__file__, json.dumps(task)],
            env={"PATH": os.defpath, "HOME": task["directory"], "TMPDIR": task["directory"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        first, self._supervisor = self._supervisor, self._again
        try:
            assert self._comes_up(), self._log_tail()
        finally:
            self._supervisor = first
        self._program = _child(self._again.pid)


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _wait_for_end(pid: int) -> None:
    """Wait until a process that is not a child of ours has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        import select

        select.select([fd], [], [])
    finally:
        os.close(fd)
