"""Part 2: a device whose writes fail for a moment, with and without a kill before the sync."""

from __future__ import annotations

import os
import random
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach import open_storage
from trust.children import Children
from trust.client import Client
from trust.disk import Disk
from trust.history import History, Source, fill
from trust.judge import judge
from trust.ledger import Content, Ledger
from trust.places import Directory
from trust.power_cuts import FILESYSTEMS
from trust.report import Line, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from trust.children import Record
    from trust.report import Tell

__all__ = ["run"]

TRIES_OF_A_DISK = 3
UPLOADS = 3
SIZES = (100_000, 1_500_000, 5_000_000)
COPIED = 12
WARMING = 200
"""After so many attachments, the blocks of the journal and of the inodes exist."""

_fsync = os.fsync


def run(times: int, tell: Tell) -> Report:
    """Fail the device so often on each file system, with a kill and without."""
    report = Report()
    with tempfile.TemporaryDirectory() as directory, open_storage(f"file://{directory}/s") as files:
        files.init()
        client = Client(files, lambda _: None, "source")
        source = fill(client, random.Random(1), COPIED, SIZES)
        for filesystem in FILESYSTEMS:
            for first in range(0, times, TRIES_OF_A_DISK):
                with Disk(Path(directory, f"{filesystem}-{first}"), filesystem) as disk:
                    _warm(disk)
                    for number in range(first, min(first + TRIES_OF_A_DISK, times)):
                        for what, act in FAILURES.items():
                            line = report.line(f"{what} on {filesystem}")
                            line.found(
                                _Try(disk, f"{what}-{number}", source, act).line, f"try {number}"
                            )
                            tell(report)
    return report


def _warm(disk: Disk) -> None:
    with Directory(disk.root / "warm").make().open() as storage:
        for _ in range(WARMING):
            storage.add("warm", b"x" * 2000)


class _Try:
    """Uploads that are begun, go on while the device fails, and are continued afterwards."""

    def __init__(
        self,
        disk: Disk,
        name: str,
        source: Source,
        fail: Callable[[History, random.Random], None],
    ) -> None:
        self.line = Line("", times=1)
        self._name = name.replace(" ", "-").replace(",", "")
        self._source = source
        self._phases = iter("abc")
        self._chance = random.Random()
        self._ledger = Ledger()
        self._place = Directory(disk.root / self._name).make()
        self._in_child(self._begin)
        with disk.failing():
            self._in_child(lambda history: fail(history, self._chance), self._source)
            disk.write_back()  # whose failure is reported to no process
        self._in_child(self._continue)
        disk.remount()
        with self._place.open() as storage:
            judge(self._ledger, storage, self.line, self._place.garbage)

    def _in_child(self, act: Callable[[History], object], source: Source | None = None) -> None:
        children = Children(self._ledger)
        name = f"{self._name}-{next(self._phases)}"

        def child(record: Record) -> None:
            client = Client(self._place.open(), record, name)
            history = History(client, random.Random(), sizes=SIZES, source=source)
            history.take_over(self._ledger, lambda _: True)
            act(history)

        children.start(child)
        children.listen()

    def _begin(self, history: History) -> None:
        for _ in range(UPLOADS):
            content = Content.of(
                f"{self._name}/{self._chance.random()}", self._chance.choice(SIZES)
            )
            handle = history.client.create(content, sized=self._chance.random() < 0.5)
            if handle is not None:
                history.client.go_on(handle, content, self._chance.randrange(content.size))

    def _continue(self, history: History) -> None:
        """Append more to some uploads, and complete others."""
        history.go_on(10)
        history.finish()


def _fail(history: History, chance: random.Random) -> None:
    """Do all that a storage can do, and each time the sync may fail."""
    del chance
    history.append_all(0.5)
    history.go_on(10)


def _fail_to_copy(history: History, chance: random.Random) -> None:
    """Copy a few at a time, and what could not be copied again."""
    del chance
    history.copy()
    history.copy()


def _be_killed(history: History, chance: random.Random) -> None:
    """Append, and be killed before one of the syncs."""
    left = chance.choice((1, 1, 1, 2, 3, 5, 8))

    def fsync(fd: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _fsync(fd)

    setattr(os, "fsync", fsync)  # noqa: B010 - mypy forbids to assign it
    history.append_all(0.5)
    history.go_on(10)


FAILURES: dict[str, Callable[[History, random.Random], None]] = {
    "a failing device": _fail,
    "a copy to a failing device": _fail_to_copy,
    "kills before a sync, and a failing device": _be_killed,
}
