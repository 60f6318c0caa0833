"""Opening a storage by settings or a URL: the backend registry, and the package `rex.attach`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach import settings as general
from rex.attach.backends.local.config import spec as local
from rex.attach.backends.memory.config import spec as memory
from rex.attach.backends.s3.config import spec as s3
from rex.attach.storage import Storage, StorageOptions
from rex.core import Error, Kind, Package, Rex, Settings, get_rex
from rex.core.setting import did_you_mean, validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.backend.config import BackendSpec

__all__ = ["BACKENDS", "get_storage", "is_configured", "make_storage", "open_storage", "package"]

BACKENDS: tuple[BackendSpec, ...] = (local, s3, memory)
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


def open_storage(url: str, /, **options: object) -> Storage:
    """Open a storage without an application; use it in a ``with`` statement, or close it.

    `url` is ``file:///directory``, ``s3://bucket/prefix?endpoint=…&region=…`` or ``memory:``. The
    query of the URL, or keyword arguments, give options: those of the backend (its settings without
    their prefix, such as `endpoint` for attach_s3_endpoint) and those of every storage
    (`max_size`, `link_expires`, `upload_expires`, `max_uploads`, `url`, `secret`). A URL must not
    contain secrets, since URLs are printed and logged. Opening makes no request; `check` does.

    Errors: `CONFIGURATION` if the URL or an option is wrong.
    """
    spec, place, query = _split(url)
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
    given = {spec.settings[name].name: value for name, value in place.items()}
    given |= {known[name].name: value for name, value in (options | query).items()}
    return _open(spec, validate((*spec.settings.values(), *general.STORAGE), given))


def _open(spec: BackendSpec, settings: Settings) -> Storage:
    options: StorageOptions = {
        "max_size": settings[general.MAX_SIZE],
        "link_expires": settings[general.LINK_EXPIRES],
        "upload_expires": settings[general.UPLOAD_EXPIRES],
        "max_uploads": settings[general.MAX_UPLOADS],
        "url": settings[general.URL],
        "secret": settings[general.SECRET],
    }
    storage: Storage = spec.open(settings, **options)
    return storage


def _selected(settings: Settings) -> list[BackendSpec]:
    return [spec for spec in BACKENDS if spec.selector and settings[spec.selector] is not None]


def _split(url: str) -> tuple[BackendSpec, Mapping[str, object], dict[str, object]]:
    """Return the backend of a URL, the fields in host and path, and the options in the query."""
    from urllib.parse import parse_qsl, urlsplit

    try:
        parts = urlsplit(url)
    except (ValueError, AttributeError, TypeError):
        raise _wrong_url(type(url).__name__) from None
    if parts.fragment:
        raise _wrong_url("write # as %23")
    spec = next((spec for spec in BACKENDS if spec.scheme == parts.scheme), None)
    place = None if spec is None else spec.read_url(parts)
    if spec is None or place is None:
        raise _wrong_url(f"{parts.scheme}:…")
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
        f"The URL of a storage must be {', '.join(first)} or {last}",
        reason,
        kind=Kind.CONFIGURATION,
        code="wrong-url",
    )


def _start(rex: Rex) -> None:
    # The routes import a rule function later: its module may be the module that creates `rex`.
    if rex.settings[general.ACCESS] == "bearer":
        general.bearer_keys(rex.settings[general.ACCESS_KEYS])
    get_storage().check()


package = Package(
    name="rex.attach",
    help="keeps the files that users upload",
    settings=(
        *(setting for spec in BACKENDS for setting in spec.settings.values()),
        general.FALLBACK,
        *general.STORAGE,
        *general.SERVICE,
    ),
    start=_start,
    commands="rex.attach.cli.attach:attach",
    routes="rex.attach.web.mount:routes",
    metrics="rex.attach.telemetry.prometheus:watch",
    tables=("storages",),
)
