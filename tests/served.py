"""Programs that serve HTTP, each a process on a port of its own, looked at from outside."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import programs
from programs import PATIENCE, REX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

HOST = "127.0.0.1"
PORT = "{port}"
"""Stands for the port in a command and in an environment."""

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
"""For clients of a server with a throwaway certificate."""

PAUSE_SECONDS = 0.02
ESTABLISHED = "01"
"""A state of TCP: neither side has closed."""


class Served:
    """A program that serves HTTP: see `serving`."""

    program: subprocess.Popen[bytes]

    def __init__(
        self,
        port: int,
        command: Sequence[object],
        directory: Path,
        environment: Mapping[str, object],
    ) -> None:
        self.port = port
        self.has_tls = "--tls-cert" in command
        self.url = f"http{'s' * self.has_tls}://{HOST}:{port}"
        self.directory = directory
        self.log = directory / f"{port}.log"
        """All that it has said."""
        self._command = [self._filled(part) for part in command]
        self._environment: dict[str, str] = {}
        self._put(environment)

    def set(self, settings: Mapping[str, object]) -> None:
        """Give `rex serve` other settings for the next start; anybody may do everything."""
        self._put(_settings(settings))

    def _put(self, environment: Mapping[str, object]) -> None:
        filled = {name: self._filled(value) for name, value in environment.items()}
        self._environment = programs.environment(filled)

    def start(self) -> None:
        """Start it, for the first time or again; see `wait`."""
        with self.log.open("ab") as log:
            self.program = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers anything."""
        self.until(self._answers)

    def until(self, condition: Callable[[], bool]) -> None:
        """Ask again and again until something holds, which the program must live to see."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            with suppress(subprocess.TimeoutExpired):
                self.program.wait(PAUSE_SECONDS)
            assert self.program.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")

    def stop(self) -> None:
        """End it with SIGTERM; if that does not help, kill it, and fail."""
        self.program.terminate()
        try:
            self.program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill all its processes at once."""
        os.killpg(self.program.pid, signal.SIGKILL)
        self.program.wait(PATIENCE)

    @property
    def processes(self) -> list[Path]:
        """The directories in /proc: that of the program, and those of its workers."""
        pid = self.program.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [Path("/proc", process) for process in (str(pid), *children)]

    def holds(self, clients: Iterable[socket.socket]) -> int:
        """Count the connections that it has not closed, of which their clients need not know.

        See proc_pid_net(5): local and remote address, and the state, all in hexadecimal.
        """
        held = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            if state == ESTABLISHED and int(local.partition(":")[2], 16) == self.port:
                held.add(int(remote.partition(":")[2], 16))
        return sum(client.getsockname()[1] in held for client in clients)

    def cpu_seconds(self) -> float:
        """Tell how much it has computed."""
        stats = [(process / "stat").read_text() for process in self.processes]
        ticks = sum(sum(map(int, stat.rpartition(")")[2].split()[11:13])) for stat in stats)
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Tell the resident memory of its only worker, in bytes."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        """Tell the highest that it was since `forget_peak`, in bytes."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Let the peak of the memory begin anew."""
        (self._worker / "clear_refs").write_text("5")

    @property
    def _worker(self) -> Path:
        _, worker = self.processes
        return worker

    def _status(self, what: str) -> int:
        found = re.search(rf"{what}:\s+(\d+) kB", (self._worker / "status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def _answers(self) -> bool:
        connection = self.connection()
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            connection.getresponse()
            return True
        return False

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that accepts every certificate."""
        if self.has_tls:
            return http.client.HTTPSConnection(
                HOST, self.port, timeout=PATIENCE, context=UNVERIFIED
            )
        return http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)

    def _filled(self, value: object) -> str:
        return str(value).replace(PORT, str(self.port))


@contextmanager
def serving(
    command: Sequence[object], directory: Path, environment: Mapping[str, object] | None = None
) -> Iterator[Served]:
    """Run a program in a directory, which also gets its log, until the end of the block."""
    with reserved_port() as port:
        served = Served(port, command, directory, environment or {})
        served.start()
        try:
            served.wait()
            yield served
        finally:
            served.stop()


@contextmanager
def rex_serving(directory: Path, *options: object, **settings: object) -> Iterator[Served]:
    """Run `rex serve`; where the settings do not say otherwise, anybody may do everything."""
    command = [REX, "serve", "--port", PORT, *options]
    with serving(command, directory, _settings(settings)) as served:
        yield served


def _settings(given: Mapping[str, object]) -> dict[str, object]:
    return {"attach_access": "public", **given}


def wait_until_listening(port: int) -> None:
    """Try to connect until somebody listens on a port of this machine."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(PAUSE_SECONDS)
        else:
            return


@contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port that nobody gets by chance; whoever is told of it can listen on it.

    As the servers do, it is bound for reuse, which Linux permits while only one of them listens.
    """
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((HOST, 0))
        yield reservation.getsockname()[1]
