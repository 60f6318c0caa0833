"""The options of a storage in ``STORAGES``, their names in messages, and the storage they open."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from rex.attach import open_storage
from rex.attach import settings as general
from rex.attach.opening import BACKENDS
from rex.core import Error, Kind
from rex.core.secret import Given

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from rex.attach import Storage

__all__ = [
    "find_aliases",
    "given_options",
    "has_secret",
    "map_settings",
    "name_of_options",
    "open_options",
    "start",
]


OURS = {"inline": True, "expires": None, "filename": None, "allow_overwrite": False}
"""The options of the Django storages, besides those of `open_storage`, and their defaults."""


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are given: not None, and not a default."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and (name not in OURS or value != OURS[name])
    }


def open_options(options: Mapping[str, Any], names: Callable[[str], str]) -> Storage:
    """Open the storage that the options describe; no request is made.

    `names` returns how a message names an option. Errors: `ImproperlyConfigured`.
    """
    rest = Given({name: options[name] for name in options if name not in ("url", *OURS)})
    with map_settings(names):
        return open_storage(_place(options), **rest)


def start(storage: Storage, names: Callable[[str], str]) -> None:
    """Check a storage without a server of its own, and create its directory, as at a start.

    Errors: `ImproperlyConfigured`.
    """
    links = storage.abilities.links
    if links is None or links.is_service:
        with map_settings(names):
            storage.check()


@contextmanager
def map_settings(names: Callable[[str], str]) -> Iterator[None]:
    """Raise `ImproperlyConfigured`, with the names of options, for errors of the settings."""
    try:
        yield
    except Error as error:
        if error.kind is not Kind.CONFIGURATION and error.setting is None:
            raise
        raise _improper(error, names) from None


def _place(options: Mapping[str, Any]) -> str | os.PathLike[str] | None:
    """Return the path or URL; a relative path is relative to ``BASE_DIR``, if that is set."""
    place = options.get("url")
    base = getattr(settings, "BASE_DIR", None)
    is_relative = isinstance(place, Path) or (isinstance(place, str) and place.startswith("."))
    return Path(base, place) if base and place and is_relative else place


def _improper(error: Error, names: Callable[[str], str]) -> ImproperlyConfigured:
    """Return an error of the settings that names options instead of our settings."""
    text = re.sub(r"\battach_[a-z0-9_]+", lambda found: _renamed(found[0], names), str(error))
    if error.code == "not-one-storage":
        return ImproperlyConfigured(f"{names('url')} must be the path or the URL of a storage")
    if error.code == "unknown-option":
        return ImproperlyConfigured(f"{names(str(error.payload).partition(';')[0])}: {text}")
    return ImproperlyConfigured(text if error.setting else f"{names('url')}: {text}")


def _renamed(setting: str, names: Callable[[str], str]) -> str:
    for spec in BACKENDS:
        for field, declared in spec.settings.items():
            if declared.name == setting:
                return names(field if field in spec.options else "url")
    known = {declared.name for declared in general.STORAGE}
    return names(setting.removeprefix("attach_")) if setting in known else setting


def has_secret(options: Mapping[str, Any]) -> bool:
    """Return whether an option is a secret."""
    declared = [*general.STORAGE, *(s for spec in BACKENDS for s in spec.options.values())]
    prefixes = ("attach_", *(spec.prefix for spec in BACKENDS))
    secrets = {s.name.removeprefix(p) for s in declared if s.secret for p in prefixes}
    return not secrets.isdisjoint(options)


def find_aliases(cls: type, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the aliases in ``STORAGES`` with these options."""
    return tuple(
        alias
        for alias, given in settings.STORAGES.items()
        if given_options(given.get("OPTIONS", {})) == options and _is_class(cls, given["BACKEND"])
    )


def _is_class(cls: type, path: str) -> bool:
    """Return whether a dotted path is that of a class; our own classes are not imported."""
    if path.startswith("rex.attach.django."):
        return path.rpartition(".")[2] == cls.__name__
    with suppress(ImportError):
        return import_string(path) is cls
    return False


def name_of_options(cls: type, alias: str | None) -> Callable[[str], str]:
    """Return a function that returns how a message names an option."""
    if alias is None:
        return lambda option: f"{cls.__name__}({option}=…)"
    return lambda option: f'STORAGES["{alias}"]["OPTIONS"]["{option}"]'
