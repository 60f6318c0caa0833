"""The handles that a database refers to, for ``rex attach sweep``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from rex.attach.sqlalchemy.column import all_columns
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import CompoundSelect, Engine, MetaData

__all__ = ["referenced_handles"]


def referenced_handles(metadata: MetaData, bind: Engine | Connection) -> Iterator[str]:
    """Yield the handles in all columns of the type `Attachment`, shared ones too.

    One statement reads all columns, so that a handle which moves to another table meanwhile is not
    missed. The result is for `rex.attach.maintenance.sweep`. From an asynchronous engine:
    ``await connection.run_sync(lambda own: [*referenced_handles(Base.metadata, own)])``.

    Errors, also after some handles: `CONFIGURATION` if no column has the type; `UNAVAILABLE` if
    the database fails, or a table is missing.
    """
    queries = [select(column).where(column.is_not(None)) for column in all_columns(metadata)]
    if not queries:
        reason = "The metadata has no column of the type Attachment; import the models first"
        raise Error(reason, metadata, kind=Kind.CONFIGURATION, code="no-references")
    return _read(bind, union_all(*queries))


def _read(bind: Engine | Connection, query: CompoundSelect[str]) -> Iterator[str]:
    opened = nullcontext(bind) if isinstance(bind, Connection) else bind.connect()
    try:
        with opened as connection:
            yield from connection.execute(query, execution_options={"yield_per": 1000}).scalars()
    except SQLAlchemyError as failure:
        # The message of a failure may contain the URL of the database.
        reason = type(getattr(failure, "orig", None) or failure).__name__
        raise Error("The database query failed", reason, kind=Kind.UNAVAILABLE) from None
