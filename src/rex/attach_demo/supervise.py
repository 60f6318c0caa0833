"""Run a program until the pipe on standard input closes, then kill it and delete its files.

A process that needs a temporary server runs this module as a script; it uses only the standard
library. However that process ends, even by SIGKILL, the kernel closes its end of the pipe, and the
script stops the server and deletes its files. (A preexec_fn with PR_SET_PDEATHSIG would be unsafe
in a process with threads, works only on Linux and does not delete files.)
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

__all__ = ["Task"]

_TICK = 0.1
"""Interval of checks whether the program is still running, in seconds."""
_LONGEST_END = 30.0
"""How long a killed process may take to end, in seconds."""


class Task(TypedDict):
    """The script's argument, as JSON."""

    command: list[str]
    directory: str
    """Working directory of the program; deleted after the program and its children have ended."""
    log: str
    leftovers: list[str]
    """Files elsewhere that the program may leave behind; deleted too."""


def _main(task: Task) -> None:
    pipe = sys.stdin.fileno()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A signal counts as the end of the pipe. (The program would inherit ignored signals, but
        # does not inherit handlers.)
        signal.signal(number, lambda *_: os.dup2(os.open(os.devnull, os.O_RDONLY), pipe))
    ended, held = os.pipe()
    with Path(task["log"]).open("ab") as log:
        program = subprocess.Popen(  # noqa: S603 - the command comes from our parent process
            task["command"],
            cwd=task["directory"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=[held],
        )
    os.close(held)
    while program.poll() is None and not select.select([pipe], [], [], _TICK)[0]:
        pass
    # Signals to the other end that the program has ended or is about to.
    os.close(sys.stdout.fileno())
    # Its data is deleted anyway, so there is no need for a graceful stop.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    # Its children are not ours to wait for. The last that ends closes the pipe that all inherited.
    select.select([ended], [], [], _LONGEST_END)
    # Wait for the end of the pipe anyway: the other end may want to read the log.
    select.select([pipe], [], [])
    for leftover in task["leftovers"]:
        Path(leftover).unlink(missing_ok=True)
    shutil.rmtree(task["directory"], ignore_errors=True)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
