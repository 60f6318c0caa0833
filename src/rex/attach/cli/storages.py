"""The storage of a command: the application's own, or the one that `--storage` names."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from rex.attach.opening import make_storage, open_storage
from rex.core import Error, Kind
from rex.core.command import application_settings
from rex.core.setting import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.storage import Storage
    from rex.core.configuration import Configuration

__all__ = [
    "expect_used",
    "open_for_command",
    "pass_storage",
    "storage_given",
    "storage_of",
    "storage_option",
]

P = ParamSpec("P")

storage_option = click.option(
    "--storage",
    "given",
    metavar="STORAGE",
    help="Storage to use: a URL, or a name in rex.toml (default: from the settings).",
)


def storage_of(ctx: click.Context, given: str | None) -> Storage:
    """Open the storage of the application, or the given one."""
    logging.getLogger("rex").addHandler(logging.NullHandler())  # the command reports failures
    if given is None:
        return make_storage(application_settings(ctx))
    return storage_given(ctx.find_root().obj, given)


@contextlib.contextmanager
def open_for_command(
    ctx: click.Context, given: str | None = None, *, create: bool = False
) -> Iterator[Storage]:
    """Open and check a storage for a command; without `create`, create no directory or marker."""
    with contextlib.closing(storage_of(ctx, given)) as storage:
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
    """Open the storage of a URL, or of a name in rex.toml."""
    if ":" in given:
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
            "A storage in rex.toml must be a URL, or a table with a url",
            f"[storages] {given}",
            kind=Kind.CONFIGURATION,
        )
    return open_storage(options["url"], **{key: options[key] for key in options if key != "url"})
