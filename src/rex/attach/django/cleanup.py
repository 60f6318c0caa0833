"""Clean-up: the removal of files that no row refers to any more, after the commit.

A field takes part with ``AttachmentField(cleanup=True)``; with the setting
``REX_ATTACH_CLEANUP = True``, all file fields do whose storage is of rex.attach. When a row is
saved with another file or without one, or is deleted, its former file is removed after the commit,
unless a row of any column of attachments has its name then. A rollback removes nothing: a file
that was stored in a transaction that is rolled back stays until ``manage.py attach_sweep``, and so
does the former file after changes without signals (``QuerySet.update``, ``bulk_update``, raw SQL,
``ON DELETE CASCADE`` in the database).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections, router, transaction
from django.db.models import QuerySet, signals
from django.db.models.fields.files import FieldFile

from rex.attach.django.columns import attachment_columns, is_attachment_column
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.core.files.storage import Storage
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Field, Model

    from rex.attach.django.columns import Column

    Own = tuple[Field[Any, Any], object]

__all__ = ["connect_installed", "is_cleaned", "remove_after_commit"]

SETTING = "REX_ATTACH_CLEANUP"
_FORMER = "rex_attach_former"
"""The attribute of a model's state that has the former names while the row is saved."""
_REMOVAL = "rex_attach_removal"
"""The attribute of a query set or model's state that has the removal of its deletion."""

log = get_logger("rex.attach.django")


def is_cleaned(given: object) -> bool:
    """Return whether a model field takes part in the clean-up."""
    chosen = getattr(given, "cleanup", None)
    return bool(getattr(settings, SETTING, False) if chosen is None else chosen)


def connect_installed() -> None:
    """Connect the signals of all installed models, which the app does when it is ready."""
    for column in attachment_columns(is_cleaned):
        _connect_all(column.model)


def remove_after_commit(
    storage: Storage, names: Iterable[str], *, using: str, own: Own | None = None, check: bool
) -> None:
    """Remove files after the commit of the current transaction of a database, or at once.

    With `check`, a file stays if a row has its name after the commit; `own` is the field and the
    primary key of a row that does not count. A failure is logged, and never raised.
    """
    removal = _Removal(using, [_File(storage, name, own, check) for name in names])
    transaction.on_commit(removal, using=using, robust=True)


@dataclass(frozen=True, slots=True)
class _File:
    """A file to remove."""

    storage: Storage
    name: str
    own: Own | None = None
    check: bool = True


@dataclass(eq=False)
class _Removal:
    """The removal of files after a commit."""

    using: str
    files: list[_File] = field(default_factory=list)
    index: int = 0
    """Its place among the callbacks of the connection."""

    def __call__(self) -> None:
        """Remove the files that no row refers to; log what fails."""
        files = {(id(file.storage), file.name): file for file in self.files}.values()
        try:
            kept = self._find_references([file for file in files if file.check])
        except Exception:  # the files stay, which is safe
            names = ", ".join(file.name for file in files)
            log.exception("cannot look up references, files are left to attach_sweep: %s", names)
            return
        for file in files:
            if file.name not in kept:
                _remove(file)

    def _find_references(self, files: Sequence[_File]) -> set[str]:
        """Return the names that rows refer to."""
        own = {file.name: file.own for file in files}
        names = list(own)
        found: set[str] = set()
        for column in attachment_columns() if names else ():
            for alias in _databases(column, self.using):
                for name, key in column.rows_with(names, alias):
                    if own[name] != (column.field, key):
                        found.add(name)
        return found


def _remove(file: _File) -> None:
    try:
        file.storage.delete(file.name)
    except Exception:  # the commit is done: the caller could not undo it
        log.exception("cannot remove a file, which is left to attach_sweep: %s", file.name)


def _databases(column: Column, using: str) -> set[str]:
    """Return the databases where rows of a column may be: the model's, and the transaction's."""
    databases = {router.db_for_write(column.model)}
    if using not in databases:
        connection = connections[using]
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor, include_views=True)
        if column.model._meta.db_table in tables:  # noqa: SLF001 - Django's API
            databases.add(using)
    return databases


def _connect_all(model: type[Model]) -> None:
    """Connect the signals of a model, and of the models that inherit from it."""
    from django.apps import apps

    for other in apps.get_models(include_auto_created=True):
        if issubclass(other, model):
            _connect(other)


def _connect(model: type[Model]) -> None:
    # With a sender, since a receiver of all deletions would make those of other models slow.
    signals.pre_save.connect(_remember_former, sender=model)
    signals.post_save.connect(_remove_former, sender=model)
    signals.pre_delete.connect(_remember_deleted, sender=model)
    signals.post_delete.connect(_remove_deleted, sender=model)


