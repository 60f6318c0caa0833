"""The command group `rex attach`, and its commands that store, read, list and remove."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from typing import TYPE_CHECKING

import click

from rex.attach.cli.each import process_all
from rex.attach.cli.options import json_lines_option, json_object_option
from rex.attach.cli.storages import expect_used, opened, pass_storage, storage_option
from rex.attach.cli.units import format_size
from rex.attach.content.content import CHUNK_SIZE
from rex.attach.storage import MAX_POSITION
from rex.core import Error, Kind
from rex.core.lazy_group import LazyGroup
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.info import Info
    from rex.attach.storage import Storage

__all__ = ["attach"]

LOOKUPS = 16
"""The number of attachments that `ls -l` looks up at a time."""


_LAZY = {
    "add": "rex.attach.cli.add:add",
    "copy": "rex.attach.cli.copy:copy",
    "cors": "rex.attach.cli.cors:cors",
    "doctor": "rex.attach.cli.doctor:doctor",
    "explain": "rex.attach.cli.explain:explain",
    "link": "rex.attach.cli.links:link",
    "reserve": "rex.attach.cli.links:reserve",
    "sweep": "rex.attach.cli.sweep:sweep",
    "verify": "rex.attach.cli.verify:verify",
}


@click.group(cls=LazyGroup, lazy=_LAZY, context_settings={"help_option_names": ["-h", "--help"]})
def attach() -> None:
    """Store, read, list, remove and link attachments.

    The settings name the storage; see `rex settings`.
    """


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
    from rex.attach.cli.files import get_binary, get_target, replace_file, show_progress

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
@click.option("-l", "--long", "is_long", is_flag=True, help="Show size, time and type.")
@click.option("--day", metavar="YYYY-MM-DD", help="List only handles made on this day (UTC).")
@click.option("--after", metavar="HANDLE", help="List only handles after this handle.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="List at most N attachments.")
@click.option(
    "-0",
    "--null",
    "with_null",
    is_flag=True,
    help="End each handle with a null byte, for xargs -0.",
)
@json_lines_option
@pass_storage()
def ls(
    storage: Storage,
    *,
    is_long: bool,
    day: str | None,
    after: str | None,
    limit: int | None,
    with_null: bool,
    as_json: bool,
) -> None:
    """List attachments in the order of their handles.

    Handles end with a user's file name, which may contain blanks and quotes: quote a handle in a
    shell, or use -0 or --json. To list page by page, pass the last handle to --after.

    \b
    Examples:
      rex attach ls --long --day 2026-11-28
      rex attach ls --limit 100 --after "$last"
      rex attach ls -0 | xargs -0 -n 1 rex attach stat
    """  # noqa: D301 - click wants the character itself
    if with_null and (is_long or as_json):
        raise click.UsageError("-0 excludes --long and --json.")
    expect_used(storage)
    handles = itertools.islice(storage.list(day=day, after=after), limit)
    if is_long:
        for info in _infos(storage, handles):
            click.echo(json.dumps(info.as_dict()) if as_json else _line(info))
    elif as_json:
        for handle in handles:
            click.echo(json.dumps({"handle": handle}))
    else:
        for handle in handles:
            click.echo(f"{handle}\0" if with_null else handle, nl=not with_null)


@attach.command("stat")
@click.argument("handle")
@json_object_option
@pass_storage()
def show(storage: Storage, handle: str, *, as_json: bool) -> None:
    """Show size, time, content type, ETag and SHA-256."""
    info = storage.info(handle)
    known = info.as_dict()
    if as_json:
        click.echo(json.dumps(known, indent=2))
    else:
        known["size"] = _exact_size(info.size)
        for name, value in known.items():
            text = "-" if value is None else printable(str(value))
            click.echo(f"{name.replace('_', ' ') + ':':<14}{text}")


@attach.command()
@click.argument("handles", nargs=-1, required=True)
@click.option("--no-notify", is_flag=True, help="Do not call the hook attach_on_removed.")
@json_lines_option
@pass_storage()
def rm(storage: Storage, *, handles: tuple[str, ...], no_notify: bool, as_json: bool) -> None:
    """Remove attachments permanently.

    Before each removal, the application's hook is called, which may refuse the removal or delete
    the row that refers to the attachment. With --no-notify, the row stays: use it for an attachment
    that you restore from a backup.
    """

    def remove(handle: str) -> None:
        storage.remove(handle, notify=not no_notify)
        if as_json:
            click.echo(json.dumps({"handle": handle, "removed": True}))

    click.get_current_context().exit(process_all(handles, remove))


@attach.command()
@storage_option
@json_object_option
@click.pass_context
def init(ctx: click.Context, *, given: str | None, as_json: bool) -> None:
    """Create the directory of a storage, and its marker file.

    The marker tells the directory from the empty mount point of an unmounted disk. An application
    creates both when it first starts; maintenance commands create neither. A bucket needs no
    marker and is only checked.

    STORAGE is a URL, a path, or a name in the table [storages] of rex.toml; see `rex attach copy`.

    \b
    Examples:
      rex attach init
      rex attach init --storage file:///srv/attachments
    """  # noqa: D301 - click wants the character itself
    with opened(ctx, given) as storage:
        is_made = storage.init()
        storage.check(create=False)
        if as_json:
            click.echo(json.dumps({"storage": repr(storage), "made": is_made}))
        else:
            click.echo(f"{storage!r}: {'created' if is_made else 'nothing to create'}")


def _infos(storage: Storage, handles: Iterator[str]) -> Iterator[Info]:
    def look_up(handle: str) -> Info | None:
        try:
            return storage.info(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:  # removed since the listing
                return None
            raise

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(LOOKUPS) as pool:
        while batch := [*itertools.islice(handles, LOOKUPS)]:
            yield from (info for info in pool.map(look_up, batch) if info is not None)


def _exact_size(size: int) -> str:
    shown = format_size(size)
    return shown if "byte" in shown else f"{shown} ({size:,} bytes)"


def _line(info: Info) -> str:
    time = info.modified.isoformat(timespec="seconds").replace("+00:00", "Z")
    return printable(f"{format_size(info.size):>9}  {time}  {info.content_type:<28}  {info.handle}")
