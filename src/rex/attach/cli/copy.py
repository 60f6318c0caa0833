"""The command `rex attach copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rex.attach.cli.options import json_summary_option, rate_option, workers_option
from rex.attach.cli.report import Tally, print_results
from rex.attach.cli.storages import expect_used, open_for_command
from rex.attach.cli.units import format_size
from rex.attach.cli.wording import join_counts
from rex.attach.maintenance.copying import WORKERS, Outcome
from rex.attach.maintenance.copying import copy as copy_all

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

__all__ = ["copy"]

_DONE = {
    "copied": "copied",
    "same": "already there",
    "differs": "different",
    "gone": "removed from SOURCE meanwhile",
    "extra": "only in DEST",
    "removed": "removed from DEST",
    "unknown": "unknown key/unknown keys",
    "failed": "failed",
}
_PLANNED = {**_DONE, "copied": "to copy", "removed": "to remove from DEST"}


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Copy only handles made on this day (UTC) or later.",
)
@click.option(
    "--dry-run", "dry_run", is_flag=True, help="Change nothing; print what would be done."
)
@click.option(
    "--delete-extra", is_flag=True, help="Remove attachments from DEST that SOURCE does not have."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation of --delete-extra.")
@rate_option
@workers_option(WORKERS)
@json_summary_option
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
    """Copy all attachments to another storage, under their handles.

    Attachments that DEST already has are compared, never overwritten; repeat an interrupted copy
    to continue it. SOURCE and DEST are URLs, paths (/srv/files, ./files), or names in the table
    [storages] of rex.toml. S3 credentials come from that table, or from the AWS chain
    (AWS_ACCESS_KEY_ID, a profile, a role).

    Failures and attachments that differ in DEST are printed; the exit code is then 11. Ctrl-C ends
    the copies in progress, leaves nothing of them, and prints what was done.

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
        question = f"Remove all attachments from {dest} that are not in {source}?"
        click.confirm(question, abort=True, err=True)

    def phrase(counts: Mapping[str, int], size: int) -> str:
        done = join_counts(counts, _PLANNED if dry_run else _DONE, first="copied")
        return f"{'Dry run, nothing changed: ' if dry_run else ''}{done} ({format_size(size)})"

    with open_for_command(ctx, source) as ours, open_for_command(ctx, dest) as theirs:
        expect_used(ours)
        tally = Tally("outcome", Outcome, phrase, ours)
        results = copy_all(
            ours,
            theirs,
            since=None if since is None else since.date(),
            dry_run=dry_run,
            delete_extra=delete_extra,
            rate=rate,
            workers=workers,
            progress=tally.move,
        )
        print_results(results, tally, as_json=as_json, may_be_none=since is not None)
