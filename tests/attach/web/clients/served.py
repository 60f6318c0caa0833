"""The service in a process of its own, granian with one worker, over each kind of storage."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx

from browser.rig import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


class Served(NamedTuple):
    """A running service."""

    url: str
    worker: int
    """The process that answers."""

    def forget_peak(self) -> None:
        """Let the peak of the memory begin anew."""
        self._proc("clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """Give the peak of the resident memory in bytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", self._proc("status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def _proc(self, name: str) -> Path:
        return Path("/proc", str(self.worker), name)


@contextmanager
def serving(directory: Path, settings: Mapping[str, str] | None) -> Iterator[Served]:
    """Run the service with settings, or over memory; everybody may use it."""
    port = free_port()
    over_memory = ("granian", "--interface", "asgi", "--working-dir", HERE, "memory_app:app")
    command = ("rex", "serve") if settings is not None else over_memory
    environment = {
        "PATH": os.environ["PATH"],
        "ATTACH_ACCESS": "anybody",
        **{name.upper(): value for name, value in (settings or {}).items()},
    }
    with _running([*command, "--port", port], environment, directory) as program:
        origin = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=9)) as client:
            client.get(f"{origin}/health").raise_for_status()
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text()
        [worker] = children.split()
        yield Served(f"{origin}/attach", int(worker))


@contextmanager
def _running(
    command: Sequence[object], environment: Mapping[str, str], directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of this environment until the end of the block."""
    name, *arguments = map(str, command)
    with (directory / "log").open("wb") as log:
        program = subprocess.Popen(
            [BIN / name, *arguments], env=environment, cwd=directory, stdout=log, stderr=log
        )
    try:
        yield program
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait(60)
