"""Forked processes that use a storage, record what they do, and can be killed at any moment."""

from __future__ import annotations

import json
import os
import selectors
import signal
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from trust.ledger import Event, Ledger

    Record = Callable[[Event], object]

__all__ = ["Children", "in_child"]


class Children:
    """Processes whose events come through pipes into one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._selector = selectors.DefaultSelector()
        self._pids: dict[int, int] = {}
        """The pipes of the children that have not ended."""
        self._incomplete: dict[int, bytes] = {}

    def start(self, act: Callable[[Record], object]) -> int:
        """Run a function in a child; return its process id."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            write = os.write  # which may be replaced in the child
            _end(lambda: act(lambda event: write(writer, event.as_line())))
        os.close(writer)
        self._pids[pid] = reader
        self._selector.register(reader, selectors.EVENT_READ, pid)
        return pid

    def listen(self, events: int | None = None) -> bool:
        """Record so many more events, or all; return whether any child is left."""
        while self._pids and (events is None or events > 0):
            for key, _ in self._selector.select():
                came = self._read(key.data)
                events = None if events is None else events - came
        return bool(self._pids)

    def kill(self, pid: int) -> None:
        """Kill a child, and record what it still did."""
        if pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        while pid in self._pids:
            self._read(pid)

    def kill_all(self) -> None:
        """Kill all children."""
        for pid in [*self._pids]:
            self.kill(pid)

    def _read(self, pid: int) -> int:
        fd = self._pids[pid]
        data = os.read(fd, 1 << 16)
        lines = self._incomplete.pop(pid, b"") + data
        if not data:
            self._selector.unregister(fd)
            os.close(fd)
            del self._pids[pid]
            _check(os.waitpid(pid, 0)[1])
            return 1
        whole, newline, rest = lines.rpartition(b"\n")
        self._incomplete[pid] = rest
        self.ledger.read(whole + newline)
        return whole.count(b"\n") + 1 if newline else 0


def in_child(act: Callable[[], Any]) -> Any:
    """Return what a function returns, as JSON, that runs in a child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)

        def answer() -> None:
            with os.fdopen(writer, "wb") as file:
                file.write(json.dumps(act()).encode())

        _end(answer)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        result = file.read()
    _check(os.waitpid(pid, 0)[1])
    return json.loads(result)


def _end(act: Callable[[], object]) -> None:
    """End this process with a function."""
    status = 1
    try:
        act()
        status = 0
    except KeyboardInterrupt:
        status = 0
    except BaseException:  # noqa: BLE001 - the child ends here
        traceback.print_exc()
    finally:
        os._exit(status)


def _check(status: int) -> None:
    if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise ChildProcessError(status)
