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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rex.attach import open_storage
from trust.children import Children
from trust.client import Client
from trust.history import Source
from trust.judge import judge
from trust.ledger import Content, Ledger
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
SMALL = Content.of("small", 5000)
LARGE = Content.of("large", 1_200_000)


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


class Operation(NamedTuple):
    """An operation, and what there is before."""

    act: Callable[[Client, dict[str, str]], object]
    prepare: Callable[[Client], dict[str, str]] = lambda _: {}


def _reserved(client: Client) -> dict[str, str]:
    return {"handle": client.storage.reserve(client.new_name())}


def _added(client: Client) -> dict[str, str]:
    return {"handle": client.add(SMALL) or ""}


def _begun(size: int, *, is_part: bool = False) -> Callable[[Client], dict[str, str]]:
    def prepare(client: Client) -> dict[str, str]:
        handle = client.create(LARGE, is_part=is_part) or ""
        client.go_on(handle, LARGE, size)
        return {"handle": handle}

    return prepare


OPERATIONS = {
    "add": Operation(lambda client, _: client.add(SMALL)),
    "add large": Operation(lambda client, _: client.add(LARGE)),
    "put": Operation(lambda client, of: client.put(of["handle"], SMALL), _reserved),
    "put again": Operation(lambda client, of: client.put(of["handle"], SMALL), _added),
    "remove": Operation(lambda client, of: client.remove(of["handle"]), _added),
    "read": Operation(lambda client, of: client.read(of["handle"], SMALL), _added),
    "create": Operation(lambda client, _: client.create(LARGE)),
    "append": Operation(
        lambda client, of: client.go_on(of["handle"], LARGE, 700_000), _begun(300_000)
    ),
    "finish": Operation(
        lambda client, of: client.go_on(of["handle"], LARGE, LARGE.size), _begun(300_000)
    ),
    "join": Operation(
        lambda client, of: client.join({of["handle"]: LARGE}), _begun(LARGE.size, is_part=True)
    ),
    "give up": Operation(lambda client, of: client.give_up(of["handle"]), _begun(300_000)),
    "copy": Operation(lambda client, _: client.copy(*_source(client))),
    "sweep": Operation(lambda client, _: client.sweep(), _added),
}


def run(times: int, tell: Tell) -> Report:
    """Inject so many faults, or all if there are fewer."""
    report = Report()
    chance = random.Random()
    memory = Path("/dev/shm")  # noqa: S108 - where a sync costs nothing
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        tries = [*_tries(Path(name))]
        import sys; print(len(tries), file=sys.stderr)
        for each, (operation, fault, number) in enumerate(_some(tries, times, chance)):
            line = report.line(f"each system call: {operation}")
            directory = Path(name, str(each))
            line.found(_try(directory, operation, fault, number), f"{fault} at call {number}")
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
            before = OPERATIONS[operation].prepare(client)
            with _replaced(lambda call, calls=calls: calls.append(call.name) or call.again()):
                OPERATIONS[operation].act(client, before)
        for fault in FAULTS:
            meant = sum(call in FAULTS[fault].calls for call in calls)
            yield from ((operation, fault, each) for each in range(1, meant + 1))


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
        before = OPERATIONS[operation].prepare(client)
        try:
            with _replaced(_injecting(FAULTS[fault], number)):
                OPERATIONS[operation].act(client, before)
        except Interrupted:
            pass
        # What failed is tried again, as a client does.
        OPERATIONS[operation].act(client, before)

    children.start(act)
    children.listen()
    line = Line("", times=1)
    with place.open() as storage:
        judge(ledger, storage, line, place.leftovers)
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


def _source(client: Client) -> Source:
    del client
    storage = open_storage("memory:")
    contents = {}
    for number, content in enumerate((SMALL, LARGE, Content.of("third", 100))):
        handle = f"/2026/11/20/{number}1dc9eab-8b6b-4d0b-9c55-0f8c3a8b6d{number:02}/copied-{number}"
        storage.put(handle, content.read(), content_type=content.media_type)
        contents[handle] = content
    return Source(storage, contents)
