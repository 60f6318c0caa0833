"""The storage of a command: the application's own, or the one that `--storage` names."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from rex.attach.opening import is_place, make_storage, open_storage
from rex.core import Error, Kind
from rex.core.command import application_settings
from rex.core.configuration import Configuration
from rex.core.setting import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.storage import Storage
    from rex.core import Settings

__all__ = [
    "OwnStorage",
    "expect_used",
    "open_for_command",
    "opened",
    "own_storage",
    "pass_storage",
    "storage_given",
    "storage_option",
]

P = ParamSpec("P")

storage_option = click.option(
    "--storage",
    "given",
    metavar="STORAGE",
    help="Storage to use: a URL, a path as ./attachments, or a name in rex.toml (default: from the "
    "settings).",
)


class OwnStorage(Configuration):
    """The configuration of another program that has these commands, and its open storage."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        super().__init__()
        self._settings = settings
        self._validated = settings
        self.storage = storage

    def settings(self, *_: str) -> Settings:
        """Return the settings of the program."""
        return self._validated


def own_storage(ctx: click.Context) -> Storage | None:
    """Return the storage of the program that has the commands; None for `rex`."""
    configuration = ctx.find_root().obj
    return configuration.storage if isinstance(configuration, OwnStorage) else None


@contextlib.contextmanager
def opened(ctx: click.Context, given: str | None) -> Iterator[Storage]:
    """Open the storage of the application, or the given one; close what was opened here."""
    own = own_storage(ctx) if given is None else None
    if own is not None:
        yield own
        return
    storage = (
        make_storage(application_settings(ctx))
        if given is None
        else storage_given(ctx.find_root().obj, given)
    )
    with contextlib.closing(storage):
        yield storage


@contextlib.contextmanager
def open_for_command(
    ctx: click.Context, given: str | None = None, *, create: bool = False
) -> Iterator[Storage]:
    """Open and check a storage for a command; without `create`, create no directory or marker."""
    with opened(ctx, given) as storage:
        storage.check(create=create)
        yield storage


def pass_storage(
    *, create: bool = False
) -> Callable[[Callable[Concatenate[Storage, P], None]], Callable[P, None]]:
    """Pass the storage to a command as its first argument: see `open_for_command`."""

    def wrap(command: Callable[Concatenate[Storage, P], None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            with open_for_command(click.get_current_context(), create=create) as storage:
                command(storage, *args, **kwargs)

        return run

    return wrap


def expect_used(storage: Storage) -> None:
    """Raise an error if the storage was never used. Errors: `EMPTY`."""
    if storage.is_untouched():
        raise Error(
            "The storage is empty",
            f"{storage!r}: check the directory, or the bucket and prefix",
            kind=Kind.EMPTY,
        )


def storage_given(configuration: Configuration, given: str) -> Storage:
    """Open the storage of a URL or path, or of a name in rex.toml."""
    if is_place(given):
        return open_storage(given)
    named = configuration.table("storages")
    if given not in named:
        near = did_you_mean(given, named) or "; expected a name in [storages] of rex.toml"
        raise Error(
            "Unknown storage",
            f"{given}{near}",
            kind=Kind.CONFIGURATION,
            code="unknown-storage",
        )
    entry: Any = named[given]
    options = {"url": entry} if isinstance(entry, str) else entry
    if not isinstance(options, dict) or not isinstance(options.get("url"), str):
        raise Error(
            "A storage in rex.toml must be a URL or path, or a table with a url",
            f"[storages] {given}",
            kind=Kind.CONFIGURATION,
        )
    return open_storage(options["url"], **{key: options[key] for key in options if key != "url"})
