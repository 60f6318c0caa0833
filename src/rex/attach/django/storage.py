"""The storage whose names are handles: what users upload is stored with one request."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import posixpath
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage, storages
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from rex.attach.content.media_type import content_type_for, text_type
from rex.attach.django import names
from rex.attach.django.content import source_of
from rex.attach.django.files import AttachmentFile
from rex.attach.django.links import make_url
from rex.attach.django.options import (
    find_aliases,
    given_options,
    has_secret,
    map_settings,
    name_of_options,
    open_options,
    start,
)
from rex.attach.django.stored import StoredUpload
from rex.attach.handle import handle_of
from rex.core import Error, Kind
from rex.core.secret import Given

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from django.core.files import File

    from rex.attach import Info, Reader
    from rex.attach import Storage as RexStorage

__all__ = ["AttachmentStorage", "find_storage"]

_LIVE: weakref.WeakSet[AttachmentStorage] = weakref.WeakSet()
_MEMORY_NUMBERS = itertools.count(1)


class AttachmentStorage(Storage):
    """A Django storage whose names are handles without their first slash.

    Saving is one request: no name is looked up first, and no name is given twice. Only the last
    component of a name is kept; ``upload_to`` has no effect besides. A file cannot be overwritten.
    """

    path_of_class = "rex.attach.django.AttachmentStorage"
    """The path of the class in migrations."""

    keeps_names = False
    """Whether a file can be found under the name that the application chose."""

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        *,
        alias: str | None = None,
        inline: bool = True,
        expires: float | datetime.timedelta | None = None,
        filename: str | Callable[[str], str] | None = None,
        **options: Any,
    ) -> None:
        """Describe the storage; nothing is opened before it is used.

        `url` is the path of a directory or the URL of a storage, and `options` are its options
        (`rex.attach.open_storage`); without `url`, the environment and rex.toml describe the
        storage. With `alias`, it is the storage of that alias in ``STORAGES`` instead.

        The URLs of files display types that cannot carry a script, unless `inline` is false; they
        are valid for `expires` seconds (or a timedelta; default: the option ``link_expires``), and
        download the file as `filename`, a function of the name in the handle (or its dotted path).
        """
        ours = {"inline": inline, "expires": expires, "filename": filename}
        self.given = Given(given_options({"url": url, **ours, **options}))
        """The options that are not defaults."""
        self.reference = alias
        """The alias whose options these are, if it was given instead of options."""
        self._aliases = () if alias else find_aliases(type(self), self.given)
        self.inline, self.expires, self.filename = inline, expires, filename
        self._rex: RexStorage | None = None
        self._lock = threading.Lock()
        self._own_key: str | None = None
        if alias is not None and self.given:
            raise ImproperlyConfigured(
                f"{type(self).__name__}(alias=…) takes no other option; set them in "
                f'STORAGES["{alias}"]["OPTIONS"]: {", ".join(self.given)}'
            )
        _LIVE.add(self)
        setting_changed.connect(self._setting_changed)

    def __repr__(self) -> str:
        alias = self.alias
        given = f"alias={alias!r}" if alias else ", ".join(self.given)
        return f"<{type(self).__name__}: {given}>"

    # The storage below.

    @property
    def rex(self) -> RexStorage:
        """The `rex.attach.Storage`, opened when it is first used.

        Errors: `ImproperlyConfigured` names the option.
        """
        if self.reference is not None:
            return self._target(self.reference).rex
        if self._rex is None:
            with self._lock:
                if self._rex is None:
                    self._rex = self._open_rex()
        return self._rex

    def _open_rex(self) -> RexStorage:
        storage = self.open_rex()
        try:
            start(storage, self._names())
        except BaseException:
            storage.close()
            raise
        return storage

    def open_rex(self) -> RexStorage:
        """Open another `rex.attach.Storage` with these options; the caller closes it.

        No request is made, and no directory is created. Errors: `ImproperlyConfigured`.
        """
        if self.reference is not None:
            return self._target(self.reference).open_rex()
        return open_options(self.given, self._names())

    def _target(self, alias: str) -> AttachmentStorage:
        found = storages[alias]
        if not isinstance(found, type(self)) or found.reference is not None:
            raise ImproperlyConfigured(
                f'{type(self).__name__}(alias="{alias}") needs this class in STORAGES["{alias}"]'
            )
        return found

    @property
    def alias(self) -> str | None:
        """The alias in ``STORAGES`` of this storage, or of one with the same options, or None."""
        if self.reference is not None:
            return self.reference
        known = [alias for alias in self._aliases if alias in settings.STORAGES]
        own = next((alias for alias in known if storages[alias] is self), None)
        # Each storage in memory has its own files, even with the same options.
        return own if own is not None or self._is_memory or not known else known[0]

    @property
    def _is_memory(self) -> bool:
        return str(self.given.get("url")).startswith("memory:")

    @property
    def key(self) -> str:
        """What recognises this storage in links and in the database, in every process."""
        alias = self.alias
        if alias is not None:
            return alias
        if self._own_key is None:
            place = str(self.given.get("url"))
            if self._is_memory:
                self._own_key = f"memory-{next(_MEMORY_NUMBERS)}"
            else:
                self._own_key = f"url-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
        return self._own_key

    def _names(self) -> Callable[[str], str]:
        return name_of_options(type(self), self.alias)

    def check(self) -> None:
        """Check that files can be stored; asks the server.

        Errors: `ImproperlyConfigured` names the option; `rex.core.Error`.
        """
        with map_settings(self._names()):
            self.rex.check()

    def close(self) -> None:
        """Close the storage below; using this storage opens it again."""
        with self._lock:
            storage, self._rex = self._rex, None
        if storage is not None:
            storage.close()

    def _setting_changed(self, *, setting: str, **_: object) -> None:
        # A storage that was made by its alias belongs to the settings of that time.
        if setting == "STORAGES" and self._aliases:
            self.close()

    # Names.

    def get_valid_name(self, name: str) -> str:
        """Return a file name that is safe on every system."""
        return names.valid(name)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the last component of a name, cut so that its handle fits in `max_length`.

        The extension is kept. Errors: `SuspiciousFileOperation` for a name that is a path out of
        the storage, and if `max_length` characters are too few.
        """
        return names.fit_handle(name, max_length)

    def handle_of(self, name: str) -> str | None:
        """Return the handle of a name, or None if there is none.

        Errors: `SuspiciousFileOperation` for a path out of the storage.
        """
        return handle_of(names.check_path(name))

    def _handle(self, name: str) -> str:
        handle = self.handle_of(name)
        if handle is None:
            raise Error("Attachment does not exist", names.show(name), kind=Kind.NOT_FOUND)
        return handle

    def names_of(self, handle: str) -> list[str]:
        """Return the names of a handle."""
        return [handle[1:]]

    # Saving.

    def _save(self, name: str, content: File[Any]) -> str:
        # A hook may change the name.
        handle = self._store(name, content, getattr(name, "max_length", None))
        return handle[1:]

    def _store(self, name: str, content: File[Any], max_length: int | None = None) -> str:
        """Store content as an attachment; return its handle, of at most `max_length` characters."""
        if isinstance(content, StoredUpload) and content.storage == self:
            return content.handle
        source = source_of(content)
        media_type = content_type_for(posixpath.basename(name))
        media_type = text_type(media_type) if source.is_text else media_type
        rex = self.rex
        request = rex.begin(posixpath.basename(name), content_type=media_type, size=source.size)
        names.check_length(request.handle, max_length)
        return rex.add(request, source.content)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        if not name:
            raise ValueError("The name must be given to delete().")
        handle = self.handle_of(name)
        if handle is not None:
            self._remove(handle)

    def _remove(self, handle: str) -> None:
        with suppress(FileNotFoundError):
            self.rex.remove(handle)

    # Reading.

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return AttachmentFile(self, name, mode)

    def open_reader(self, name: str) -> Reader:
        """Open the attachment of a name for reading. Errors: `FileNotFoundError`."""
        return self.rex.open(self._handle(name))

    def info(self, name: str) -> Info:
        """Return the metadata of a file. Errors: `FileNotFoundError`."""
        return self.rex.info(self._handle(name))

    def exists(self, name: str) -> bool:
        """Return whether there is a file with this name, which is a handle."""
        handle = self.handle_of(name)
        return handle is not None and handle in self.rex

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Raise `NotImplementedError`: `rex.list()` yields the handles lazily."""
        raise NotImplementedError(  # as Django's storages do where they lack an operation
            f"{type(self).__name__} has no directories; storage.rex.list() yields its handles"
        )

    def size(self, name: str) -> int:
        """Return the size in bytes. Errors: `FileNotFoundError`."""
        return self.info(name).size

    def get_created_time(self, name: str) -> datetime.datetime:
        """Return the time of storing, aware if ``USE_TZ``, or else in the system's time zone.

        Errors: `FileNotFoundError`.
        """
        return local_time(self.info(name).modified)

    def get_modified_time(self, name: str) -> datetime.datetime:
        """Return the time of storing, as `get_created_time`: a file never changes."""
        return self.get_created_time(name)

    def get_accessed_time(self, name: str) -> NoReturn:
        """Raise `NotImplementedError`: times of access are not recorded."""
        raise NotImplementedError("Times of access are not recorded")  # as Django's storages do

    # Links.

    def url(
        self,
        name: str | None,
        *,
        filename: str | None = None,
        inline: bool | None = None,
        expires: float | datetime.timedelta | None = None,
    ) -> str:
        """Return a URL for a file, without a request: the file need not exist.

        On a server with links it is a download link, and otherwise the path of the view in
        `rex.attach.django.urls`. The arguments replace the options of the storage.

        Errors: `ImproperlyConfigured` if the view is needed and missing.
        """
        shown, handle = self._link_target(name or "")
        if filename is None and self._source.filename is not None:
            filename = self._shown_name(shown)
        return make_url(
            self,
            handle,
            filename=filename or shown,
            inline=self._source.inline if inline is None else inline,
            expires=self._source.expires if expires is None else expires,
        )

    def _link_target(self, name: str) -> tuple[str, str]:
        """Return the file name and the handle of a link."""
        handle = handle_of(name) or names.missing_handle(name)
        return posixpath.basename(handle), handle

    def _shown_name(self, name: str) -> str:
        rename = self._source.filename
        if isinstance(rename, str):
            rename = import_string(rename)
        shown: str = rename(name)  # type: ignore[misc]  # not None
        return shown

    @property
    def _source(self) -> Self | AttachmentStorage:
        """The storage whose options count."""
        return self if self.reference is None else self._target(self.reference)

    # Migrations and copies.

    def deconstruct(self) -> tuple[str, list[object], dict[str, object]]:
        """Return how a migration makes this storage: its alias, or options without secrets.

        Errors: `ImproperlyConfigured` if it was made with a secret outside ``STORAGES``.
        """
        alias = self.alias
        if alias is not None:
            return self.path_of_class, [], {"alias": alias}
        if has_secret(self.given):
            raise ImproperlyConfigured(
                "A migration would contain the secrets of this storage. Configure it in STORAGES, "
                f'and write storage={type(self).__name__}(alias="…"), or a function that returns '
                'storages["…"]'
            )
        return self.path_of_class, [], dict(self.given)

    def __reduce__(self) -> tuple[object, ...]:
        # With an alias, the settings of the other process count, and the pickle has no secret.
        alias = self.alias
        return _remake, (type(self), alias, {} if alias else dict(self.given))

    def __deepcopy__(self, _: object) -> Self:
        """Return the storage itself: it is a place."""
        return self


def _remake(cls: type[AttachmentStorage], alias: str | None, given: Any) -> AttachmentStorage:
    return cls(alias=alias) if alias else cls(**given)


def local_time(moment: datetime.datetime) -> datetime.datetime:
    """Return a time as Django's storages do: aware, or naive in the system's time zone."""
    if settings.USE_TZ:
        return moment
    return datetime.datetime.fromtimestamp(moment.timestamp())  # noqa: DTZ006 - as documented


def find_storage(key: str) -> AttachmentStorage | None:
    """Return the storage with this `AttachmentStorage.key`, or None."""
    if key in settings.STORAGES:
        found = storages[key]
        return found if isinstance(found, AttachmentStorage) else None
    return next((storage for storage in list(_LIVE) if storage.key == key), None)
