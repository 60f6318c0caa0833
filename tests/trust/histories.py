"""Part 4: histories in which clients and the server are killed at any moment."""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session  # noqa: F401 - before it forks, since it takes long

from rex.attach import open_storage
from rex.attach.backends.s3 import resumable as s3_drafts
from trust.children import Children
from trust.client import Client
from trust.history import History, Source, fill
from trust.ledger import Ledger
from trust.places import Directory, Place, Prefix, judged
from trust.report import Report
from trust.servers import MortalSeaweedFS

if TYPE_CHECKING:
    from trust.children import Record
    from trust.report import Line, Tell

__all__ = ["run"]

WORKERS = 3
KILLS = 8
"""How often something is killed in a history."""
EVENTS = (3, 60)
"""At least and at most so many are recorded between two kills."""
MAX_STEPS = 1_000_000
PART_SIZE = 5 * 1024 * 1024
SIZES = (0, 10, 4096, 4096, 70_000, 70_000, 1_200_000, PART_SIZE + 100_000)


def run(times: int, tell: Tell) -> Report:
    """Live so many histories on a directory, on a server, and on a server that is killed too."""
    s3_drafts.PART_SIZE = PART_SIZE  # type: ignore[attr-defined]  # so that uploads have parts
    report = Report()
    with (
        tempfile.TemporaryDirectory() as name,
        open_storage(f"file://{name}/source") as files,
        MortalSeaweedFS() as server,
    ):
        files.init()
        source = fill(Client(files, lambda _: None, "source"), random.Random(1), 12)
        for number in range(times):
            for what, place, kill_server in (
                ("clients killed, on a directory", Directory(Path(name, str(number))).make(), None),
                ("clients killed, on a server", Prefix(server, f"clients/{number}"), None),
                ("a server killed", Prefix(server, f"server/{number}", timeout=2), server),
            ):
                line = _live(place, source, kill_server)
                report.line(what).found(line, f"history {number}")
                tell(report)
    return report


def _live(place: Place, source: Source, server: MortalSeaweedFS | None) -> Line:
    """Live one history: the server is killed, or clients are, whose successors go on."""
    chance = random.Random()
    ledger = Ledger()
    children = Children(ledger)
    numbers = itertools.count()

    def start(slot: int) -> int:
        name = f"w{slot}x{next(numbers)}"

        def work(record: Record) -> None:
            client = Client(place.open(), record, name)
            history = History(client, random.Random(), sizes=SIZES, source=source)
            history.take_over(ledger, lambda handle: f"/w{slot}x" in handle)
            history.go_on(MAX_STEPS)

        return children.start(work)

    pids = {slot: start(slot) for slot in range(WORKERS)}
    for kill in range(KILLS):
        children.listen(chance.randint(*EVENTS))
        if server is not None and kill % 4 == 1:
            server.kill()
            children.listen(chance.randint(0, WORKERS))  # which fail
            server.restart()
        elif server is None:
            slot = chance.randrange(WORKERS)
            children.kill(pids[slot])
            pids[slot] = start(slot)
    children.kill_all()
    if server is not None:  # a busy one may still be at their requests
        server.kill()
        server.restart()
    line = judged(ledger, place)
    line.times = KILLS // 4 if server is not None else KILLS + WORKERS
    return line
