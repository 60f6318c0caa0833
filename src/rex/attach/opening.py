"""Opening a storage by settings or a URL: the backend registry, and the package `rex.attach`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rex.attach import settings as general
from rex.attach.backends.azure.config import spec as azure
from rex.attach.backends.gcs.config import spec as gcs
from rex.attach.backends.local.config import spec as local
from rex.attach.backends.memory.config import spec as memory
from rex.attach.backends.s3.config import spec as s3
from rex.attach.storage import Storage, StorageOptions
from rex.core import Error, Kind, Package, Rex, Settings, get_rex
from rex.core.setting import did_you_mean, validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.backend.config import BackendSpec

__all__ = [
    "BACKENDS",
    "get_storage",
    "is_configured",
    "is_place",
    "make_storage",
    "open_storage",
    "package",
]

BACKENDS: tuple[BackendSpec, ...] = (local, s3, azure, gcs, memory)
"""The registry of backends."""


def get_storage() -> Storage:
    """Return the storage of the active application, the same object for every call.

    Errors: `CONFIGURATION` if no application is active, or if the active application does not have
    the package `rex.attach`.
    """
    rex = get_rex()
    if general.MAX_SIZE.name not in rex.settings:
        raise Error(
            "The application does not have the package rex.attach",
            repr(rex),
            kind=Kind.CONFIGURATION,
            code="not-active",
        )
    return rex.service(Storage, lambda: make_storage(rex.settings))


def make_storage(settings: Settings) -> Storage:
    """Create the storage that the settings of an application describe.

    Errors: `CONFIGURATION` unless the settings describe exactly one storage.
    """
    selected = _selected(settings)
    if len(selected) == 1:
        storage = _open(selected[0], settings)
        fallback = settings[general.FALLBACK]
        if fallback is None:
            return storage
        from rex.attach.backends.fallback import FallbackStorage

        return FallbackStorage(storage, open_storage(fallback))
    names = " or ".join(spec.selector.name for spec in BACKENDS if spec.selector)
    raise Error(
        f"{'Two storages are' if selected else 'No storage is'} configured; set exactly one of",
        names,
        kind=Kind.CONFIGURATION,
        code="not-one-storage",
    )


def is_configured(settings: Settings) -> bool:
    """Return whether the settings describe a storage, valid or not."""
    return bool(_selected(settings))


def open_storage(place: str | os.PathLike[str] | None = None, /, **options: object) -> Storage:
    """Open a storage without an application; use it in a ``with`` statement, or close it.

    `place` is the path of a directory (absolute, or relative with ``./`` first, or a `Path`), or a
    URL: ``file:///directory``, ``s3://bucket/prefix?endpoint=…&region=…``,
    ``azure://container/prefix?account=…``, ``gs://bucket/prefix`` or ``memory:``. The query of a
    URL, or keyword arguments, give options: those of the backend (its settings without their
    prefix, such as `endpoint` for attach_s3_endpoint) and those of every storage (`max_size`,
    `link_expires`, `link_window`, `upload_expires`, `max_uploads`, `url`, `sendfile`, `cdn_url`,
    `cdn_key_id`, `cdn_key`, `public_url`, `secret`, and the hooks `on_begin`, `on_complete`,
    `on_stored`, `on_removed`). A URL must not contain secrets,
    since URLs are printed and logged.

    Without a place, this opens the storage that the environment (``ATTACH_*``) and `rex.toml` in
    the current directory describe, as the command `rex attach` does; options of every storage
    replace their settings.

    Opening makes no request; `check` does.

    Errors: `CONFIGURATION` if the place, an option or a setting is wrong.
    """
    if place is None:
        return _open_configured(options)
    spec, given, query = _split(place)
    known = {setting.name.removeprefix("attach_"): setting for setting in general.STORAGE}
    known |= spec.options
    for name in query:
        if name in options:
            raise _wrong_url(f"{name} is given twice")
    for name in (*options, *query):
        if name not in known:
            raise Error(
                f"Unknown option for the scheme {spec.scheme}{did_you_mean(name, known)}",
                f"{name}; known: {', '.join(sorted(known))}",
                kind=Kind.CONFIGURATION,
                code="unknown-option",
            )
    for name in query:
        if known[name].secret:
            raise Error(
                "A secret must not be in the URL of a storage; pass it as a keyword argument",
                name,
                kind=Kind.CONFIGURATION,
                code="secret-in-url",
                setting=known[name].name,
            )
    values = {spec.settings[name].name: value for name, value in given.items()}
    values |= {known[name].name: value for name, value in (options | query).items()}
    return _open(spec, validate((*spec.settings.values(), *general.STORAGE), values))


def _open_configured(options: Mapping[str, object]) -> Storage:
    """Open the storage of the environment and rex.toml; options replace settings."""
    from rex.core.configuration import Configuration

    known = {setting.name for setting in general.STORAGE}
    given = {f"attach_{name}": value for name, value in options.items()}
    if not given.keys() <= known:
        raise Error(
            "open_storage() with options of a backend needs a path or a URL as its first argument; "
            "without one, settings (ATTACH_…) give these options",
            ", ".join(name for name in options if f"attach_{name}" not in known),
            kind=Kind.CONFIGURATION,
            code="wrong-url",
        )
    return make_storage(Configuration(given).settings(package.name))


def is_place(text: str) -> bool:
    """Return whether a text is a path or a URL for `open_storage`, rather than a name."""
    return ":" in text or _is_path(text)


def _is_path(place: str | os.PathLike[str]) -> bool:
    if not isinstance(place, str):
        return isinstance(place, os.PathLike)
    return place in (".", "..", "~") or place.startswith(("/", "./", "../", "~/"))


def _open(spec: BackendSpec, settings: Settings) -> Storage:
    general.check_link_window(settings)
    options: StorageOptions = {
        "max_size": settings[general.MAX_SIZE],
        "link_expires": settings[general.LINK_EXPIRES],
        "link_window": settings[general.LINK_WINDOW],
        "upload_expires": settings[general.UPLOAD_EXPIRES],
        "max_uploads": settings[general.MAX_UPLOADS],
        "url": settings[general.URL],
        "sendfile": settings[general.SENDFILE],
        "cdn": general.make_cdn(settings),
        "public_url": settings[general.PUBLIC_URL],
        "secret": settings[general.SECRET],
        "on_begin": settings[general.ON_BEGIN],
        "on_complete": settings[general.ON_COMPLETE],
        "on_stored": settings[general.ON_STORED],
        "on_removed": settings[general.ON_REMOVED],
    }
    if options["cdn"] is not None and spec.extra is None:
        raise Error(
            "A CDN needs attachments on a server; remove attach_cdn_url, or use attach_s3_bucket",
            f"{spec.scheme}:",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting=general.CDN_URL.name,
        )
    storage: Storage = spec.open(settings, **options)
    return storage


def _selected(settings: Settings) -> list[BackendSpec]:
    return [spec for spec in BACKENDS if spec.selector and settings[spec.selector] is not None]


def _split(
    given: str | os.PathLike[str],
) -> tuple[BackendSpec, Mapping[str, object], dict[str, object]]:
    """Return the backend of a path or URL, the fields in it, and the options in the query."""
    from urllib.parse import parse_qsl, urlsplit

    if _is_path(given):
        return local, {"directory": given}, {}
    if not isinstance(given, str):
        raise _wrong_url(type(given).__name__)
    try:
        parts = urlsplit(given)
    except ValueError:
        raise _wrong_url("malformed") from None
    if parts.fragment:
        raise _wrong_url("write # as %23")
    spec = next((spec for spec in BACKENDS if spec.scheme == parts.scheme), None)
    place = None if spec is None else spec.read_url(parts)
    if spec is None or place is None:
        raise _wrong_url(f"{parts.scheme}:…" if parts.scheme else "a relative path begins with ./")
    query: dict[str, object] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in query:
            raise _wrong_url(f"{name} is given twice")
        query[name] = value
    return spec, place, query


def _wrong_url(reason: str) -> Error:
    # Omit the URL, which may contain a secret.
    *first, last = (spec.example for spec in BACKENDS)
    return Error(
        f"A storage must be a path or a URL, {', '.join(first)} or {last}",
        reason,
        kind=Kind.CONFIGURATION,
        code="wrong-url",
    )


def _start(rex: Rex) -> None:
    # The routes import a rule function later: its module may be the module that creates `rex`.
    general.check_access(rex.settings, imports=False)
    get_storage().check()


def _notes(settings: Settings) -> tuple[str, ...]:
    if settings[general.ACCESS] != "none":
        return ()
    remedy = "to open it, set attach_access to public, bearer or module:function, as in"
    return (
        "attach_access is none: the service refuses every request without a signed link",
        f"{remedy} rex --set attach_access=public serve",
    )


package = Package(
    name="rex.attach",
    help="Store the files that users upload.",
    settings=(
        *(setting for spec in BACKENDS for setting in spec.settings.values()),
        general.FALLBACK,
        *general.STORAGE,
        *general.SERVICE,
    ),
    start=_start,
    notes=_notes,
    commands="rex.attach.cli.attach:attach",
    routes="rex.attach.web.mount:routes",
    metrics="rex.attach.telemetry.prometheus:watch",
    tables=("storages",),
)
