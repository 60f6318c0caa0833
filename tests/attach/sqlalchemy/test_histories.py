"""Random histories on each database, with plain and asynchronous sessions, and failing calls.

`make trust ONLY=sql` lives more of them, and kills their processes.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

import pytest

import postgresql
from attach.sqlalchemy.faults import Fault
from attach.sqlalchemy.histories import Stage, judge

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rex.attach import Storage

LEFT_OUT = postgresql.LEFT_OUT

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

HISTORIES = 25
MAX_CALLS = 30


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "asynchronous"])
@pytest.mark.parametrize("fails", [False, True], ids=["in peace", "with failing calls"])
def test_no_row_loses_its_attachment_and_only_a_sweep_finds_orphans(
    url: str,
    engine: Engine,
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
    *,
    is_async: bool,
    fails: bool,
) -> None:
    """In peace, there are no orphans but what never was in a row."""
    assert engine is not None  # its tables are empty
    # The traceback of a record would keep a connection open, with its locks.
    for name in ("sqlalchemy.pool", "asyncio", "rex.attach"):
        caplog.set_level(logging.CRITICAL + 1, name)
    stage = Stage(url, storage, is_async=is_async)
    hits = 0
    try:
        for _ in range(HISTORIES):
            seed = random.randrange(1 << 32)  # noqa: S311 - a history by chance
            chance = random.Random(seed)  # noqa: S311 - as above
            what = ("fail", "lose", "cancel") if is_async else ("fail", "lose")
            number = chance.randrange(MAX_CALLS)
            fault = Fault(number, chance.random() < 1 / 2, chance.choice(what)) if fails else None
            history = stage.live(chance, fault)
            hits += bool(stage.calls.hit)
            found, _ = judge(stage, history)
            assert ([], "") == (found, "" if not found else f"{seed} {fault} {history.steps}")
            stage.clear()
    finally:
        stage.close()
    assert fails == (hits > 0)
