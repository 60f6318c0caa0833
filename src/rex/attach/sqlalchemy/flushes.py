"""The attachments that flushed objects and bulk statements no longer refer to."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, Update, and_, event, inspect, or_, select
from sqlalchemy.orm import Mapper, object_session

from rex.attach.sqlalchemy.changes import Changes, current_changes
from rex.attach.sqlalchemy.column import attributes_of, owning_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Connection, Select
    from sqlalchemy.orm import InstanceState, ORMExecuteState
    from sqlalchemy.sql import FromClause

__all__ = ["record_bulk"]

CHUNK = 200
"""Rows whose old values are selected at a time, for a bulk update by primary key."""


def _changes_for(mapper: Mapper[Any], target: object) -> Changes | None:
    attributes = attributes_of(mapper)
    session = object_session(target) if attributes else None
    changes = None if session is None else current_changes(session)
    if changes is not None:
        changes.tracker.metadatas.update(column.table.metadata for _, column in attributes)
    return changes


@event.listens_for(Mapper, "before_insert")
def _before_insert(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Record the values of a deleted object whose row the new object takes over."""
    changes = _changes_for(mapper, target)
    session = object_session(target)
    if changes is None or session is None:
        return
    deleted = session.identity_map.get(mapper.identity_key_from_instance(target))
    if deleted is not None:
        _before_delete(inspect(deleted).mapper, connection, deleted)


@event.listens_for(Mapper, "before_update")
def _before_update(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Record the replaced values of an object."""
    changes = _changes_for(mapper, target)
    if changes is None:
        return
    state: InstanceState[Any] = inspect(target)
    for key, column in attributes_of(mapper):
        history = state.attrs[key].history
        if history.has_changes():
            known = history.deleted or _select_value(mapper, connection, state, column)
            changes.replace(known, column.table.metadata)


@event.listens_for(Mapper, "before_delete")
def _before_delete(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Record the values of a deleted object, also those that were not flushed."""
    changes = _changes_for(mapper, target)
    if changes is None:
        return
    state: InstanceState[Any] = inspect(target)
    for key, column in attributes_of(mapper):
        history = state.attrs[key].history
        old = (*(history.deleted or ()), *(history.unchanged or ()))
        changes.replace(
            old or _select_value(mapper, connection, state, column), column.table.metadata
        )
        changes.replace(history.added or (), column.table.metadata)


def _select_value(
    mapper: Mapper[Any], connection: Connection, state: InstanceState[Any], column: Column[Any]
) -> Sequence[str | None]:
    """Select a value that the session has not loaded, as after a commit."""
    if state.identity is None:
        return ()
    keys = zip(mapper.primary_key, state.identity, strict=True)
    query = select(column).select_from(mapper.persist_selectable)
    query = query.where(*(key == value for key, value in keys)).with_for_update()
    return connection.execute(query).scalars().all()


def record_bulk(state: ORMExecuteState) -> None:
    """Record the values that an UPDATE or DELETE statement is about to replace.

    They are selected first, with FOR UPDATE where the database has it.
    """
    statement = state.statement
    if not isinstance(statement, Update | Delete):
        return
    columns = owning_columns(statement.table)
    if isinstance(statement, Update):
        names = _assigned(statement, state.parameters)
        columns = [column for column in columns if not names.isdisjoint(_names(state, column))]
    if not columns:
        return
    handles = _old_values(state, statement, columns)
    changes = current_changes(state.session)
    if changes is not None:
        changes.replace(handles, _metadata(statement.table))


def _metadata(table: FromClause) -> Any:
    while not hasattr(table, "metadata"):
        table = table.element  # type: ignore[attr-defined]  # of an alias
    return table.metadata


def _assigned(statement: Update, parameters: Any) -> set[str]:
    """Return the names of the columns that an UPDATE sets, or more."""
    pairs = getattr(statement, "_ordered_values", None) or ()  # of SQLAlchemy 2.0
    values = statement._values or ()  # noqa: SLF001 - SQLAlchemy does not publish them
    given: list[Any] = [*values, *(key for key, _ in pairs)]
    for each in parameters if isinstance(parameters, list) else [parameters or {}]:
        given += each
    return {key if isinstance(key, str) else key.key for key in given}


def _names(state: ORMExecuteState, column: Column[Any]) -> set[str]:
    """Return the names under which an UPDATE may set a column."""
    mapper = state.bind_mapper
    names = {column.key, column.name}
    if mapper is not None and column in mapper.columns.values():
        names.add(mapper.get_property_by_column(column).key)
    return names


def _old_values(
    state: ORMExecuteState, statement: Update | Delete, columns: Sequence[Any]
) -> list[str]:
    """Select what the columns contain in the rows that a statement concerns."""
    is_quiet = state.execution_options.get("autoflush") is False
    given = {key: value for key, value in state.bind_arguments.items() if key != "clause"}
    found: list[str] = []
    with state.session.no_autoflush if is_quiet else nullcontext():
        # SQLAlchemy 2.0 does so before the statement itself, but not before a query of columns.
        state.session._autoflush()  # noqa: SLF001 - `flush` fails within a flush
        for query, parameters in _queries(state, statement, columns):
            rows = state.session.execute(query.with_for_update(), parameters, bind_arguments=given)
            found += (handle for row in rows for handle in row if handle is not None)
    return found


def _queries(
    state: ORMExecuteState, statement: Update | Delete, columns: Sequence[Any]
) -> Iterator[tuple[Select[Any], Mapping[str, Any] | None]]:
    query = select(*columns)
    where = statement.whereclause
    if where is not None:
        query = query.where(where)
    parameters: Any = state.parameters
    if not isinstance(parameters, list):
        yield query, parameters
    elif _is_by_primary_key(state, statement):
        yield from ((select(*columns).where(rows), None) for rows in _rows(state, parameters))
    else:
        yield from ((query, each) for each in parameters)


def _is_by_primary_key(state: ORMExecuteState, statement: Update | Delete) -> bool:
    """Return whether a list of parameters names rows by their primary keys."""
    strategy = state.execution_options.get("dml_strategy", "auto")
    is_core = strategy == "core_only" or not state.is_orm_statement
    return isinstance(statement, Update) and not is_core


def _rows(state: ORMExecuteState, parameters: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    mapper = state.bind_mapper
    assert mapper is not None  # noqa: S101 - of an ORM statement
    table = mapper.local_table
    keys = [(mapper.get_property_by_column(each).key, each) for each in table.primary_key]
    rows: Iterable[Any] = (
        and_(*(column == row.get(key) for key, column in keys)) for row in parameters
    )
    matches = [*rows]
    for start in range(0, len(matches), CHUNK):
        yield or_(*matches[start : start + CHUNK])
