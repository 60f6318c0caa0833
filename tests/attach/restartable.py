"""A SeaweedFS that can be stopped and started again with what it holds."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from rex.attach_demo import seaweedfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Restartable", "restartable"]

LONGEST_SECONDS = 120
PAUSE_SECONDS = 0.05


class Restartable:
    """The server; its address stays the same."""

    def __init__(self, directory: Path) -> None:
        self._server = seaweedfs.SeaweedFS()
        ports = seaweedfs._choose_ports()
        self._server.endpoint = f"http://{seaweedfs._HOST}:{ports['s3']}"
        data, config = directory / "data", directory / "identities.json"
        data.mkdir()
        config.write_text(json.dumps(self._server._identities()))
        self._directory = directory
        self._command = [
            seaweedfs._find_program(),
            "mini",
            *self._server._options(ports, data, config),
        ]
        self._program: subprocess.Popen[bytes] | None = None

    def settings(self) -> dict[str, str]:
        """Return the settings that use it."""
        return self._server.settings()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._directory / "weed.log").open("ab") as log:
            self._program = subprocess.Popen(
                self._command,
                env={"PATH": os.defpath, "HOME": str(self._directory)},
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + LONGEST_SECONDS
        while not self._answers():
            assert self._program.poll() is None
            assert time.monotonic() < deadline
            time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """Kill it at once, as a restart of its machine does."""
        if self._program is not None:
            os.killpg(self._program.pid, signal.SIGKILL)
            self._program.wait()
            self._program = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._server._request("GET", f"/{self._server.bucket}") == http.client.OK
        return False


@contextlib.contextmanager
def restartable(directory: Path) -> Iterator[Restartable]:
    """Run a server until the end of the block."""
    server = Restartable(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
