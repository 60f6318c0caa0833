"""The command `rex attach verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import click

from rex.attach.cli.options import (
    handles_options,
    json_summary_option,
    rate_option,
    read_references,
    workers_option,
)
from rex.attach.cli.report import Tally, print_results
from rex.attach.cli.storages import expect_used, open_for_command, storage_option
from rex.attach.cli.units import format_size
from rex.attach.cli.wording import join_counts
from rex.attach.handle import parse_handle
from rex.attach.maintenance.verifying import WORKERS, State
from rex.attach.maintenance.verifying import verify as verify_all

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["verify"]

ALL = 100
"""Percent."""

_WORDS = {
    "ok": "ok",
    "readable": "without a digest",
    "corrupt": "corrupt",
    "missing": "missing",
    "unreadable": "unreadable",
}


@click.command()
@storage_option
@handles_options
@click.option("--after", metavar="HANDLE", help="Read only handles after this handle.")
@click.option(
    "--sample",
    type=click.FloatRange(0, ALL, min_open=True),
    default=ALL,
    show_default=True,
    metavar="PERCENT",
    help="Percentage of the attachments to read, chosen at random.",
)
@rate_option
@workers_option(WORKERS)
@json_summary_option
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
    """Read all attachments and compare them with their digests.

    Failures are printed; the exit code is then 11. Given the handles that the application refers
    to, only these are read, and missing attachments are failures too. After Ctrl-C, the command
    prints the option --after that continues the run.

    STORAGE is a URL, a path, or a name in the table [storages] of rex.toml; see `rex attach copy`.

    \b
    Examples:
      rex attach verify
      rex attach verify --sample 1 --rate '20 MiB'
      psql -At -c 'select file from documents' | rex attach verify --handles -
    """  # noqa: D301 - click wants the character itself
    if after is not None:
        parse_handle(after)
    handles = read_references(file, shell, query, database)
    with open_for_command(ctx, given) as storage:
        expect_used(storage)
        is_whole = handles is None and after is None and sample == ALL
        tally = Tally("state", State, _phrase, storage if is_whole else None)
        results = verify_all(
            storage,
            handles=handles,
            after=after,
            sample=sample / ALL,
            rate=rate,
            workers=workers,
            progress=tally.move,
        )
        may_be_none = after is not None or sample < ALL
        print_results(results, tally, as_json=as_json, may_be_none=may_be_none)


def _phrase(counts: Mapping[str, int], size: int) -> str:
    return f"{join_counts(counts, _WORDS, first='ok')} ({format_size(size)})"
