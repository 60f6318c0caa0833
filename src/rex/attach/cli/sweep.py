"""The command `rex attach sweep`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

import click

from rex.attach.backend.abilities import require
from rex.attach.backend.garbage import GarbageKind
from rex.attach.cli.options import (
    handles_options,
    json_summary_option,
    read_references,
    workers_option,
)
from rex.attach.cli.report import Tally, print_results
from rex.attach.cli.storages import expect_used, open_for_command, storage_option
from rex.attach.cli.wording import sweep_summary
from rex.attach.maintenance.sweeping import GRACE, WORKERS
from rex.attach.maintenance.sweeping import lifecycle as lifecycle_of
from rex.attach.maintenance.sweeping import sweep as sweep_all
from rex.core.click_types import DURATION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["sweep"]


@click.command()
@storage_option
@click.option("--delete", is_flag=True, help="Delete what is found (default: only list it).")
@click.option(
    "--grace",
    type=DURATION,
    default=f"{GRACE / 3600:.0f}h",
    show_default=True,
    help="Keep everything younger than this; at least 1m.",
)
@handles_options
@click.option(
    "--lifecycle", is_flag=True, help="Print lifecycle rules that delete abandoned uploads."
)
@click.option(
    "--noncurrent",
    type=DURATION,
    metavar="DURATION",
    help="With --lifecycle: also delete versions of removed attachments after this time.",
)
@workers_option(WORKERS)
@json_summary_option
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
    """Find abandoned uploads and unreferenced attachments.

    Without --delete, this is a dry run. Garbage is expired and unfinished uploads, temporary files
    and empty directories; and, given the handles that the application refers to, all other
    attachments. Anything younger than --grace or in use is kept. Give all handles, and a grace
    longer than the time between an upload and the application's reference to it.

    A bucket with versioning keeps the versions of removed attachments; --noncurrent adds a rule
    that removes them.

    Pass the output of --lifecycle to `aws s3api put-bucket-lifecycle-configuration`, on Google to
    `gcloud storage buckets update --lifecycle-file`; both replace the bucket's rules. No lifecycle
    rule can know what the application refers to.

    \b
    Examples:
      rex attach sweep
      rex attach sweep --delete --grace 2d
      rex attach sweep --database postgresql:///app --query 'select file from documents'
      rex attach sweep --lifecycle >rules.json
    """  # noqa: D301 - click wants the character itself
    referenced = read_references(file, shell, query, database)
    if lifecycle and (delete or referenced is not None):
        raise click.UsageError("--lifecycle excludes --delete and the options for handles.")
    if noncurrent is not None and not lifecycle:
        raise click.UsageError("--noncurrent requires --lifecycle.")

    def phrase(counts: Mapping[str, int], size: int) -> str:
        return sweep_summary(counts, size, delete=delete)

    with open_for_command(ctx, given) as storage:
        if lifecycle:
            rules = lifecycle_of(storage, grace=grace, noncurrent=noncurrent)
            bucket = require(storage.abilities.bucket, "bucket")
            click.echo(json.dumps({bucket.lifecycle_name: rules}, indent=2))
            return
        expect_used(storage)
        results = sweep_all(
            storage, delete=delete, grace=grace, referenced=referenced, workers=workers
        )
        tally = Tally("kind", GarbageKind, phrase)
        print_results(results, tally, as_json=as_json, shows_all=True, may_be_none=True)
