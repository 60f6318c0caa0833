"""Run a program until the pipe on standard input ends, then kill it and remove what it left.

This is run as a script of its own, with nothing but the standard library, by a process that wants
a server for a while. However that process ends, killed outright included, the kernel closes its
end of the pipe, and the server and its files go too. (A preexec_fn with PR_SET_PDEATHSIG would be
unsafe in a process with threads, works on Linux alone and removes no files.)
"""

from __future__ import annotations

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
"""Seconds between two looks at whether the program still runs."""


class Task(TypedDict):
    """The script's one argument, as JSON."""

    command: list[str]
    directory: str
    """Where the program runs; removed after it has stopped, never before."""
    log: str
    leftovers: list[str]
    """Files elsewhere that the program may leave behind; removed too."""


def _main(task: Task) -> None:
    pipe = sys.stdin.fileno()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A signal counts as the end of the pipe. (Ignored signals would be ignored by the
        # program too; handlers are not inherited.)
        signal.signal(number, lambda *_: os.dup2(os.open(os.devnull, os.O_RDONLY), pipe))
    with Path(task["log"]).open("ab") as log:
        program = subprocess.Popen(  # noqa: S603 - the command comes from whoever started us
            task["command"],
            cwd=task["directory"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    while program.poll() is None and not select.select([pipe], [], [], _TICK)[0]:
        pass
    # This tells the other end that the program has ended or will.
    os.close(sys.stdout.fileno())
    # What it holds goes with it, so there is nothing that it would have to finish first.
    program.kill()
    program.wait()
    # Wait for the end of the pipe even so: the other end may want to read the log.
    select.select([pipe], [], [])
    for leftover in task["leftovers"]:
        Path(leftover).unlink(missing_ok=True)
    shutil.rmtree(task["directory"], ignore_errors=True)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
