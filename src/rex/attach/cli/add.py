"""The command `rex attach add`."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rex.attach.cli.each import process_all
from rex.attach.cli.files import get_binary, get_size, open_readable, show_progress
from rex.attach.cli.options import json_lines_option
from rex.attach.cli.storages import pass_storage
from rex.attach.cli.units import format_size
from rex.attach.handle import FALLBACK_NAME
from rex.core import Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.storage import Storage

__all__ = ["add"]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.option("--name", help="File name to store (default: the name of FILE).")
@click.option("--type", "content_type", help="Content type (default: by the file name).")
@click.option(
    "-r",
    "--recursive",
    is_flag=True,
    help="Store all regular files below directories; print each handle, a tab, and the path.",
)
@click.option(
    "--after",
    metavar="PATH",
    help="With --recursive: store only files after this path; continues an interrupted run.",
)
@json_lines_option
@pass_storage(create=True)
def add(
    storage: Storage,
    *,
    files: tuple[str, ...],
    name: str | None,
    content_type: str | None,
    recursive: bool,
    after: str | None,
    as_json: bool,
) -> None:
    """Store files and print their handles.

    A file called - is standard input. With --recursive, files are stored in the order of their
    paths; symbolic links, devices and the like are skipped, with a line on standard error. A file
    that is added again is stored again, under another handle.

    \b
    Examples:
      rex attach add scan.png report.pdf
      rex attach add --recursive ./scans >handles.tsv
      pg_dump app | rex attach add --name app.sql -
    """  # noqa: D301 - click wants the character itself
    if name is not None and (recursive or len(files) > 1):
        raise click.UsageError("--name requires exactly one file.")
    if after is not None and not recursive:
        raise click.UsageError("--after requires --recursive.")
    if recursive and "-" in files:
        raise click.UsageError("--recursive excludes standard input.")
    for path in files:
        if not recursive and Path(path).is_dir():
            raise click.UsageError(f"{path!r} is a directory; store its files with --recursive.")
    job = _Job(storage, name, content_type, as_json=as_json, shows_path=recursive)
    code = job.store_all(files, after) if recursive else process_all(files, job.store)
    click.get_current_context().exit(code)


class _Job:
    """Stores files, prints their handles, and counts them."""

    def __init__(
        self,
        storage: Storage,
        name: str | None,
        content_type: str | None,
        *,
        as_json: bool,
        shows_path: bool,
    ) -> None:
        self._storage = storage
        self._name = name
        self._content_type = content_type
        self._as_json = as_json
        self._shows_path = shows_path
        self._stored = self._skipped = self._bytes = 0
        self._last: str | None = None
        self._unreadable = 0

    def store(self, path: str) -> None:
        """Store a file and print its handle."""
        with contextlib.ExitStack() as stack:
            file = get_binary(sys.stdin)
            name = self._name or FALLBACK_NAME
            if path != "-":
                file = stack.enter_context(open_readable(path))
                name = self._name or Path(path).name
            size = get_size(file)
            shown = stack.enter_context(show_progress(file, name, size))
            handle = self._storage.add(name, shown, content_type=self._content_type)
        self._stored += 1
        self._bytes += size or 0
        self._last = path
        if self._as_json:
            click.echo(json.dumps({"handle": handle, "path": path}))
        else:
            click.echo(f"{handle}\t{printable(path)}" if self._shows_path else handle)

    def store_all(self, roots: tuple[str, ...], after: str | None) -> int:
        """Store the regular files below all roots, after a path; return the exit code."""
        first = () if after is None else Path(after).parts
        found = (path for path in self._walk(roots) if Path(path).parts > first)
        try:
            code = process_all(found, self.store)
        except KeyboardInterrupt:
            last = self._last or after
            go_on = "repeat the command" if last is None else f"add --after {shlex.quote(last)}"
            click.echo(f"rex: interrupted: {self._summary()}; to go on, {go_on}", err=True)
            raise
        click.echo(f"rex: {self._summary()}", err=True)
        return code or (EXIT_CODES[Kind.DENIED] if self._unreadable else 0)

    def _walk(self, roots: tuple[str, ...]) -> Iterator[str]:
        """Yield the regular files in the order of the parts of their paths; report the others."""
        for root in sorted(roots, key=lambda root: Path(root).parts):
            if Path(root).is_dir():
                yield from self._walk_directory(root)
            else:
                yield root

    def _walk_directory(self, directory: str) -> Iterator[str]:
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as failure:
            self._unreadable += 1
            reason = f"{directory}: {failure.strerror}"
            click.echo(f"rex: Cannot read the directory:\n    {printable(reason)}", err=True)
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk_directory(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path
            else:
                self._skipped += 1
                click.echo(f"rex: skipped, not a regular file: {printable(entry.path)}", err=True)

    def _summary(self) -> str:
        skipped = f", {self._skipped:,} skipped" if self._skipped else ""
        return f"{self._stored:,} stored ({format_size(self._bytes)}){skipped}"
