"""The one way in which tests start a program.

A program gets of our environment only what makes it the one that is tested, and the settings that
the test names.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "BIN",
    "PATIENCE",
    "REX",
    "Program",
    "environment",
    "run",
    "run_binary",
    "started",
]

BIN = Path(sys.executable).parent
"""The programs of this environment."""
REX = BIN / "rex"

PATIENCE = 120
"""Seconds after which a test waits no longer for what must come.

So many that a machine with other things to do is no failure: only what never comes is missed.
"""

NONE: Mapping[str, object] = {}
_INHERITED = ("PATH", "PYTHONPATH", "TMPDIR")


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the environment of a program: settings by their names, in capitals."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, **{name.upper(): str(value) for name, value in settings.items()}}


def run_binary(
    *command: object,
    given: bytes = b"",
    directory: Path | None = None,
    seconds: float = PATIENCE,
    settings: Mapping[str, object] = NONE,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program until it ends; return its exit code and what it printed."""
    return subprocess.run(
        [*map(str, command)],
        input=given,
        capture_output=True,
        cwd=directory,
        env=environment(settings),
        timeout=seconds,
        check=False,
    )


def run(
    *command: object,
    given: str = "",
    directory: Path | None = None,
    seconds: float = PATIENCE,
    settings: Mapping[str, object] = NONE,
) -> subprocess.CompletedProcess[str]:
    """Run a program that reads and prints text, as `run_binary` does."""
    done = run_binary(
        *command, given=given.encode(), directory=directory, seconds=seconds, settings=settings
    )
    output, errors = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, output, errors)


class Program(subprocess.Popen[str]):
    """A program with three pipes to it."""

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]

    def communicate(
        self,
        input: str | None = None,  # noqa: A002 - as the base calls it
        timeout: float | None = PATIENCE,
    ) -> tuple[str, str]:
        """Return what else the program says until it ends.

        Of what came together with a line that was read before, the base returns nothing: it has
        left that in a buffer.
        """
        with suppress(BrokenPipeError):
            self.stdin.write(input or "")
            self.stdin.close()
        said: dict[IO[str], str] = {}

        def read(stream: IO[str]) -> None:
            said[stream] = stream.read()

        pipes = filter(None, (self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=[pipe], daemon=True) for pipe in pipes]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return said.get(self.stdout, ""), said.get(self.stderr, "")


@contextmanager
def started(
    *command: object,
    directory: Path | None = None,
    options: dict[str, Any] | None = None,
    settings: Mapping[str, object] = NONE,
) -> Iterator[Program]:
    """Start a program; at the end of the block, kill what is left of it and wait.

    It has a session of its own, so that a signal to its group reaches its children as well.
    `options` replaces arguments of `subprocess.Popen`.
    """
    given: dict[str, Any] = {
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
        "text": True,
        "cwd": directory,
        "env": environment(settings),
        "start_new_session": True,
        **(options or {}),
    }
    with Program([*map(str, command)], **given) as program:
        try:
            yield program
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
