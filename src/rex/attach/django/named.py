"""The storage that keeps the names that applications choose, in the database."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage
from django.core.files.utils import validate_file_name
from django.db import IntegrityError, router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from rex.attach.django import names
from rex.attach.django.files import AttachmentFile, WritableAttachmentFile, is_writing
from rex.attach.django.storage import AttachmentStorage, local_time
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from django.core.files.base import File

    from rex.attach.django.models import File as Row

__all__ = ["NamedAttachmentStorage"]

MAX_LENGTH = 500
"""The most characters of a name."""


class NamedAttachmentStorage(AttachmentStorage):
    """A Django storage that keeps names: each is a row that has the handle of its attachment.

    For programs that look for files by names they choose, such as thumbnailers and
    ``collectstatic``. It needs ``"rex.attach.django"`` in ``INSTALLED_APPS``. New content of a
    name is a new attachment; the old one is removed when the transaction is committed.
    """

    path_of_class = "rex.attach.django.NamedAttachmentStorage"
    keeps_names = True

    def __init__(self, *args: Any, allow_overwrite: bool = False, **options: Any) -> None:
        """Describe the storage, as `AttachmentStorage` does.

        With `allow_overwrite`, saving under an existing name replaces its content.
        """
        if allow_overwrite:
            options["allow_overwrite"] = True
        super().__init__(*args, **options)

    @property
    def _rows(self) -> QuerySet[Row]:
        return QuerySet(_model()).filter(storage=self.key)

    def _find(self, name: str) -> Row | None:
        return self._rows.filter(name=_normal(name)).first()

    # Names.

    def get_valid_name(self, name: str) -> str:
        """Return a file name as Django's own storages do."""
        return Storage.get_valid_name(self, name)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a free name of at most `max_length` characters, as Django's storages do."""
        limit = MAX_LENGTH if max_length is None else min(max_length, MAX_LENGTH)
        free = Storage.get_available_name(self, name, max_length=limit)
        return names.AvailableName(free, max_length)

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        """Return whether content can be saved under a name."""
        if self._overwrites:
            return not (max_length and len(name) > max_length)
        return super().is_name_available(name, max_length=max_length)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        """Return another name, or the same name if content can be overwritten."""
        if self._overwrites:
            return f"{file_root}{file_ext}"
        return super().get_alternative_name(file_root, file_ext)

    @property
    def _overwrites(self) -> bool:
        return bool(self._source.given.get("allow_overwrite"))

    def handle_of(self, name: str) -> str | None:
        """Return the handle of a name, or None if there is none: one query.

        Errors: `SuspiciousFileOperation` for a path out of the storage.
        """
        row = self._find(names.check_path(name))
        return None if row is None else row.handle

    def names_of(self, handle: str) -> list[str]:
        """Return the names of a handle: one query."""
        return list(self._rows.filter(handle=handle).values_list("name", flat=True))

    # Saving.

    def _save(self, name: str, content: File[Any]) -> str:
        with self._adding(name, content) as handle:
            while not self._insert(name, handle):
                if self._overwrites and self._replace(name, handle):
                    break
                if not self._overwrites:
                    name = self.get_available_name(name, getattr(name, "max_length", None))
        return _normal(name)

    def write(self, name: str, content: File[Any], *, is_new: bool = False) -> None:
        """Store the content of a name, and replace what it has, unless it must be new.

        Errors: `FileExistsError` if the name must be new and exists.
        """
        with self._adding(name, content) as handle:
            while not self._insert(name, handle):
                if is_new:
                    raise Error("The name exists already", names.show(name), kind=Kind.EXISTS)
                if self._replace(name, handle):
                    break

    @contextmanager
    def _adding(self, name: str, content: File[Any]) -> Iterator[str]:
        """Store content; remove it again if its name cannot be recorded."""
        _model()  # before anything is stored
        handle = self._store(name, content)
        try:
            yield handle
        except BaseException:
            with suppress(Error):  # the first error is reported
                self._remove(handle)
            raise

    def _insert(self, name: str, handle: str) -> bool:
        """Record a new name; return False if it exists."""
        rows = self._rows
        try:
            with transaction.atomic(using=self._database):
                rows.using(self._database).create(
                    storage=self.key, name=_normal(name), handle=handle, created=timezone.now()
                )
        except IntegrityError:
            return False
        return True

    def _replace(self, name: str, handle: str) -> bool:
        """Record the new handle of a name; return False if the name is gone."""
        database = self._database
        with transaction.atomic(using=database):
            rows = self._rows.using(database).select_for_update()
            row = rows.filter(name=_normal(name)).first()
            if row is None:
                return False
            old, row.handle, row.created = row.handle, handle, timezone.now()
            row.save(using=database)
            self._remove_on_commit(old)
        return True

    @property
    def _database(self) -> str:
        return router.db_for_write(_model())

    def delete(self, name: str) -> None:
        """Delete a file, if it exists; the attachment is removed when the transaction commits."""
        if not name:
            raise ValueError("The name must be given to delete().")
        path, database = names.check_path(name), self._database
        with transaction.atomic(using=database):
            row = self._rows.using(database).filter(name=_normal(path)).first()
            if row is not None:
                row.delete(using=database)
                self._remove_on_commit(row.handle)

    def _remove_on_commit(self, handle: str) -> None:
        remove = partial(self._remove, handle)
        transaction.on_commit(remove, using=self._database, robust=True)

    # Reading.

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if not is_writing(mode):
            return AttachmentFile(self, name, mode)
        name = names.check_path(name)
        validate_file_name(name, allow_relative_path=True)
        if "x" in mode and self.exists(name):
            raise Error("The name exists already", names.show(name), kind=Kind.EXISTS)
        return WritableAttachmentFile(self, name, mode)

    def exists(self, name: str) -> bool:
        """Return whether a name exists, or is that of a directory with files: one query."""
        normal = _normal(names.check_path(name))
        below = Q(name__startswith=f"{normal}/")
        return self._rows.filter(Q(name=normal) | below).exists()

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the directories and the files whose names begin with a path: one query.

        The path of a directory without files does not exist, and is empty.
        """
        folder = _normal(names.check_path(path))
        prefix = "" if folder in ("", ".") else f"{folder}/"
        directories, files = set(), []
        for name in self._rows.filter(name__startswith=prefix).values_list("name", flat=True):
            # MySQL and SQLite compare without regard to case.
            if not name.startswith(prefix):
                continue
            first, slash, _ = name.removeprefix(prefix).partition("/")
            if slash:
                directories.add(first)
            else:
                files.append(first)
        return sorted(directories), sorted(files)

    def get_created_time(self, name: str) -> datetime.datetime:
        """Return the time of storing: one query. Errors: `FileNotFoundError`."""
        row = self._find(names.check_path(name))
        if row is None:
            raise Error("Attachment does not exist", names.show(name), kind=Kind.NOT_FOUND)
        return local_time(row.created) if timezone.is_aware(row.created) else row.created

    def _link_target(self, name: str) -> tuple[str, str]:
        row = self._find(name)
        handle = names.missing_handle(name) if row is None else row.handle
        return posixpath.basename(_normal(name)), handle


def _model() -> type[Row]:
    """Return the model. Errors: `ImproperlyConfigured` if its application is not installed."""
    try:
        from rex.attach.django.models import File as Row
    except RuntimeError:
        raise ImproperlyConfigured(
            "NamedAttachmentStorage keeps names in the database: add "
            '"rex.attach.django" to INSTALLED_APPS, and run migrate'
        ) from None
    return Row


def _normal(name: str) -> str:
    """Return a name as it is recorded, without the marks of `AvailableName`."""
    return posixpath.normpath(str(name).replace("\\", "/"))
