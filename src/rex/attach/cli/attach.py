"""The commands `rex attach …`: store, read, list, remove, link, and a bucket's rules."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import secrets
import shlex
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec, TextIO

import click

from rex.attach.cli.doctor import doctor
from rex.attach.cli.explain import explain
from rex.attach.cli.maintenance import (
    copy,
    expect_used,
    open_for_command,
    storage_of,
    storage_option,
    sweep,
    verify,
)
from rex.attach.content.content import CHUNK_SIZE
from rex.attach.handle import FALLBACK_NAME, make_handle, parse_handle
from rex.attach.settings import cors_origins
from rex.attach.storage import MAX_POSITION
from rex.core import Error, Kind
from rex.core.click_types import DURATION, SIZE
from rex.core.command import application_settings
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rex.attach.info import Info
    from rex.attach.links.link import PresignedLink
    from rex.attach.storage import Storage, UploadMethod

__all__ = ["attach"]

BIG = 8 * 1024 * 1024
"""From this many bytes on, a terminal is shown how far it has gone."""
LOOKUPS = 16
"""How many attachments `ls -l` asks about at once."""


P = ParamSpec("P")


def _pass_storage(
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


@click.group()
def attach() -> None:
    """Store, read, list and remove attachments, and make links to them.

    Which storage is used is a matter of settings: see `rex settings`.
    """


@attach.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--name", help="The name of the file; without it, that of FILE.")
@click.option("--type", "content_type", help="The content type; without it, the name decides.")
@_pass_storage(create=True)
def add(
    storage: Storage, files: tuple[str, ...], name: str | None, content_type: str | None
) -> None:
    """Store files, or standard input for -, and print their handles.

    \b
    Examples:
      rex attach add scan.png report.pdf
      pg_dump app | rex attach add --name app.sql -
    """  # noqa: D301 - click wants the character itself
    if name is not None and len(files) > 1:
        raise click.UsageError("--name is for one file.")

    def store(path: str) -> None:
        with contextlib.ExitStack() as stack:
            file = _standard(sys.stdin)
            file_name = name or FALLBACK_NAME
            if path != "-":
                file = stack.enter_context(_readable(path))
                file_name = name or Path(path).name
            shown = stack.enter_context(_progress(file, file_name, _size_of(file)))
            handle = storage.add(file_name, shown, content_type=content_type)
        click.echo(handle)

    _each(files, store)


@attach.command()
@click.argument("handle")
@click.option("-o", "--output", metavar="FILE", help="Write to a file, or into a directory.")
@_pass_storage()
def get(storage: Storage, handle: str, output: str | None) -> None:
    """Write the content of an attachment to standard output, or to a file.

    The file appears when it is complete; one of the same name is replaced.
    """
    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("The content may not suit a terminal; use -o FILE, or -o - for it.")
    with storage.open(handle, length=MAX_POSITION) as stream, contextlib.ExitStack() as stack:
        info = stream.info
        if output in (None, "-"):
            target = _standard(sys.stdout)
        else:
            target = stack.enter_context(_replacement(_target(str(output), info.name)))
        shown = stack.enter_context(_progress(stream, info.name, info.size))
        while chunk := shown.read(CHUNK_SIZE):
            target.write(chunk)


@attach.command()
@click.option("-l", "--long", "is_long", is_flag=True, help="Show size, time and type too.")
@click.option("--day", metavar="YYYY-MM-DD", help="Only those of one day (UTC).")
@click.option("--after", metavar="HANDLE", help="Only those after this one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@_pass_storage()
def ls(
    storage: Storage, *, is_long: bool, day: str | None, after: str | None, as_json: bool
) -> None:
    """List attachments, in the order of their handles."""
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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@_pass_storage()
def show(storage: Storage, handle: str, *, as_json: bool) -> None:
    """Show what is known of an attachment: size in bytes, type, time, etag, SHA-256."""
    known = storage.info(handle).as_dict()
    if as_json:
        click.echo(json.dumps(known, indent=2))
    else:
        for name, value in known.items():
            text = "-" if value is None else printable(str(value))
            click.echo(f"{name.replace('_', ' ') + ':':<14}{text}")


@attach.command()
@click.argument("handles", nargs=-1, required=True)
@_pass_storage()
def rm(storage: Storage, handles: tuple[str, ...]) -> None:
    """Remove attachments for good."""
    _each(handles, storage.remove)


@attach.command()
@click.argument("name")
def reserve(name: str) -> None:
    """Print a new handle, for `rex attach link --upload`; nothing is stored."""
    click.echo(make_handle(name))


@attach.command()
@storage_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def init(ctx: click.Context, *, given: str | None, as_json: bool) -> None:
    """Make the directory of a storage and its marker, where they are missing.

    The marker tells the directory from the empty mount point of a disk that is not mounted. An
    application makes a directory and its marker itself when it starts for the first time; commands
    for maintenance make neither. A bucket needs no marker, and is only checked.

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
            click.echo(f"{storage!r}: {'made' if is_made else 'nothing to make'}")


