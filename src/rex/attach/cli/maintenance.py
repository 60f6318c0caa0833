"""The commands for long work over storages: ``rex attach copy``, ``verify`` and ``sweep``."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

import click

from rex.attach.backend.garbage import GarbageKind
from rex.attach.handle import parse_handle
from rex.attach.maintenance.copying import WORKERS, Outcome
from rex.attach.maintenance.copying import copy as copy_all
from rex.attach.maintenance.references import from_command, from_database, from_lines
from rex.attach.maintenance.sweeping import GRACE
from rex.attach.maintenance.sweeping import WORKERS as SWEEPERS
from rex.attach.maintenance.sweeping import lifecycle as lifecycle_of
from rex.attach.maintenance.sweeping import sweep as sweep_all
from rex.attach.maintenance.verifying import WORKERS as READERS
from rex.attach.maintenance.verifying import State
from rex.attach.maintenance.verifying import verify as verify_all
from rex.attach.opening import make_storage, open_storage
from rex.core import Error, Kind
from rex.core.click_types import DURATION, SIZE
from rex.core.command import application_settings
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable
from rex.core.setting import did_you_mean

if TYPE_CHECKING:
    import datetime
    import enum
    from collections.abc import Callable, Generator, Iterator

    from rex.attach.maintenance.copying import Copied
    from rex.attach.maintenance.sweeping import Swept
    from rex.attach.maintenance.verifying import Verified
    from rex.attach.storage import Storage
    from rex.core.configuration import Configuration

__all__ = [
    "copy",
    "expect_used",
    "open_for_command",
    "storage_given",
    "storage_of",
    "storage_option",
    "sweep",
    "verify",
]

SHOWN_EVERY = 0.2
"""Seconds between two looks at how far it is, on a terminal."""
MIB = 1024 * 1024
MINUTE = 60


def _workers(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        default=default,
        show_default=True,
        help="How many are worked on at once.",
    )


_rate = click.option("--rate", type=SIZE, help="The most bytes in a second, as in '10 MiB'.")
_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line, and at last a sum."
)


storage_option = click.option(
    "--storage", "given", metavar="STORAGE", help="Another one: a URL, or a name."
)


def _handles(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for the handles that the application refers to."""
    options = [
        click.option(
            "--handles",
            "file",
            type=click.File("r", encoding="utf-8"),
            metavar="FILE",
            help="The handles that the application refers to, one a line; - is standard input.",
        ),
        click.option(
            "--handles-from", "shell", metavar="COMMAND", help="The same, as a command prints them."
        ),
        click.option(
            "--query", metavar="SQL", help="The same, as the first column of what a database gives."
        ),
        click.option(
            "--database",
            metavar="URL",
            envvar="DATABASE_URL",
            help="The database for --query, as SQLAlchemy takes it; or DATABASE_URL.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _read_references(
    file: TextIO | None, shell: str | None, query: str | None, database: str | None
) -> Iterator[str] | None:
    """Give the handles that the options of `_handles` name, or None where they name none."""
    if sum(given is not None for given in (file, shell, query)) > 1:
        raise click.UsageError("Only one of --handles, --handles-from and --query can be given.")
    if file is not None:
        return from_lines(file)
    if shell is not None:
        return from_command(shell)
    if query is None:
        return None
    if not database:
        raise click.UsageError("--query needs --database, or DATABASE_URL.")
    return from_database(database, query)


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Only handles made on that day (UTC) or later.",
)
@click.option("--dry-run", "dry_run", is_flag=True, help="Change nothing; tell what would be done.")
@click.option("--delete-extra", is_flag=True, help="Remove from DEST what SOURCE does not have.")
@click.option("--yes", is_flag=True, help="Do not ask before --delete-extra.")
@_rate
@_workers(WORKERS)
@_json
@click.pass_context
def copy(
    ctx: click.Context,
    *,
    source: str,
    dest: str,
    since: datetime.datetime | None,
    dry_run: bool,
    delete_extra: bool,
    yes: bool,
    rate: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Copy all attachments of one storage to another, with their handles.

    What is there already is compared and left alone, so a copy that was interrupted is simply begun
    again. SOURCE and DEST are URLs, or names in the table [storages] of rex.toml. Keys of S3 come
    from there, or from the AWS chain (AWS_ACCESS_KEY_ID, a profile, a role).

    What could not be copied, or is different in DEST, is told, and the exit code is 11 then.

    \b
    Examples:
      rex attach copy file:///srv/attachments s3://bucket
      rex attach copy --dry-run old new

    \b
    rex.toml:
      [storages]
      old = "file:///srv/attachments"
    \b
      [storages.new]
      url = "s3://bucket?endpoint=https://s3.example.org"
      access_key = "..."
      secret_key = "..."
    """  # noqa: D301 - click wants the character itself
    if delete_extra and not (yes or dry_run):
        click.confirm(f"Remove from {dest} whatever is not in {source}?", abort=True, err=True)
    with open_for_command(ctx, source) as ours, open_for_command(ctx, dest) as theirs:
        expect_used(ours)
        results = copy_all(
            ours,
            theirs,
            since=None if since is None else since.date(),
            dry_run=dry_run,
            delete_extra=delete_extra,
            rate=rate,
            workers=workers,
        )
        tally = _Tally("outcome", Outcome, ours)
        if dry_run:
            tally.prefix = "Nothing was changed; would be: "
        _tell(results, tally, as_json=as_json, may_be_none=since is not None)


@click.command()
@storage_option
@_handles
@click.option("--after", metavar="HANDLE", help="Only those after this one.")
@click.option(
    "--sample",
    type=click.FloatRange(0, 100, min_open=True),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="How many of a hundred to read, at random.",
)
@_rate
@_workers(READERS)
@_json
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    given: str | None,
    file: TextIO | None,
    shell: str | None,
    query: str | None,
    database: str | None,
    after: str | None,
    sample: float,
    rate: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Read all attachments, and compare them with the SHA-256 recorded of them.

    What is wrong is told, and the exit code is 11 then. With the handles that the application
    refers to, these are read, and what is not there is told, too. Where it is interrupted, it says
    how to go on.

    STORAGE is a URL, or a name in the table [storages] of rex.toml; see `rex attach copy`.

    \b
    Examples:
      rex attach verify
      rex attach verify --sample 1 --rate '20 MiB'
      psql -At -c 'select file from documents' | rex attach verify --handles -
    """  # noqa: D301 - click wants the character itself
    if after is not None:
        parse_handle(after)
    handles = _read_references(file, shell, query, database)
    with open_for_command(ctx, given) as storage:
        expect_used(storage)
        results = verify_all(
            storage,
            handles=handles,
            after=after,
            sample=sample / 100,
            rate=rate,
            workers=workers,
        )
        tally = _Tally("state", State, storage if handles is None and sample == 100 else None)  # noqa: PLR2004 - all
        try:
            may_be_none = after is not None or sample < 100  # noqa: PLR2004 - percent
            _tell(results, tally, as_json=as_json, may_be_none=may_be_none)
        except KeyboardInterrupt:
            if tally.done_to is not None:
                click.echo(f"rex: go on with --after {tally.done_to}", err=True)
            raise


@click.command()
@storage_option
@click.option("--delete", is_flag=True, help="Remove it; without this, it is only told.")
@click.option(
    "--grace",
    type=DURATION,
    default=f"{GRACE / 3600:.0f}h",
    show_default=True,
    help="Leave alone what is younger; at least 1m.",
)
@_handles
@click.option(
    "--lifecycle", is_flag=True, help="Print rules with which the bucket does it by itself."
)
@click.option(
    "--noncurrent",
    type=DURATION,
    metavar="DURATION",
    help="With --lifecycle: also remove versions of removed attachments after so long.",
)
@_workers(SWEEPERS)
@_json
@click.pass_context
def sweep(
    ctx: click.Context,
    *,
    given: str | None,
    delete: bool,
    grace: float,
    file: TextIO | None,
    shell: str | None,
    query: str | None,
    database: str | None,
    lifecycle: bool,
    noncurrent: float | None,
    workers: int,
    as_json: bool,
) -> None:
    """Find what nobody finished, and what nobody refers to; remove it with --delete.

    That is uploads that have expired or were never completed, temporary files, empty directories
    and, given the handles that the application refers to, all other attachments. What is younger
    than --grace or in use stays. The handles have to be all of them, and the grace longer than what
    may pass between an upload and the application's referring to it.

    A bucket with versions keeps those of removed attachments; a rule of --noncurrent removes them.

    The rules of --lifecycle are for `aws s3api put-bucket-lifecycle-configuration`, which replaces
    those that the bucket has; no rule can know what the application refers to.

    \b
    Examples:
      rex attach sweep
      rex attach sweep --delete --grace 2d
      rex attach sweep --database postgresql:///app --query 'select file from documents'
      rex attach sweep --lifecycle >rules.json
    """  # noqa: D301 - click wants the character itself
    referenced = _read_references(file, shell, query, database)
    if lifecycle and (delete or referenced is not None):
        raise click.UsageError("--lifecycle only prints rules: give no --delete and no handles.")
    if noncurrent is not None and not lifecycle:
        raise click.UsageError("--noncurrent goes with --lifecycle.")
    with open_for_command(ctx, given) as storage:
        if lifecycle:
            rules = lifecycle_of(storage, grace=grace, noncurrent=noncurrent)
            click.echo(json.dumps({"Rules": rules}, indent=2))
            return
        expect_used(storage)
        results = sweep_all(
            storage, delete=delete, grace=grace, referenced=referenced, workers=workers
        )
        tally = _Tally("kind", GarbageKind, None, "Nothing is left over.")
        if not delete:
            tally.prefix = "Nothing was removed; would be: "
        _tell(results, tally, as_json=as_json, shows_all=True, may_be_none=True)


def storage_of(ctx: click.Context, given: str | None) -> Storage:
    """Open the application's storage, or the one that was given."""
    logging.getLogger("rex").addHandler(logging.NullHandler())  # the command reports failures
    if given is None:
        return make_storage(application_settings(ctx))
    return storage_given(ctx.find_root().obj, given)


@contextlib.contextmanager
def open_for_command(
    ctx: click.Context, given: str | None = None, *, create: bool = False
) -> Iterator[Storage]:
    """Open a storage for a command; without `create`, nothing is made."""
    with contextlib.closing(storage_of(ctx, given)) as storage:
        storage.check(create=create)
        yield storage


def expect_used(storage: Storage) -> None:
    """Refuse a storage in which nothing is. Errors: `EMPTY`."""
    if storage.is_untouched():
        raise Error(
            "There is nothing in the storage",
            f"{storage!r}: is it the right directory, or bucket and prefix?",
            kind=Kind.EMPTY,
        )


def storage_given(configuration: Configuration, given: str) -> Storage:
    """Open the storage of a URL, or of a name in rex.toml."""
    if ":" in given:
        return open_storage(given)
    named = configuration.table("storages")
    if given not in named:
        near = did_you_mean(given, named) or "; names stand in rex.toml, under [storages]"
        raise Error(
            "No such storage",
            f"{given}{near}",
            kind=Kind.CONFIGURATION,
            code="unknown-storage",
        )
    entry: Any = named[given]
    options = {"url": entry} if isinstance(entry, str) else entry
    if not isinstance(options, dict) or not isinstance(options.get("url"), str):
        raise Error(
            "A storage in rex.toml is a URL, or a table with a url",
            f"[storages] {given}",
            kind=Kind.CONFIGURATION,
        )
    return open_storage(options["url"], **{key: options[key] for key in options if key != "url"})


def _tell(
    results: Generator[Copied | Verified | Swept, None, None],
    tally: _Tally,
    *,
    as_json: bool,
    shows_all: bool = False,
    may_be_none: bool = False,
) -> None:
    """Print what is wrong, or all as JSON, and a sum; end with an exit code if anything is."""
    with contextlib.closing(results), contextlib.closing(tally):
        for result in results:
            kind = tally.count(result)
            told = {**dataclasses.asdict(result), tally.name: kind}
            if as_json:
                click.echo(json.dumps(told, default=str))
            elif shows_all or not result.is_fine or kind == Outcome.UNKNOWN.value:
                tally.close()
                reason = f": {result.reason}" if result.reason else ""
                # A hostile source may have named it.
                click.echo(printable(f"{kind}  {result.handle}{reason}"))
    click.echo(json.dumps({"summary": tally.as_dict()}) if as_json else tally.summary())
    if tally.is_bad:
        raise click.exceptions.Exit(EXIT_CODES[Kind.CORRUPT])
    if not tally.total and not may_be_none:
        raise click.exceptions.Exit(EXIT_CODES[Kind.EMPTY])


class _Tally:
    """How many there are of each kind, and on a terminal how far it is."""

    prefix = ""

    def __init__(
        self, name: str, kinds: type[enum.Enum], storage: Storage | None, nothing: str = ""
    ) -> None:
        """Count results by their field `name`, which is one of `kinds`.

        With the storage, if all of it is read, the progress shows the total. `nothing` is the line
        for no result at all.
        """
        self._nothing = nothing
        self.name = name
        self.is_bad = False
        self.done_to: str | None = None
        self._kinds = [kind.value for kind in kinds]
        self._counts: collections.Counter[str] = collections.Counter()
        self._bytes = 0
        self._is_shown = sys.stderr.isatty()
        self._total = 0 if storage is None or not self._is_shown else sum(1 for _ in storage)
        self._began = self._shown_at = time.monotonic()

    def count(self, result: Copied | Verified | Swept) -> str:
        """Note one more; give its kind."""
        kind: str = getattr(result, self.name).value
        self._counts[kind] += 1
        self._bytes += result.size
        self.is_bad = self.is_bad or not result.is_fine
        self.done_to = getattr(result, "done_to", None)
        now = time.monotonic()
        if self._is_shown and now - self._shown_at >= SHOWN_EVERY:
            self._shown_at = now
            click.echo(f"\r\x1b[2K{self._progress(now - self._began)}", nl=False, err=True)
        return kind

    @property
    def total(self) -> int:
        """How many there were, of any kind but what is not an attachment."""
        return self._counts.total() - self._counts[Outcome.UNKNOWN.value]

    def close(self) -> None:
        """Take away what is shown of the progress."""
        if self._is_shown:
            click.echo("\r\x1b[2K", nl=False, err=True)

    def _progress(self, seconds: float) -> str:
        done, mebibytes = self.total, self._bytes / MIB
        shown = f"{done:,}, {mebibytes:,.0f} MiB, {mebibytes / seconds:.1f} MiB/s"
        if self._total < done:
            return shown
        left = seconds / done * (self._total - done)
        return f"{done:,} of {self._total:,}{shown.removeprefix(f'{done:,}')}, {_time(left)} left"

    def summary(self) -> str:
        """Say it all in a line."""
        shown = [kind for kind in self._kinds if self._counts[kind]]
        if self._nothing and not shown:
            return self._nothing
        if not self._nothing and self._kinds[0] not in shown:
            shown.insert(0, self._kinds[0])
        form = "{1}: {0:,}" if self._nothing else "{0:,} {1}"
        parts = ", ".join(form.format(self._counts[kind], kind) for kind in shown)
        return f"{self.prefix}{parts} ({self._bytes:,} bytes)"

    def as_dict(self) -> dict[str, object]:
        """Give the same as JSON takes it."""
        counts = {kind: self._counts[kind] for kind in self._kinds}
        return {**counts, "bytes": self._bytes}


def _time(seconds: float) -> str:
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
