"""The command `rex attach explain`: why a link is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

import click

from rex.attach.cli.options import json_summary_option
from rex.attach.cli.storages import own_storage, storage_given, storage_option
from rex.attach.explain.explanation import MAX_LINK
from rex.attach.explain.explanation import explain as explain_link
from rex.attach.explain.response import MAX_ANSWER
from rex.attach.opening import is_configured, make_storage
from rex.core import Error, Kind
from rex.core.command import application_settings
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from rex.attach.explain.explanation import Explanation
    from rex.attach.storage import Storage

__all__ = ["explain"]


@click.command()
@click.argument("link", nargs=-1)
@click.option(
    "--form",
    metavar="FILE",
    help="Read the link from the output of `rex attach link --json`; - is standard input.",
)
@click.option(
    "--response",
    metavar="FILE",
    help="Read the server's response, with or without headers (curl -i); - is standard input.",
)
@click.option("--method", help="Method of the client's request.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Header of the client's request; give all of them.",
)
@storage_option
@json_summary_option
@click.pass_context
def explain(
    ctx: click.Context,
    *,
    link: tuple[str, ...],
    form: str | None,
    response: str | None,
    method: str | None,
    headers: tuple[str, ...],
    given: str | None,
    as_json: bool,
) -> None:
    """Explain why a link is refused, and what to change.

    LINK is a presigned link of S3 or a service link. Quote it, or give - to read it from standard
    input, which keeps it out of the process list. The command uses no network: it compares the
    link, the response and the settings, as far as they are given.

    The most certain reason comes first. The output contains no signature and no other secret. The
    exit code is 0 if a reason was found or the link is valid, 3 if the link was refused for an
    unknown reason, and 4 if LINK is not a link.

    \b
    Examples:
      rex attach explain 'https://s3.example.org/bucket/...' --response answer.xml
      curl -is "$LINK" | rex attach explain "$LINK" --method GET --response -
      rex attach explain --form link.json --response answer.xml
    """  # noqa: D301 - click wants the character itself
    # An unquoted link with white space in it arrives as several arguments.
    words = " ".join(link)
    if bool(words) == bool(form):
        raise click.UsageError("Expected either LINK or --form.")
    if [words, form, response].count("-") > 1:
        raise click.UsageError("Only one of LINK, --form and --response can be standard input.")
    with contextlib.ExitStack() as stack:
        storage = _storage(ctx, given, stack)
        explanation = explain_link(
            _text(form or words) if form or words == "-" else words,
            response=None if response is None else _read(response, MAX_ANSWER),
            storage=storage,
            method=method,
            headers=dict(map(_header, headers)) if headers else None,
        )
    _print_explanation(explanation, as_json=as_json)


def _storage(ctx: click.Context, given: str | None, stack: contextlib.ExitStack) -> Storage | None:
    """Open the storage of the command, if there is one, without checking it."""
    if given is not None:
        return stack.enter_context(storage_given(ctx.find_root().obj, given))
    if (own := own_storage(ctx)) is not None:
        return own
    settings = application_settings(ctx)
    return stack.enter_context(make_storage(settings)) if is_configured(settings) else None


def _text(path: str) -> str:
    # Read past the limit, so that the parser can tell a link that is too long.
    text = _read(path, MAX_LINK + 2).decode("utf-8", "replace")
    return text.removesuffix("\n").removesuffix("\r")


def _read(path: str, size: int) -> bytes:
    try:
        with click.open_file(path, "rb") as file:
            content: bytes = file.read(size)
            return content
    except OSError as failure:
        # The file name is not shown: it may be a link that was given as the wrong option.
        reason = failure.strerror or type(failure).__name__
        raise Error("Cannot read the link or the response", reason, kind=Kind.DENIED) from None
    except ValueError:  # a null byte in the file name
        raise Error("The file name contains a null byte", kind=Kind.ILL_FORMED) from None


def _header(given: str) -> tuple[str, str]:
    name, _, value = given.partition(":")
    return name.strip(), value.strip()


def _print_explanation(explanation: Explanation, *, as_json: bool) -> None:
    """Print the reasons; exit with a code if a refused link has none."""
    for each in explanation.reasons:
        if as_json:
            click.echo(json.dumps({**dataclasses.asdict(each), "certainty": each.certainty.value}))
        else:
            click.echo(f"{each.reason} ({each.certainty.value})")
            click.echo(f"    why:     {printable(each.evidence)}\n    change:  {each.change}")
    unexplained = explanation.is_refused and not explanation.reasons
    if as_json:
        summary = {"reasons": len(explanation.reasons), "checked": explanation.checked}
        click.echo(json.dumps({"summary": summary}))
    elif not explanation.reasons:
        nothing = "No problem found with the link."
        click.echo("The link was refused, but no reason was found." if unexplained else nothing)
        click.echo(f"    checked: {'; '.join(explanation.checked)}")
    if unexplained:
        raise click.exceptions.Exit(EXIT_CODES[Kind.NOT_FOUND])
