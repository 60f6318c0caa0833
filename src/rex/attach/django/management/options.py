"""What the commands share: their storages, options and error messages."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.core.management.base import CommandError

from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.django.columns import attachment_columns
from rex.attach.django.storage import AttachmentStorage
from rex.core import Error, typed
from rex.core.exit_codes import EXIT_CODES

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

    from rex.attach import Storage

__all__ = ["chosen_storages", "command_errors", "duration", "open_for_command", "storage_option"]


def storage_option(parser: ArgumentParser) -> None:
    """Add the option for the storages of a command."""
    parser.add_argument(
        "--storage",
        action="append",
        dest="aliases",
        metavar="ALIAS",
        help="Alias in STORAGES; may be repeated (default: all storages of rex.attach).",
    )


def duration(given: str) -> float:
    """Parse a duration, as ``2d`` or ``90m``, into seconds."""
    from argparse import ArgumentTypeError

    try:
        seconds: float = typed.duration.read(given)
    except ValueError:
        raise ArgumentTypeError(f"{given!r} is not {typed.duration.expected}") from None
    return seconds


def chosen_storages(aliases: list[str] | None) -> dict[str, AttachmentStorage]:
    """Return the storages of a command by their keys; by default all that the project has.

    Errors: `CommandError` for an alias that is not one of rex.attach.
    """
    if aliases:
        return {alias: _storage_of(alias) for alias in aliases}
    found = [storages[alias] for alias in settings.STORAGES]
    found += [column.storage for column in attachment_columns()]
    ours = {storage.key: storage for storage in found if isinstance(storage, AttachmentStorage)}
    if not ours:
        raise CommandError("No storage in STORAGES or of a model field is of rex.attach")
    return ours


def _storage_of(alias: str) -> AttachmentStorage:
    found: Any = storages[alias] if alias in settings.STORAGES else None
    if isinstance(found, AttachmentStorage):
        return found
    ours = [name for name in settings.STORAGES if isinstance(storages[name], AttachmentStorage)]
    raise CommandError(f"{alias!r} is not a storage of rex.attach; expected {', '.join(ours)}")


@contextmanager
def open_for_command(storage: AttachmentStorage) -> Iterator[Storage]:
    """Open a storage; a directory that does not exist is not created.

    A storage in memory is the one of this process.
    """
    opened = storage.open_rex()
    try:
        yield storage.rex if isinstance(opened, MemoryStorage) else opened
    finally:
        opened.close()


@contextmanager
def command_errors() -> Iterator[None]:
    """Turn errors into `CommandError`, with the exit codes of the command ``rex``."""
    try:
        yield
    except Error as error:
        raise CommandError(str(error), returncode=EXIT_CODES[error.kind]) from error
    except ImproperlyConfigured as error:
        raise CommandError(str(error), returncode=9) from error
