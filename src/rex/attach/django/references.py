"""The references of a whole project: the handles in the columns of all its models."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import DatabaseError, connections, transaction
from django.db.models import QuerySet

from rex.attach.django.columns import ROWS, attachment_columns, databases_of, has_table
from rex.attach.handle import handle_of
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import Model

__all__ = ["References", "find_references"]


class References:
    """The handles that the rows of a project refer to, and how many rows were read."""

    def __init__(self) -> None:
        self.handles: set[str] = set()
        self.columns: dict[str, int] = {}
        """The number of references by column."""
        self.unknown = 0
        """The number of names that cannot be those of attachments, such as older files'."""

    def add(self, column: str, names: Iterable[str]) -> None:
        """Add the names in a column."""
        self.columns.setdefault(column, 0)
        for name in names:
            handle = handle_of(name.removeprefix("/"))
            if handle is None:
                self.unknown += 1
            else:
                self.columns[column] += 1
                self.handles.add(handle)


def find_references() -> References:
    """Collect the handles in the tables of all installed models, of all storages.

    Errors: `CONFIGURATION` if the table of a model is missing, `UNAVAILABLE` if a query fails:
    attachments would seem to be unreferenced.
    """
    found = References()
    try:
        _check_tables()
        with _snapshots():
            for column in attachment_columns():
                if not column.storage.keeps_names:
                    for alias in databases_of(column.model):
                        found.add(str(column), column.names(alias))
            _add_named(found)
    except DatabaseError as failure:
        reason = str(failure).partition("\n")[0]
        raise Error("A query for references failed", reason, kind=Kind.UNAVAILABLE) from failure
    return found


def _add_named(found: References) -> None:
    """Add the handles of all names that `NamedAttachmentStorage` keeps."""
    from rex.attach.django.models import File

    for alias in databases_of(File):
        rows: QuerySet[File] = QuerySet(File, using=alias)
        handles = rows.values_list("handle", flat=True)
        found.add(str(File._meta), handles.iterator(chunk_size=ROWS))  # noqa: SLF001 - Django's API


def _check_tables() -> None:
    from rex.attach.django.models import File

    models: set[type[Model]] = {File, *(column.model for column in attachment_columns())}
    for model in apps.get_models(include_auto_created=True):
        if model in models and not has_table(model, databases_of(model)[0]):
            raise Error(
                "The table of a model is missing, so references cannot be known",
                f"{model._meta.label}: run manage.py migrate",  # noqa: SLF001 - Django's API
                kind=Kind.CONFIGURATION,
                code="table-missing",
            )


@contextmanager
def _snapshots() -> Iterator[None]:
    """Read all tables of a database as of one moment.

    Otherwise a name that moves from one table to another might be seen in neither.
    """
    with ExitStack() as stack:
        for alias in connections:
            connection = connections[alias]
            is_new = not connection.in_atomic_block
            stack.enter_context(transaction.atomic(using=alias))
            if is_new and connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
