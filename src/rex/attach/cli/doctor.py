"""The command `rex attach doctor`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

import click

from rex.attach.backend.diagnostics import Verdict, fail_with, ok
from rex.attach.cli.report import join_counts
from rex.attach.cli.storages import storage_given, storage_option
from rex.attach.maintenance.diagnosis import diagnose
from rex.attach.opening import make_storage
from rex.attach.settings import ACCESS, ACCESS_KEYS, check_rule, cors_origins
from rex.core import Error, Kind
from rex.core.command import application_settings
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backend.diagnostics import Check
    from rex.attach.storage import Storage
    from rex.core import Settings

__all__ = ["doctor"]

_LABELS = {
    Verdict.OK: "ok",
    Verdict.WARN: "warn",
    Verdict.FAIL: "FAIL",
    Verdict.SKIP: "skip",
}
_SUMMARY = {"ok": "ok", "warn": "warning/warnings", "fail": "failed", "skip": "skipped"}


@click.command()
@storage_option
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Origin whose pages use the links, as https://example.org (default: attach_origins).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def doctor(
    ctx: click.Context, *, given: str | None, origins: tuple[str, ...], as_json: bool
) -> None:
    """Check the storage and its settings; say what to change.

    The checks do what an application does, and remove what they stored. They also run on a storage
    with which an application would not start. With --origin, or the setting attach_origins, they
    include whether pages of these origins may use the links. The exit code is 11 if a check fails.

    STORAGE is a URL, or a name in the table [storages] of rex.toml; see `rex attach copy`.

    \b
    Examples:
      rex attach doctor
      rex attach doctor --origin https://example.org
      rex --set attach_s3_region=eu-west-1 attach doctor
    """  # noqa: D301 - click wants the character itself
    verdicts: collections.Counter[Verdict] = collections.Counter()
    storage = ""
    with contextlib.closing(_run_checks(ctx, given, origins)) as checks:
        for found in checks:
            verdicts[found.verdict] += 1
            lines = [json.dumps(_as_dict(found))] if as_json else _lines(found)
            if not as_json and found.storage != storage:
                storage = found.storage
                lines = [storage, *lines]
            text = "\n".join(map(printable, lines))
            click.echo(ctx.find_root().obj.mask(text))
    counts = {verdict.value: verdicts[verdict] for verdict in Verdict}
    if as_json:
        click.echo(json.dumps({"summary": counts}))
    else:
        click.echo(join_counts(counts, _SUMMARY))
    if verdicts[Verdict.FAIL]:
        raise click.exceptions.Exit(EXIT_CODES[Kind.CORRUPT])


def _run_checks(
    ctx: click.Context, given: str | None, origins: Sequence[str]
) -> collections.abc.Generator[Check, None, None]:
    """Check the settings, then the storage that they name."""
    with contextlib.ExitStack() as stack:
        try:
            storage, found, configured = _open(ctx, given)
        except Error as error:
            advice = ("$ rex settings",) if given is None else ()
            yield dataclasses.replace(fail_with(error, *advice), step="settings")
            return
        stack.callback(storage.close)
        yield dataclasses.replace(ok(found), step="settings")
        if given is None:
            yield _access(application_settings(ctx))
        yield from diagnose(storage, origins or configured)


def _open(ctx: click.Context, given: str | None) -> tuple[Storage, str, Sequence[str]]:
    """Return the storage, what names it, and the configured origins."""
    if given is not None:
        return storage_given(ctx.find_root().obj, given), "--storage can be opened", ()
    settings = application_settings(ctx)
    names = [name for name in settings.without_defaults() if name.startswith("attach_")]
    return make_storage(settings), ", ".join(names), cors_origins(settings)


def _access(settings: Settings) -> Check:
    """Check that the access rule of the settings exists."""
    name = settings[ACCESS]
    try:
        check_rule(name, settings[ACCESS_KEYS])
    except Error as error:
        advice = (
            "`rex serve` would not start; Python must be able to import the module (PYTHONPATH)"
        )
        return dataclasses.replace(fail_with(error, advice), step="access")
    return dataclasses.replace(ok(f"{name} (setting attach_access)"), step="access")


def _as_dict(found: Check) -> dict[str, object]:
    return {"storage": found.storage, **dataclasses.asdict(found), "verdict": found.verdict.value}


def _lines(found: Check) -> Iterator[str]:
    yield f"{_LABELS[found.verdict]:<8}  {found.step:<17}  {found.text}"
    for line in found.advice:
        yield f"{'':<10}{line}"
