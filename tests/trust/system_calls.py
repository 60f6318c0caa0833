"""Part 3: each call to the system fails in turn, in each way, during each operation.

What calls the system is replaced in the child that performs the operation: the functions of `os`
and `fcntl`. Python repeats a call that a signal interrupts (PEP 475), so that EINTR reaches no
program as an error: what does are a write of a part, and the exception of a signal's handler.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trust.children import Children
from trust.client import Client
from trust.judge import judge
from trust.ledger import Content, Ledger
from trust.operations import operations
from trust.places import Directory
from trust.report import Line, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trust.children import Record
    from trust.report import Tell

__all__ = ["run"]

CHANGING = (
    *("write", "fsync", "ftruncate", "link", "rename", "unlink", "mkdir", "rmdir"),
    *("setxattr", "fchmod"),
)
LOOKING = ("open", "close", "dup", "read", "pread", "preadv", "lseek", "stat", "fstat", "getxattr")
NAMING = ("open", "link", "rename", "mkdir", "setxattr", "write", "fsync", "ftruncate")
"""What may need a new block."""


class Interrupted(BaseException):
    """What the handler of a signal may raise, as of a worker that took too long."""


class Call(NamedTuple):
    """A call to the system that was made."""

    name: str
    real: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def again(self) -> Any:
        """Make the call."""
        return self.real(*self.arguments, **self.options)


def _fail(number: int) -> Callable[[Call], Any]:
    def fail(call: Call) -> Any:
        if call.name == "close":
            call.again()  # Linux closes it all the same
        raise OSError(number, os.strerror(number))

    return fail


def _fail_afterwards(call: Call) -> Any:
    call.again()
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _be_killed(_: Call) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _be_interrupted(call: Call) -> Any:
    call.again()
    raise Interrupted


def _write_a_part(call: Call) -> Any:
    fd, data = call.arguments
    return call.real(fd, data[: max(len(data) // 2, 1)])


class Fault(NamedTuple):
    """What happens at a call."""

    calls: tuple[str, ...]
    """The calls at which it can happen."""
    act: Callable[[Call], Any]
    is_lasting: bool = False
    """Whether it happens at each of these calls from then on, until the operation ends."""


FAULTS = {
    "EIO": Fault((*CHANGING, *LOOKING), _fail(errno.EIO)),
    "EIO after it acted": Fault(CHANGING, _fail_afterwards),
    "EIO from then on": Fault(CHANGING, _fail(errno.EIO), is_lasting=True),
    "ENOSPC": Fault(NAMING, _fail(errno.ENOSPC)),
    "EDQUOT": Fault(NAMING, _fail(errno.EDQUOT)),
    "EMFILE": Fault(("open", "dup"), _fail(errno.EMFILE)),
    "a write of a part": Fault(("write",), _write_a_part),
    "an interruption": Fault((*CHANGING, *LOOKING), _be_interrupted),
    "SIGKILL": Fault((*CHANGING, *LOOKING), _be_killed),
}


LARGE = Content.of("large", 1_200_000)
OPERATIONS = operations(LARGE, LARGE, (300_000, 700_000))


def run(times: int, tell: Tell) -> Report:
    """Inject so many faults, or all if there are fewer."""
    report = Report()
    chance = random.Random()
    memory = Path("/dev/shm")  # noqa: S108 - where a sync costs nothing
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        tries = [*_tries(Path(name))]
        for each, (operation, fault, number) in enumerate(_some(tries, times, chance)):
            line = report.line("a failure at each system call")
            directory = Path(name, str(each))
            found = _try(directory, operation, fault, number)
            line.found(found, f"{operation}, {fault} at call {number}")
            shutil.rmtree(directory)
            tell(report)
    return report


def _tries(directory: Path) -> Iterator[tuple[str, str, int]]:
    """Yield each operation with each fault at each call at which it can happen."""
    for number, operation in enumerate(OPERATIONS):
        calls: list[str] = []
        place = Directory(directory / f"calls-{number}").make()
        with place.open() as storage:
            client = Client(storage, lambda _: None, "calls")
            handle = OPERATIONS[operation].prepare(client) or ""
            with _replaced(partial(_noting, calls)):
                OPERATIONS[operation].act(client, handle)
        for fault, (meant_calls, *_) in FAULTS.items():
            meant = sum(call in meant_calls for call in calls)
            yield from ((operation, fault, each) for each in range(1, meant + 1))


def _noting(calls: list[str], call: Call) -> Any:
    calls.append(call.name)
    return call.again()


def _some(
    tries: list[tuple[str, str, int]], times: int, chance: random.Random
) -> list[tuple[str, str, int]]:
    return tries if times >= len(tries) else sorted(chance.sample(tries, times))


def _try(directory: Path, operation: str, fault: str, number: int) -> Line:
    directory.mkdir()
    place = Directory(directory / "attachments").make()
    ledger = Ledger()
    children = Children(ledger)

    def act(record: Record) -> None:
        client = Client(place.open(), record, "w")
        handle = OPERATIONS[operation].prepare(client) or ""
        try:
            with _replaced(_injecting(FAULTS[fault], number)):
                OPERATIONS[operation].act(client, handle)
        except Interrupted:
            pass
        # What failed is tried again, as a client does.
        OPERATIONS[operation].act(client, handle)

    children.start(act)
    children.listen()
    line = Line("", times=1)
    with place.open() as storage:
        judge(ledger, storage, line, place.garbage)
    return line


def _injecting(fault: Fault, number: int) -> Callable[[Call], Any]:
    """Return what is called instead of the system; the fault happens at a call of a number."""
    left = number

    def call(made: Call) -> Any:
        nonlocal left
        if made.name in fault.calls:
            left -= 1
            if left == 0 or (left < 0 and fault.is_lasting):
                return fault.act(made)
        return made.again()

    return call


class _replaced:  # noqa: N801 - it is used as a function
    """Replaces what calls the system, until the end of the block."""

    def __init__(self, call: Callable[[Call], Any]) -> None:
        self._call = call
        self._kept: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        for module, names in ((os, (*CHANGING, *LOOKING)), (fcntl, ("flock",))):
            for name in names:
                real = getattr(module, name)
                self._kept.append((module, name, real))
                setattr(module, name, self._around(name, real))

    def __exit__(self, *_: object) -> None:
        for module, name, real in self._kept:
            setattr(module, name, real)

    def _around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(Call(name, real, args, kwargs))

        return call
