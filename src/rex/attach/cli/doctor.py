"""The command `rex attach doctor`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

import click

from rex.attach.backend.diagnostics import Verdict, fail_with, ok
from rex.attach.cli.options import json_lines_option
from rex.attach.cli.storages import own_storage, storage_given, storage_option
from rex.attach.cli.wording import check_json, check_lines, count_verdicts
from rex.attach.maintenance.diagnosis import diagnose
from rex.attach.opening import make_storage
from rex.attach.settings import ACCESS, check_access, cors_origins
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


@click.command()
@storage_option
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Origin whose pages use the links, as https://example.org (default: attach_origins).",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each skipped step.")
@json_lines_option
@click.pass_context
def doctor(
    ctx: click.Context,
    *,
    given: str | None,
    origins: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> None:
    """Check the storage and its settings; say what to change.

    The checks do what an application does, and remove what they stored. They also run on a storage
    with which an application would not start. With --origin, or the setting attach_origins, they
    include whether pages of these origins may use the links. Steps that were skipped for the same
    reason share a line. The exit code is 11 if a check fails.

    STORAGE is a URL, a path, or a name in the table [storages] of rex.toml; see `rex attach copy`.

    \b
    Examples:
      rex attach doctor
      rex attach doctor --origin https://example.org
      rex --set attach_s3_region=eu-west-1 attach doctor
    """  # noqa: D301 - click wants the character itself
    verdicts: collections.Counter[Verdict] = collections.Counter()
    with contextlib.closing(_run_checks(ctx, given, origins)) as checks:

        def counted() -> Iterator[Check]:
            for found in checks:
                verdicts[found.verdict] += 1
                yield found

        shown = map(check_json, counted()) if as_json else check_lines(counted(), verbose=verbose)
        for line in shown:
            click.echo(ctx.find_root().obj.mask(printable(line)))
    counts = {verdict.value: verdicts[verdict] for verdict in Verdict}
    if as_json:
        click.echo(json.dumps({"summary": counts}))
    else:
        click.echo(count_verdicts(counts))
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
        is_own = storage is own_storage(ctx)
        if not is_own:
            stack.callback(storage.close)
        yield dataclasses.replace(ok(found), step="settings")
        if given is None and not is_own:
            yield _access(application_settings(ctx))
        yield from diagnose(storage, origins or configured)


def _open(ctx: click.Context, given: str | None) -> tuple[Storage, str, Sequence[str]]:
    """Return the storage, what names it, and the configured origins."""
    if given is not None:
        return storage_given(ctx.find_root().obj, given), "--storage can be opened", ()
    settings, own = application_settings(ctx), own_storage(ctx)
    if own is not None:
        return own, "the storage of the application", cors_origins(settings)
    names = [name for name in settings.without_defaults() if name.startswith("attach_")]
    return make_storage(settings), ", ".join(names), cors_origins(settings)


def _access(settings: Settings) -> Check:
    """Check that the access rule of the settings exists."""
    name = settings[ACCESS]
    try:
        check_access(settings)
    except Error as error:
        advice = (
            "`rex serve` would not start; Python must be able to import the module (PYTHONPATH)"
        )
        return dataclasses.replace(fail_with(error, advice), step="access")
    return dataclasses.replace(ok(f"{name} (setting attach_access)"), step="access")
