"""The command group `rex attach`, and its commands that store, read, list and remove."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rex.attach.cli.copy import copy
from rex.attach.cli.cors import cors
from rex.attach.cli.doctor import doctor
from rex.attach.cli.explain import explain
from rex.attach.cli.files import (
    get_binary,
    get_size,
    get_target,
    open_readable,
    replace_file,
    show_progress,
)
from rex.attach.cli.links import link, reserve
from rex.attach.cli.options import json_object_option
from rex.attach.cli.storages import expect_used, pass_storage, storage_of, storage_option
from rex.attach.cli.sweep import sweep
from rex.attach.cli.verify import verify
from rex.attach.content.content import CHUNK_SIZE
from rex.attach.handle import FALLBACK_NAME
from rex.attach.storage import MAX_POSITION
from rex.core import Error, Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rex.attach.info import Info
    from rex.attach.storage import Storage

__all__ = ["attach"]

LOOKUPS = 16
"""The number of attachments that `ls -l` looks up at a time."""


@click.group()
def attach() -> None:
    """Store, read, list, remove and link attachments.

    The settings name the storage; see `rex settings`.
    """


@attach.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--name", help="File name to store (default: the name of FILE).")
@click.option("--type", "content_type", help="Content type (default: by the file name).")
@pass_storage(create=True)
def add(
    storage: Storage, files: tuple[str, ...], name: str | None, content_type: str | None
) -> None:
    """Store files and print their handles.

    A file called - is standard input.

    \b
    Examples:
      rex attach add scan.png report.pdf
      pg_dump app | rex attach add --name app.sql -
    """  # noqa: D301 - click wants the character itself
    if name is not None and len(files) > 1:
        raise click.UsageError("--name requires exactly one file.")

    def store(path: str) -> None:
        with contextlib.ExitStack() as stack:
            file = get_binary(sys.stdin)
            file_name = name or FALLBACK_NAME
            if path != "-":
                file = stack.enter_context(open_readable(path))
                file_name = name or Path(path).name
            shown = stack.enter_context(show_progress(file, file_name, get_size(file)))
            handle = storage.add(file_name, shown, content_type=content_type)
        click.echo(handle)

    _each(files, store)


@attach.command()
@click.argument("handle")
@click.option(
    "-o", "--output", metavar="FILE", help="Output file, or directory; - is standard output."
)
@pass_storage()
def get(storage: Storage, handle: str, output: str | None) -> None:
    """Write an attachment to standard output or to a file.

    The file appears once it is complete, and replaces a file of the same name.
    """
    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError(
            "Standard output is a terminal; expected -o FILE, or -o - to write to it anyway."
        )
    with storage.open(handle, length=MAX_POSITION) as stream, contextlib.ExitStack() as stack:
        info = stream.info
        if output in (None, "-"):
            target = get_binary(sys.stdout)
        else:
            target = stack.enter_context(replace_file(get_target(str(output), info.name)))
        shown = stack.enter_context(show_progress(stream, info.name, info.size))
        while chunk := shown.read(CHUNK_SIZE):
            target.write(chunk)


@attach.command()
@click.option("-l", "--long", "is_long", is_flag=True, help="Show size, time and content type.")
@click.option("--day", metavar="YYYY-MM-DD", help="List only handles made on this day (UTC).")
@click.option("--after", metavar="HANDLE", help="List only handles after this handle.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@pass_storage()
def ls(
    storage: Storage, *, is_long: bool, day: str | None, after: str | None, as_json: bool
) -> None:
    """List attachments in the order of their handles."""
    expect_used(storage)
    handles = storage.list(day=day, after=after)
    if is_long:
        for info in _infos(storage, handles):
            click.echo(json.dumps(info.as_dict()) if as_json else _line(info))
    else:
        for handle in handles:
            click.echo(json.dumps({"handle": handle}) if as_json else handle)


@attach.command("stat")
@click.argument("handle")
@json_object_option
@pass_storage()
def show(storage: Storage, handle: str, *, as_json: bool) -> None:
    """Show size (bytes), time, content type, ETag and SHA-256."""
    known = storage.info(handle).as_dict()
    if as_json:
        click.echo(json.dumps(known, indent=2))
    else:
        for name, value in known.items():
            text = "-" if value is None else printable(str(value))
            click.echo(f"{name.replace('_', ' ') + ':':<14}{text}")


@attach.command()
@click.argument("handles", nargs=-1, required=True)
@pass_storage()
def rm(storage: Storage, handles: tuple[str, ...]) -> None:
    """Remove attachments permanently."""
    _each(handles, storage.remove)


@attach.command()
@storage_option
@json_object_option
@click.pass_context
def init(ctx: click.Context, *, given: str | None, as_json: bool) -> None:
    """Create the directory of a storage, and its marker file.

    The marker tells the directory from the empty mount point of an unmounted disk. An application
    creates both when it first starts; maintenance commands create neither. A bucket needs no
    marker and is only checked.

    STORAGE is a URL, or a name in the table [storages] of rex.toml; see `rex attach copy`.

    \b
    Examples:
      rex attach init
      rex attach init --storage file:///srv/attachments
    """  # noqa: D301 - click wants the character itself
    with contextlib.closing(storage_of(ctx, given)) as storage:
        is_made = storage.init()
        storage.check(create=False)
        if as_json:
            click.echo(json.dumps({"storage": repr(storage), "made": is_made}))
        else:
            click.echo(f"{storage!r}: {'created' if is_made else 'nothing to create'}")


for _command in (copy, cors, doctor, explain, link, reserve, sweep, verify):
    attach.add_command(_command)


def _each(items: Iterable[str], act: Callable[[str], None]) -> None:
    """Process all items even if some fail; exit with the code of the first failure."""
    code = 0
    for item in items:
        try:
            act(item)
        except Error as error:
            click.echo(f"rex: {error}", err=True)
            code = code or EXIT_CODES[error.kind]
    click.get_current_context().exit(code)


def _infos(storage: Storage, handles: Iterator[str]) -> Iterator[Info]:
    def look_up(handle: str) -> Info | None:
        try:
            return storage.info(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:  # removed since the listing
                return None
            raise

    with ThreadPoolExecutor(LOOKUPS) as pool:
        while batch := [*itertools.islice(handles, LOOKUPS)]:
            yield from (info for info in pool.map(look_up, batch) if info is not None)


def _line(info: Info) -> str:
    time = info.modified.isoformat(timespec="seconds").replace("+00:00", "Z")
    return printable(f"{info.size:>14}  {time}  {info.content_type:<28}  {info.handle}")