def _connect_prepared(sender: type[Model], **_: object) -> None:
    """Connect the signals of a new model that has a field with clean-up."""
    chosen = [getattr(each, "cleanup", False) for each in sender._meta.concrete_fields]  # noqa: SLF001
    if True in chosen or (None in chosen and getattr(settings, SETTING, False)):
        _connect(sender)


signals.class_prepared.connect(_connect_prepared)


def _cleaned_fields(fields: Iterable[Field[Any, Any]]) -> list[Field[Any, Any]]:
    return [each for each in fields if is_attachment_column(each) and is_cleaned(each)]


def _remember_former(
    sender: type[Model],
    instance: Model,
    using: str,
    raw: bool = False,  # noqa: FBT001, FBT002 - as Django calls it
    update_fields: frozenset[str] | None = None,
    **_: object,
) -> None:
    """Look up the names in a row before it is saved.

    The instance may be older than the row, so only the database has them.
    """
    fields = [
        each
        for each in _cleaned_fields(sender._meta.concrete_fields)  # noqa: SLF001 - Django's API
        if update_fields is None or each.name in update_fields or each.attname in update_fields
    ]
    key = sender._meta.pk  # noqa: SLF001 - Django's API
    state = instance._state  # noqa: SLF001 - Django's API
    is_new = state.adding and (instance.pk is None or (key is not None and key.has_default()))
    former = {} if raw or is_new or not fields else _names_in_row(sender, instance, fields, using)
    setattr(state, _FORMER, former)


def _remove_former(instance: Model, using: str, **_: object) -> None:
    """Remove the files that a saved row does not have any more."""
    former: dict[Field[Any, Any], str] = vars(instance._state).pop(_FORMER, {})  # noqa: SLF001
    for each, name in former.items():
        if name and name != _name(instance, each):
            remove_after_commit(_storage(each), [name], using=using, check=True)


def _remember_deleted(sender: type[Model], instance: Model, using: str, **more: Any) -> None:
    """Look up the names in a row that is deleted, if the instance may have others.

    Only an instance that the application deletes, or its parent in another table, may: Django has
    just read all other rows.
    """
    fields = _local_fields(sender)
    is_older = isinstance(more.get("origin"), sender)
    if is_older or not all(each.attname in vars(instance) for each in fields):
        former = _names_in_row(sender, instance, fields, using)
        setattr(instance._state, _FORMER, former)  # noqa: SLF001 - Django's API


def _remove_deleted(sender: type[Model], instance: Model, using: str, **more: Any) -> None:
    """Remove the files of a deleted row, with those of all rows of the same deletion."""
    former: dict[Field[Any, Any], str] | None
    former = vars(instance._state).pop(_FORMER, None)  # noqa: SLF001 - Django's API
    if former is None:
        former = {each: _name(instance, each) for each in _local_fields(sender)}
    files = [_File(_storage(each), name) for each, name in former.items() if name]
    if not files:
        return
    origin = more.get("origin")
    holder = vars(getattr(origin, "_state", origin)) if origin is not None else {}
    removal: _Removal | None = holder.get(_REMOVAL)
    connection = connections[using]
    if removal is not None and _is_pending(removal, connection):
        removal.files += files
        return
    holder[_REMOVAL] = removal = _Removal(using, files, len(connection.run_on_commit))
    transaction.on_commit(removal, using=using, robust=True)


def _is_pending(removal: _Removal, connection: BaseDatabaseWrapper) -> bool:
    """Return whether a removal runs after the commit of the current transaction.

    A rollback to a savepoint after this one leaves files in the removal whose rows exist, so that
    they stay.
    """
    callbacks = connection.run_on_commit
    return removal.index < len(callbacks) and callbacks[removal.index][1] is removal


def _local_fields(model: type[Model]) -> list[Field[Any, Any]]:
    """Return the fields of a model's own table; those of a parent go with the parent's row."""
    concrete = model._meta.concrete_model or model  # noqa: SLF001 - Django's API
    return _cleaned_fields(concrete._meta.local_concrete_fields)  # noqa: SLF001 - Django's API


def _names_in_row(
    model: type[Model], instance: Model, fields: Sequence[Field[Any, Any]], using: str
) -> dict[Field[Any, Any], str]:
    rows: QuerySet[Any] = QuerySet(model, using=using).filter(pk=instance.pk)
    names = rows.values_list(*(each.attname for each in fields)).first()
    return {each: str(name or "") for each, name in zip(fields, names or (), strict=bool(names))}


def _name(instance: Model, given: Field[Any, Any]) -> str:
    """Return the name of a stored file, or an empty string."""
    value = vars(instance).get(given.attname)
    if isinstance(value, FieldFile):
        return str(value.name or "") if getattr(value, "_committed", True) else ""
    return value if isinstance(value, str) else ""


def _storage(given: Field[Any, Any]) -> Storage:
    storage: Storage = given.storage  # type: ignore[attr-defined]  # a column of attachments
    return storage
