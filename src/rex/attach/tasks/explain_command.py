"""The command ``rex attach explain``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from rex.attach.tasks.answer import MAX_ANSWER
from rex.attach.tasks.command import storage_given, storage_option
from rex.attach.tasks.explaining import explain as explain_link
from rex.attach.wiring import make_storage
from rex.core import Error, Kind
from rex.core.cli import EXIT_CODES
from rex.core.command import application_settings

if TYPE_CHECKING:
    from rex.attach.storage import Storage

__all__ = ["explain"]


@click.command()
@click.argument("url", required=False)
@click.option(
    "--link",
    "file",
    type=click.File("rb"),
    metavar="FILE",
    help="A link as `rex attach link --json` prints it, instead of URL; needed for a form.",
)
@click.option(
    "--response",
    type=click.File("rb"),
    metavar="FILE",
    help="What the server answered, as `curl -i` prints it; - is standard input.",
)
@click.option("--method", help="The method that the client used.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header it sent; all."
)
@storage_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def explain(
    ctx: click.Context,
    *,
    url: str | None,
    file: BinaryIO | None,
    response: BinaryIO | None,
    method: str | None,
    headers: tuple[str, ...],
    given: str | None,
    as_json: bool,
) -> None:
    """Tell why a link is refused, and what to change.

    It looks at the link, at what the server answered, and at the settings of the application where
    there are some; no server is asked. URL is - for standard input. Nothing that is secret is
    shown. Where nothing wrong is found, it says so, and the exit code is 3.

    \b
    Examples:
      rex attach explain "$URL"
      curl -si "$URL" | rex attach explain "$URL" --response -
      rex attach explain --link link.json --response answer.xml
    """  # noqa: D301 - click wants the character itself
    if (url is None) == (file is None):
        raise click.UsageError("Give a URL, or --link with a file.")
    fields = None
    if file is not None:
        address, fields = _read(file)
    else:
        address = sys.stdin.read() if url == "-" else str(url)
    storage = _storage(ctx, given)
    try:
        found = explain_link(
            address,
            answer=b"" if response is None else response.read(MAX_ANSWER),
            method=method.upper() if method else None,
            headers=dict(_header(line) for line in headers) or None,
            fields=fields,
            storage=storage,
        )
    finally:
        if storage is not None:
            storage.close()
    if as_json:
        reasons = [{**one._asdict(), "certainty": one.certainty.value} for one in found.reasons]
        click.echo(json.dumps({"reasons": reasons, "checked": found.checked}, indent=2))
    else:
        for one in found.reasons:
            click.echo(f"{one.certainty.value}: {one.reason}")
            click.echo(f"    because {one.evidence}\n    -> {one.change}")
        if not found.reasons:
            click.echo(f"Nothing wrong was found in: {', '.join(found.checked)}.")
    if not found.reasons:
        raise click.exceptions.Exit(EXIT_CODES[Kind.NOT_FOUND])


def _read(file: BinaryIO) -> tuple[str, dict[str, str] | None]:
    """Read a link: its address, and the fields of its form."""
    try:
        link = json.loads(file.read(MAX_ANSWER))
        fields = {str(name): str(value) for name, value in (link.get("fields") or {}).items()}
        return str(link["url"]), fields or None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        reason = "This is no link as `rex attach link --json` prints it"
        raise Error(reason, kind=Kind.ILL_FORMED) from None


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _storage(ctx: click.Context, given: str | None) -> Storage | None:
    """Give the storage that makes such links, where one is configured."""
    if given is not None:
        return storage_given(ctx.find_root().obj, given)
    try:
        return make_storage(application_settings(ctx))
    except Error:
        return None
