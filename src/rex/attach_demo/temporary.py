"""A temporary server that a supervisor runs: started in a ``with`` block, always stopped."""

from __future__ import annotations

import abc
import contextlib
import http.client
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn, Self

from rex.attach_demo import supervise
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["HOST", "TemporaryServer", "run"]

HOST = "127.0.0.1"

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ATTEMPTS = 4
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class TemporaryServer(abc.ABC):
    """A server that runs inside a ``with`` block, with its files in a temporary directory.

    Errors: `CONFIGURATION` if its program is not installed; `UNAVAILABLE`, with the end of the
    server's log, if the server does not start.

    A forked child that leaves the block does not stop its parent's server.
    """

    name: ClassVar[str]
    """The name of the server, for messages."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._owner = 0
        self._directory = Path()
        self._supervisor: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def _find_program(self) -> Sequence[str]:
        """Return the beginning of the command. Errors: `CONFIGURATION`."""

    @abc.abstractmethod
    def _prepare(self, program: Sequence[str]) -> tuple[supervise.Task, Mapping[str, str]]:
        """Choose ports, set `endpoint`, and return the task and the environment."""

    @abc.abstractmethod
    def _answers(self) -> bool:
        """Send the first request; return whether it succeeded."""

    @abc.abstractmethod
    def settings(self) -> dict[str, str]:
        """Return the settings of `rex.attach` for this server."""

    def __enter__(self) -> Self:
        program = self._find_program()
        for _ in range(_ATTEMPTS):
            try:
                with _put_off_interrupts():
                    self._start(program)
                if self._comes_up():
                    return self
                tail = self._log_tail()
            except BaseException:
                self._stop()
                raise
            # Most likely another process took one of the ports in the meantime: try others.
            self._stop()
        raise Error(
            f"{self.name} exited during its start; its log ends with", tail, kind=Kind.UNAVAILABLE
        )

    def __exit__(self, *_: object) -> None:
        if os.getpid() == self._owner:
            self._stop()

    @property
    def log_path(self) -> Path:
        """The path of the server's log, which is deleted with the server."""
        return self._directory / "server.log"

    def wait(self) -> NoReturn:
        """Wait until the server exits, then raise an `UNAVAILABLE` error."""
        self._has_ended(None)
        raise Error(
            f"{self.name} exited; its log ends with", self._log_tail(), kind=Kind.UNAVAILABLE
        )

    def _start(self, program: Sequence[str]) -> None:
        self._owner = os.getpid()
        prefix = f"rex-{self.name.lower()}-"
        self._directory = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        task, environment = self._prepare(program)
        self._supervisor = subprocess.Popen(  # noqa: S603 - our own script and its task
            [sys.executable, "-I", supervise.__file__, json.dumps(task)],
            # A clean environment: no credentials, bucket or options of another server.
            env={
                "PATH": os.defpath,
                "HOME": task["directory"],
                "TMPDIR": task["directory"],
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C goes to this process, which decides when the server stops.
            start_new_session=True,
        )

    def _comes_up(self) -> bool:
        """Wait for a successful response; return False if the server has exited."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._has_ended(0.05):
            # Another server on our port does not know our credentials.
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._answers():
                    return True
            if time.monotonic() > deadline:
                raise Error(
                    f"{self.name} did not answer within {_START_SECONDS:.0f} s; its log ends with",
                    self._log_tail(),
                    kind=Kind.UNAVAILABLE,
                )
        return False

    def _has_ended(self, seconds: float | None) -> bool:
        """Check whether the program exits within `seconds`: its supervisor then closes a pipe."""
        if self._supervisor is None or self._supervisor.stdout is None:
            return True
        return bool(select.select([self._supervisor.stdout], [], [], seconds)[0])

    def _log_tail(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError as error:
            return str(error)
        return "\n".join(lines[-15:]) or "(nothing)"

    def _stop(self) -> None:
        if self._supervisor is not None:
            # The end of its pipe makes the supervisor stop the server and delete the files; a
            # byte has the same effect if a forked child still holds the pipe.
            with contextlib.suppress(BrokenPipeError):
                self._supervisor.communicate(b".", timeout=_STOP_SECONDS)
            self._supervisor = None
        self.endpoint = ""


@contextlib.contextmanager
def _put_off_interrupts() -> Iterator[None]:
    """Defer Ctrl-C and other handled signals to the end of the block.

    A signal inside the block could lose track of a new process or directory.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt only the main thread
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _INTERRUPTS}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda which, _: came.append(which))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    for first in came[:1]:
        signal.raise_signal(first)


def run(server: TemporaryServer) -> int:
    """Run a server until Ctrl-C or SIGTERM and print its settings; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with server:
            for name, value in server.settings().items():
                sys.stdout.write(f"export {name.upper()}={shlex.quote(value)}\n")
            sys.stdout.flush()
            sys.stderr.write(
                f"{server.name} runs until Ctrl-C and then deletes its data.\n"
                "To use this server in another terminal, paste the lines above there.\n"
            )
            server.wait()
    except KeyboardInterrupt:
        return 0
    except Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