attach.add_command(copy)
attach.add_command(doctor)
attach.add_command(explain)
attach.add_command(verify)
attach.add_command(sweep)


@attach.command()
@click.argument("handle")
@click.option("--upload", is_flag=True, help="Permit an upload instead of a download.")
@click.option("--method", type=click.Choice(["POST", "PUT"]), help="How to upload; usually POST.")
@click.option("--max-size", type=SIZE, help="The most that may be uploaded, as in '10 MiB'.")
@click.option("--type", "content_type", help="The content type to upload as.")
@click.option("--inline", is_flag=True, help="A browser may show it, if its type is safe.")
@click.option("--filename", help="The name to download as.")
@click.option("--expires", type=DURATION, help="How long it works, as in 1h; at most 7d.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@_pass_storage()
def link(
    storage: Storage,
    handle: str,
    *,
    upload: bool,
    method: UploadMethod | None,
    max_size: int | None,
    content_type: str | None,
    inline: bool,
    filename: str | None,
    expires: float | None,
    as_json: bool,
) -> None:
    """Make a link with which somebody without keys can download, or upload.

    Whoever has it can use it until it expires. An upload is shown as a command of curl.
    """
    misplaced = (inline or filename) if upload else (method or max_size or content_type)
    if misplaced:
        raise click.UsageError(
            "--method, --max-size and --type go with --upload; --inline and --filename do not."
        )
    if upload:
        made = storage.upload_link(
            handle,
            method=method or "POST",
            max_size=max_size,
            content_type=content_type,
            expires=expires,
        )
    else:
        made = storage.download_link(handle, filename=filename, inline=inline, expires=expires)
    if as_json:
        click.echo(json.dumps(made.as_dict(), indent=2))
    else:
        click.echo(_curl(made, parse_handle(handle).name) if upload else made.url)


@attach.command()
@click.option("--origin", "origins", multiple=True, help="A site, as https://example.org.")
@click.option("--apply", is_flag=True, help="Give the bucket the rule that is needed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@_pass_storage()
def cors(storage: Storage, *, origins: tuple[str, ...], apply: bool, as_json: bool) -> None:
    """Show, or set, which sites' pages may use the links to the bucket.

    Without --origin, it is about the sites in the setting attach_origins. Rules that others have
    set stay.

    \b
    Example:
      rex attach cors --origin https://example.org --apply
    """  # noqa: D301 - click wants the character itself
    bucket = storage.cors
    asked = origins or tuple(cors_origins(application_settings(click.get_current_context())))
    needed = bucket.make_rule(asked) if asked or apply else None
    if apply:
        bucket.allow(asked)
    rules = bucket.rules()
    if as_json:
        click.echo(json.dumps({"rules": rules, "needed": needed}, indent=2))
        return
    for rule in rules:
        click.echo(_rule(rule))
    if not rules:
        click.echo("The bucket has no rules.")
    if needed is not None and not bucket.allows(asked):
        click.echo(f"\nNeeded (rex attach cors --apply):\n{_rule(needed)}")


def _rule(rule: dict[str, Any]) -> str:
    """Show a rule of a bucket in one line."""
    parts = ("AllowedOrigins", "AllowedMethods", "AllowedHeaders", "ExposeHeaders")
    words = (" ".join(rule.get(part, ())) or "-" for part in parts)
    return "  ".join(words)


def _each(items: Iterable[str], act: Callable[[str], None]) -> None:
    """Go through all items although some fail; end with the exit code of the first failure."""
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
            if error.kind is Kind.NOT_FOUND:  # removed since it was listed
                return None
            raise

    with ThreadPoolExecutor(LOOKUPS) as pool:
        while batch := [*itertools.islice(handles, LOOKUPS)]:
            yield from (info for info in pool.map(look_up, batch) if info is not None)


def _line(info: Info) -> str:
    time = info.modified.isoformat(timespec="seconds").replace("+00:00", "Z")
    return printable(f"{info.size:>14}  {time}  {info.content_type:<28}  {info.handle}")


def _curl(made: PresignedLink, name: str) -> str:
    """Write the upload as a command; the file is expected here, under its own name."""
    words = ["curl", "--fail", "--request", made.method]
    for header, value in made.headers.items():
        words += ["--header", f"{header}: {value}"]
    for field, value in made.fields.items():
        words += ["--form-string", f"{field}={value}"]
    # In the value of --form, curl takes commas and semicolons for its own, but not in quotes.
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    words += ["--form", f'file=@"{quoted}"'] if made.fields else ["--upload-file", name]
    return shlex.join([*words, made.url])


def _readable(path: str) -> BinaryIO:
    try:
        return open(path, "rb")  # noqa: PTH123 - a path may also be - to others
    except OSError as failure:
        raise Error("Cannot be read", f"{path}: {failure.strerror}", kind=Kind.DENIED) from None


def _standard(stream: TextIO | None) -> BinaryIO:
    if stream is None:
        raise Error("Standard input or output is closed", kind=Kind.DENIED)
    return stream.buffer


def _size_of(file: BinaryIO) -> int | None:
    """Give the size of what is left to read of a regular file."""
    return os.fstat(file.fileno()).st_size if file.seekable() else None


def _target(output: str, name: str) -> Path:
    path = Path(output)
    return path / name if path.is_dir() else path


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes its place when it is complete, and goes away otherwise.

    It gets the mode of what it replaces. What is no file (a device, a fifo) is written to.
    """
    path = path.resolve()
    partial = path.with_name(f".rex-{secrets.token_hex(8)}.partial")
    try:
        old = path.stat() if path.exists() else None
        if old is not None and not stat.S_ISREG(old.st_mode):
            with path.open("wb") as special:
                yield special
            return
        with partial.open("xb") as file:
            if old is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            yield file
        partial.replace(path)
    except Error:  # of what is read meanwhile
        raise
    except OSError as failure:
        reason = f"{path}: {failure.strerror}"
        raise Error("Cannot be written", reason, kind=Kind.DENIED) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class _Counted:
    """A file whose reading moves a progress bar."""

    def __init__(self, file: BinaryIO, bar: Any) -> None:
        self._file = file
        self._bar = bar

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(size)
        self._bar.update(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def _progress(file: BinaryIO, label: str, size: int | None) -> Iterator[BinaryIO]:
    """Show on a terminal how far a big file, or one of unknown size, has been read."""
    if not sys.stderr.isatty() or (size is not None and size < BIG):
        yield file
        return
    endless: Iterator[None] | None = itertools.repeat(None) if size is None else None
    with click.progressbar(
        endless, length=size, label=label, file=sys.stderr, show_pos=size is None
    ) as bar:
        counted: Any = _Counted(file, bar)
        yield counted
