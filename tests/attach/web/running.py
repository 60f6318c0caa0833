"""The command `rex serve` as a process, looked at from outside."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

START_SECONDS = 60
STOP_SECONDS = 60
ESTABLISHED = "01"
"""A state of TCP in /proc/net/tcp: neither side has closed."""


class Running:
    """``rex serve`` with one worker on a free port; anybody may do everything.

    Use it in a ``with`` statement.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._program = subprocess.Popen(
            [Path(sys.executable).with_name("rex"), "serve", "--port", str(self.port)],
            env={
                "PATH": os.environ["PATH"],
                "ATTACH_ACCESS": "anybody",
                **{name.upper(): str(value) for name, value in settings.items()},
            },
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline
            assert self._program.poll() is None
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._program.terminate()
        self._program.wait(STOP_SECONDS)

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port))

    def holds(self, clients: Iterable[socket.socket]) -> int:
        """Count the connections that the server has not closed; their clients need not know."""
        held = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            if state == ESTABLISHED and int(local.partition(":")[2], 16) == self.port:
                held.add(int(remote.partition(":")[2], 16))
        return sum(client.getsockname()[1] in held for client in clients)

    @property
    def worker(self) -> Path:
        """The directory of the worker in /proc."""
        pid = self._program.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return max((Path(f"/proc/{child}") for child in children), key=_resident)

    def memory(self, what: str = "VmRSS") -> int:
        """Tell the memory of the worker, in bytes: VmRSS, or VmHWM, its peak."""
        return _status(self.worker, what)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False


def _resident(process: Path) -> int:
    return _status(process, "VmRSS")


def _status(process: Path, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", (process / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024
