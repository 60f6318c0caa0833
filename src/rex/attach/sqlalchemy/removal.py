"""Removal of attachments after the end of a transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, union_all, update
from sqlalchemy.util.concurrency import await_only, in_greenlet

from rex.attach.maintenance.concurrent import map_concurrently
from rex.attach.sqlalchemy.column import all_columns
from rex.attach.sqlalchemy.targets import asynchronous
from rex.core import Error, Kind
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from rex.attach.sqlalchemy.changes import Tracker
    from rex.attach.storage import Storage

__all__ = ["remove_unreferenced", "report_undecided"]

CHUNK = 500
"""Handles per query."""
WORKERS = 8

_logger = get_logger("rex.attach")


def remove_unreferenced(
    session: Session, tracker: Tracker, handles: set[str], translate_map: Mapping[Any, Any] | None
) -> None:
    """Remove the attachments that no row refers to; log what fails, and raise nothing.

    This function queries all columns first, since a handle may have moved to another row, and
    PostgreSQL reports success for a COMMIT after an error, but rolls back.
    """
    try:
        kept = _referenced(session, tracker, [*handles], translate_map)
    except Exception as failure:  # noqa: BLE001 - the transaction has ended
        _leave(handles, f"cannot ask the database: {type(failure).__name__}")
        return
    unreferenced = sorted(handles - kept)
    if not unreferenced:
        return
    if asynchronous() and in_greenlet():
        await_only(_remove_async(tracker.storage, unreferenced))
    elif len(unreferenced) == 1:
        _remove(tracker.storage, unreferenced[0])
    else:
        for _ in map_concurrently(
            lambda handle: _remove(tracker.storage, handle), unreferenced, WORKERS
        ):
            pass


def report_undecided(handles: set[str]) -> None:
    """Log the attachments of a transaction whose outcome is unknown."""
    _leave(handles, "COMMIT was sent, and its outcome is unknown")


async def _remove_async(storage: Storage, handles: Sequence[str]) -> None:
    """Remove attachments in the threads of the storage, even if the task is cancelled."""
    await asyncio.shield(asyncio.create_task(_remove_all(storage, handles)))


async def _remove_all(storage: Storage, handles: Sequence[str]) -> None:
    rest = iter(handles)

    async def work() -> None:
        for handle in rest:
            await storage.aio.run_long(_remove, storage, handle)

    await asyncio.gather(*(work() for _ in range(min(WORKERS, len(handles)))))


def _remove(storage: Storage, handle: str) -> None:
    try:
        storage.remove(handle)
    except Error as error:
        if error.kind is not Kind.NOT_FOUND:
            _leave([handle], error.kind.value)
    except Exception as failure:  # noqa: BLE001 - the transaction has ended
        _leave([handle], type(failure).__name__)


def _leave(handles: set[str] | list[str], reason: str) -> None:
    for handle in sorted(handles):
        _logger.warning(
            "Not removed, left to sweep, %s: %s", reason, handle, extra={"handle": handle}
        )


def _referenced(
    session: Session, tracker: Tracker, handles: Sequence[str], translate_map: Any
) -> set[str]:
    """Return the handles that any row of the models refers to."""
    places: dict[Any, list[Any]] = {}
    for metadata in [*tracker.metadatas]:
        for column in all_columns(metadata):
            # For a session that has several databases, the one that the table is written to.
            bind = session.get_bind(clause=update(column.table))
            places.setdefault(bind, []).append(column)
    return {
        handle
        for bind, columns in places.items()
        for handle in _search(bind, columns, handles, translate_map)
    }


def _search(
    bind: Any, columns: Sequence[Any], handles: Sequence[str], translate_map: Any
) -> Iterator[str]:
    if isinstance(bind, Connection):
        # It may be in a transaction, whose rows count as well.
        if bind.in_transaction():
            yield from _matches(bind, columns, handles)
        else:
            with bind.begin():
                yield from _matches(bind, columns, handles)
        return
    options = {} if translate_map is None else {"schema_translate_map": translate_map}
    with bind.connect().execution_options(**options) as connection:
        yield from _matches(connection, columns, handles)


def _matches(
    connection: Connection, columns: Sequence[Any], handles: Sequence[str]
) -> Iterator[str]:
    for start in range(0, len(handles), CHUNK):
        chunk = handles[start : start + CHUNK]
        queries = [select(column).where(column.in_(chunk)) for column in columns]
        yield from connection.execute(union_all(*queries)).scalars()
