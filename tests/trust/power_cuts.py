"""Part 1: the power goes while processes add, put, remove, upload in pieces and copy."""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach import open_storage
from trust.children import Children
from trust.client import Client
from trust.disk import Disk, obstacle
from trust.history import History, Source, fill
from trust.judge import judge
from trust.ledger import Ledger
from trust.places import Directory
from trust.report import Line, Report

if TYPE_CHECKING:
    from trust.children import Record
    from trust.report import Tell

__all__ = ["FILESYSTEMS", "run"]

FILESYSTEMS = tuple(name for name in ("ext4", "xfs") if obstacle(name) is None)
WORKERS = 3
CUTS_OF_A_DISK = 8
"""After so many, a new file system is made."""
EVENTS = (40, 600)
"""At least and at most so many are recorded before the power goes."""


def run(times: int, tell: Tell) -> Report:
    """Cut the power so often, on each file system."""
    report = Report()
    with tempfile.TemporaryDirectory() as directory, open_storage(f"file://{directory}/s") as files:
        files.init()
        source = fill(Client(files, lambda _: None, "source"), random.Random(1), 30)
        for filesystem in FILESYSTEMS:
            line = report.line(f"power cuts on {filesystem}")
            for first in range(0, times, CUTS_OF_A_DISK):
                with Disk(Path(directory, f"{filesystem}-{first}"), filesystem) as disk:
                    for number in range(first, min(first + CUTS_OF_A_DISK, times)):
                        line.found(_cut(disk, source, number), f"cut {number}")
                        tell(report)
    return report


def _cut(disk: Disk, source: Source, number: int) -> Line:
    place = Directory(disk.root / f"attachments-{number}").make()
    chance = random.Random()
    ledger = Ledger()
    children = Children(ledger)

    def copying(record: Record) -> None:
        Client(place.open(), record, f"c{number}").copy(*source)

    for name in range(WORKERS):
        children.start(partial(_work, place, f"w{name}"))
    is_copying = chance.random() < 0.5
    if is_copying:
        children.listen(chance.randint(1, EVENTS[0]))
        children.start(copying)
    children.listen(chance.randint(*EVENTS))
    disk.cut_power()
    children.listen()
    disk.remount()
    line = Line("", times=1)
    with place.open() as storage:
        judge(ledger, storage, line, place.garbage)
    return line


def _work(place: Directory, name: str, record: Record) -> None:
    history = History(Client(place.open(), record, name), random.Random())
    while history.step():
        pass
