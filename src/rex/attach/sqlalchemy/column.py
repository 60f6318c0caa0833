"""The column type for handles."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from sqlalchemy import Column, String, event
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator

from rex.attach.handle import parse_handle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Dialect, MetaData
    from sqlalchemy.orm import Mapper
    from sqlalchemy.sql import FromClause
    from sqlalchemy.types import TypeEngine

__all__ = ["Attachment", "Handle", "all_columns", "attributes_of", "owning_columns"]

MAX_LENGTH = 304
"""Length of the longest handle, in characters: `MAX_NAME_BYTES` after ``/YYYY/MM/DD/<uuid4>/``."""


class Attachment(TypeDecorator[str]):
    """A column with the handle of an attachment, or NULL: ``mapped_column(Attachment)``.

    The column is unique, unless it says ``unique=False``: a row owns its attachment, which the
    session removes after the row (`rex.attach.sqlalchemy.attach`). With
    ``Attachment(shared=True)``, rows may share an attachment; the column gets an index, and only a
    sweep removes attachments.

    Values are strings. INSERT and UPDATE refuse an ill-formed handle (`StatementError`, whose
    ``orig`` is an `Error` of the kind `ILL_FORMED`); comparisons accept any string.
    """

    impl = String
    cache_ok = True

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__(MAX_LENGTH)
        self.shared = shared

    def __repr__(self) -> str:
        # Alembic writes it into migrations.
        return "Attachment(shared=True)" if self.shared else "Attachment()"

    @property
    def python_type(self) -> type[Any]:
        """The type of the values."""
        return str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Check a handle before it is sent to the database."""
        if value is not None:
            parse_handle(value)
        return value

    def coerce_compared_value(self, op: object, value: object) -> TypeEngine[Any]:  # noqa: ARG002
        """Return the type of a value in a comparison, which may be a part of a handle."""
        return self.impl_instance


Handle: TypeAlias = Annotated[str, mapped_column(Attachment)]
"""A handle as the type of a mapped attribute: ``file: Mapped[Handle | None]``."""


@event.listens_for(Column, "before_parent_attach")
def _constrain(column: Column[Any], _: object) -> None:
    """Make a column unique, or index it: each removal searches it for the handle."""
    kind = column.type
    if not isinstance(kind, Attachment) or column.primary_key:
        return
    if not kind.shared and column.unique is None:
        column.unique = True
    if kind.shared and column.index is None and not column.unique:
        column.index = True


def owning_columns(table: FromClause) -> list[Any]:
    """Return the columns of a table whose rows own their attachments."""
    return [
        column
        for column in table.c
        if isinstance(column.type, Attachment) and not column.type.shared
    ]


def all_columns(metadata: MetaData) -> Iterator[Column[Any]]:
    """Yield all columns that refer to attachments."""
    for table in metadata.tables.values():
        for column in table.c:
            if isinstance(column.type, Attachment):
                yield column


_attributes: weakref.WeakKeyDictionary[Mapper[Any], tuple[tuple[str, Column[Any]], ...]]
_attributes = weakref.WeakKeyDictionary()


def attributes_of(mapper: Mapper[Any]) -> tuple[tuple[str, Column[Any]], ...]:
    """Return the names and columns of the attributes that own their attachments."""
    found = _attributes.get(mapper)
    if found is None:
        found = _attributes[mapper] = tuple(
            (mapper.get_property_by_column(column).key, column)
            for table in mapper.tables
            for column in owning_columns(table)
            if column in mapper.columns.values()
        )
    return found
