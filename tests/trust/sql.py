"""Sessions of SQLAlchemy, whose calls of the database and the storage fail, are lost, or never end.

Random histories with savepoints, on SQLite and PostgreSQL, with plain and asynchronous sessions.
Afterwards no row refers to an attachment that is gone, and what no row refers to is exactly what a
sweep finds.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from attach.sqlalchemy.faults import Fault
from attach.sqlalchemy.histories import Stage, judge
from postgresql import postgresql
from rex.attach import open_storage
from trust.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trust.report import Line

__all__ = ["run"]

KINDS = {"plain": False, "asynchronous": True}
KILLED_EACH = 5
"""Of so many histories, one is killed."""
MAX_CALLS = 30
COMMON_CALLS = 4
"""A history makes some 16 calls: a fault at a later one than its last does not happen."""


def run(times: int, tell: Callable[[Report], object]) -> Report:
    """Live so many histories of each kind on each database."""
    warnings.simplefilter("ignore")  # of connections that were lost
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    gc.freeze()  # each collection would search all modules
    report = Report()
    kills = times // KILLED_EACH
    for where in ("SQLite", "PostgreSQL"):
        for kind, is_async in KINDS.items():
            line = report.line(f"processes killed, {kind} sessions on {where}")
            with _place(where) as (url, directory), open_storage(directory) as storage:
                stage = Stage(url, storage, is_async=is_async)
                for _ in range(kills):
                    _kill(stage, line)
                    tell(report)
                stage.close()
    for where in ("SQLite", "PostgreSQL"):
        for kind, is_async in KINDS.items():
            line = report.line(f"failing calls, {kind} sessions on {where}")
            with _place(where) as (url, _), open_storage("memory:") as storage:
                stage = Stage(url, storage, is_async=is_async)
                for _ in range(times - kills):
                    _fail(stage, line, is_async=is_async)
                    tell(report)
                stage.close()
    return report


@contextlib.contextmanager
def _place(where: str) -> Iterator[tuple[str, Path]]:
    """Give the URL of an empty database, and the directory of an empty storage."""
    with contextlib.ExitStack() as stack:
        shared = Path("/dev/shm")  # noqa: S108 - which does not wait for a disk
        name = tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)
        directory = Path(stack.enter_context(name))
        url = f"sqlite:///{directory}/app.db"
        if where == "PostgreSQL":
            url = stack.enter_context(postgresql())
        with open_storage(directory / "attachments") as storage:
            storage.init()
        yield url, directory / "attachments"


def _fault(chance: random.Random, *what: str) -> Fault:
    number = int(chance.triangular(0, MAX_CALLS, COMMON_CALLS))
    return Fault(number, chance.random() < 0.5, chance.choice(what))


def _fail(stage: Stage, line: Line, *, is_async: bool) -> None:
    """Live a history with one failing call, or none."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    what = ("fail", "lose", "cancel") if is_async else ("fail", "lose")
    fault = _fault(chance, *what) if chance.randrange(4) else None
    history = stage.live(chance, fault)
    line.times += bool(stage.calls.hit)
    line.operations += 1
    found, _ = judge(stage, history)
    line.fact(not found, f"{seed}: {fault}, {stage.calls.hit}, {history.steps}: {found}")
    stage.clear()


def _kill(stage: Stage, line: Line) -> None:
    """Live a history in a process that is killed, if it makes enough calls."""
    seed = random.randrange(1 << 32)
    stage.close()  # a child must not share connections
    child = os.fork()
    if child == 0:
        try:
            chance = random.Random(seed)
            stage.live(chance, _fault(chance, "kill"))
        except BaseException:  # noqa: BLE001 - the parent must not go on here as well
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    line.fact(os.WIFSIGNALED(status) or status == 0, f"{seed}: the process failed: {status}")
    line.times += os.WIFSIGNALED(status)
    line.operations += 1
    found, _ = judge(stage, None)
    line.fact(not found, f"{seed}: killed: {found}")
    stage.clear()
