"""The columns that refer to attachments, and the names in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, router
from django.db.models import QuerySet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.db.models import Field, Model

    from rex.attach.django.storage import AttachmentStorage

__all__ = [
    "ROWS",
    "Column",
    "attachment_columns",
    "databases_of",
    "has_table",
    "is_attachment_column",
]

CHUNK = 500
"""Names in a query; SQLite allows 999 parameters."""
ROWS = 2000
"""Rows fetched at a time."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of attachments in the table of a model."""

    model: type[Model]
    field: Field[Any, Any]

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.field.name}"  # noqa: SLF001 - Django's API

    @property
    def storage(self) -> AttachmentStorage:
        """The storage of the files."""
        storage: AttachmentStorage = self.field.storage  # type: ignore[attr-defined]  # it has one
        return storage

    def names(self, using: str) -> Iterator[str]:
        """Yield the names in all rows of a database."""
        rows = self._rows(using).values_list(self.field.attname, flat=True)
        return (str(name) for name in rows.iterator(chunk_size=ROWS) if name)

    def rows_with(self, names: Sequence[str], using: str) -> Iterator[tuple[str, object]]:
        """Yield the name and the primary key of each row that has one of the names."""
        for start in range(0, len(names), CHUNK):
            some = {f"{self.field.attname}__in": names[start : start + CHUNK]}
            yield from self._rows(using).filter(**some).values_list(self.field.attname, "pk")

    def _rows(self, using: str) -> QuerySet[Any]:
        """Return all rows: a manager of the model might hide some."""
        return QuerySet(self.model, using=using)


def attachment_columns(is_wanted: Callable[[object], bool] | None = None) -> Iterator[Column]:
    """Yield the columns of all installed models whose files are in storages of rex.attach.

    With `is_wanted`, only the fields for which it is true; a lazy storage of another is not made.

    A model inherits the columns of a concrete parent, whose table has them. The models of
    django-simple-history have text columns in place of file fields, which keep the storage.
    """
    for model in apps.get_models(include_auto_created=True):
        options = model._meta  # noqa: SLF001 - Django's API
        if not options.proxy:
            for field in options.local_concrete_fields:
                if (is_wanted is None or is_wanted(field)) and is_attachment_column(field):
                    yield Column(model, field)


def is_attachment_column(field: object) -> bool:
    """Return whether the storage of a model field is of rex.attach."""
    from rex.attach.django.storage import AttachmentStorage

    return isinstance(getattr(field, "storage", None), AttachmentStorage)


def has_table(model: type[Model], using: str) -> bool:
    """Return whether a database has the table (or the view) of a model."""
    connection = connections[using]
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor, include_views=True)
    name = connection.introspection.identifier_converter(model._meta.db_table)  # noqa: SLF001
    return name in tables


def databases_of(model: type[Model]) -> list[str]:
    """Return the databases whose tables may have rows of a model; the first is for writing."""
    first = router.db_for_write(model)
    others = [
        alias
        for alias in connections
        if alias != first and router.allow_migrate_model(alias, model) and has_table(model, alias)
    ]
    return [first, *others]
