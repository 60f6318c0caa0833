"""System checks, all with the tag ``rex_attach``; only those of ``--deploy`` make requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's names
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, default_storage, storages
from django.db.models import FileField

from rex.attach.django.names import HANDLE_CHARACTERS, MAX_NAME_CHARACTERS
from rex.core import Error as AttachError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.django.storage import AttachmentStorage

__all__ = ["check_fields", "check_options", "check_places", "check_static", "check_thumbnailers"]

TAG = "rex_attach"
MIN_LENGTH = 64
"""The least `max_length` of a field: a handle with 16 characters for the name."""

NAMED = '"rex.attach.django.NamedAttachmentStorage"'


class Thumbnailer(NamedTuple):
    """An application that looks for its files by names that it chooses."""

    app: str
    setting: str
    """The setting that has the alias of its storage."""
    default: str
    """The alias without the setting."""


THUMBNAILERS = (
    Thumbnailer("easy_thumbnails", "THUMBNAIL_DEFAULT_STORAGE_ALIAS", "easy_thumbnails"),
    Thumbnailer("sorl.thumbnail", "THUMBNAIL_STORAGE", "default"),
    Thumbnailer("imagekit", "IMAGEKIT_DEFAULT_FILE_STORAGE", "default"),
)


@register(TAG)
def check_fields(app_configs: Any, **_: object) -> list[CheckMessage]:
    """Check that the columns of fields are long enough for handles (W001, E001)."""
    found = (_length_message(field) for field in _fields(app_configs))
    return [message for message in found if message is not None]


def _length_message(field: FileField) -> CheckMessage | None:
    storage, length = _ours(field.storage), field.max_length
    if storage is None or storage.keeps_names or length is None:
        return None
    if length < MIN_LENGTH:
        return Error(
            f"max_length={length} is too short for the handle of an attachment",
            hint=f"Set max_length to {MIN_LENGTH} at least; "
            f"{HANDLE_CHARACTERS + MAX_NAME_CHARACTERS} is enough for every name.",
            obj=field,
            id=f"{TAG}.E001",
        )
    room = length - HANDLE_CHARACTERS
    if room >= MAX_NAME_CHARACTERS:
        return None
    return Warning(
        f"File names over {room} characters are cut: max_length={length}, "
        f"of which a handle needs {HANDLE_CHARACTERS}",
        hint=f"Set max_length to {HANDLE_CHARACTERS + MAX_NAME_CHARACTERS} or more.",
        obj=field,
        id=f"{TAG}.W001",
    )


@register(TAG)
def check_static(**_: object) -> list[CheckMessage]:
    """Check that static files keep their names (E002)."""
    storage = _storage_of("staticfiles")
    if storage is None or storage.keeps_names:
        return []
    return [
        Error(
            'STORAGES["staticfiles"] is an AttachmentStorage, which keeps no names: no page would '
            "find a static file, and collectstatic would copy all files each time",
            hint=f'Use WhiteNoise, or "BACKEND": {NAMED}.',
            id=f"{TAG}.E002",
        )
    ]


@register(TAG)
def check_thumbnailers(**_: object) -> list[CheckMessage]:
    """Check that thumbnailers find their files again (W003)."""
    installed = (each for each in THUMBNAILERS if apps.is_installed(each.app))
    return [_thumbnail_warning(each) for each in installed if not _finds_again(each)]


def _thumbnail_warning(each: Thumbnailer) -> CheckMessage:
    return Warning(
        f"{each.app} would store thumbnails in an AttachmentStorage, which keeps no names, and not "
        "find them again",
        hint=f"Set {each.setting} to the alias in STORAGES of another storage, such as {NAMED}.",
        id=f"{TAG}.W003",
    )


def _finds_again(each: Thumbnailer) -> bool:
    alias = getattr(settings, each.setting, None) or each.default
    in_settings = alias in settings.STORAGES
    storage = _storage_of(alias) if in_settings else _storage_of_path(alias)
    return storage is None or storage.keeps_names


def _storage_of_path(path: str) -> AttachmentStorage | None:
    """Return the storage of a dotted path; an unknown alias means the default storage."""
    if "." not in path:
        return _storage_of("default")
    try:
        return _ours(storages.create_storage({"BACKEND": path}))
    except (InvalidStorageError, ImproperlyConfigured, TypeError):
        return None  # the application reports it


@register(TAG)
def check_options(**_: object) -> list[CheckMessage]:
    """Check the options of the storages, without a request (E003)."""
    return [
        Error(str(problem), id=f"{TAG}.E003")
        for storage in _all_storages()
        if (problem := _problem(storage)) is not None
    ]


def _problem(storage: AttachmentStorage) -> Exception | None:
    try:
        storage.open_rex().close()
    except (ImproperlyConfigured, AttachError) as problem:
        return problem
    return None


@register(TAG, deploy=True)
def check_places(**_: object) -> list[CheckMessage]:
    """Check the servers and directories of the storages: they can store and read (E004)."""
    found: list[CheckMessage] = []
    for storage in _all_storages():
        if _problem(storage) is not None:
            continue  # reported by `check_options`
        try:
            storage.check()
        except (ImproperlyConfigured, AttachError) as error:
            found.append(Error(f"{storage!r}: {error}", id=f"{TAG}.E004"))
    return found


def _all_storages() -> list[AttachmentStorage]:
    """Return the storages of ``STORAGES`` and of fields, each once."""
    found = [_storage_of(alias) for alias in settings.STORAGES]
    found += [_ours(field.storage) for field in _fields(None)]
    return list({storage.key: storage for storage in found if storage is not None}.values())


def _storage_of(alias: str) -> AttachmentStorage | None:
    try:
        return _ours(storages[alias])
    except (InvalidStorageError, ImproperlyConfigured, TypeError):
        return None  # Django reports it


def _ours(storage: object) -> AttachmentStorage | None:
    """Return the storage if it is ours, below the lazy object of the default storage."""
    from rex.attach.django.storage import AttachmentStorage

    if storage is default_storage:
        return _storage_of("default")
    return storage if isinstance(storage, AttachmentStorage) else None


def _fields(app_configs: Any) -> Iterator[FileField]:
    for app in apps.get_app_configs() if app_configs is None else app_configs:
        for model in app.get_models():
            for field in model._meta.local_fields:  # noqa: SLF001 - Django's API
                if isinstance(field, FileField):
                    yield field
