"""The command ``rex attach explain``: why a link is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

import click

from rex.attach.cli.maintenance import storage_given, storage_option
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
    help="The link as rex attach link --json prints it, instead of LINK; - is standard input.",
)
@click.option(
    "--response",
    metavar="FILE",
    help="What the server answered, perhaps with headers (curl -i); - is standard input.",
)
@click.option("--method", help="The method that the client asked with.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header that the client sent; give all of them.",
)
@storage_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line, and at last a sum."
)
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
    """Say why a link is refused, and what to change.

    LINK is a presigned link of S3, or one of the service; put it in quotes, or give - and have it
    read from standard input, where nobody sees it in a list of processes. No network is used:
    all is computed from the link, the answer and the settings, if there are any.

    The surest reason comes first. Neither the signature nor any other secret is shown. The exit
    code is 0 when a reason was found, or nothing is wrong; 3 when the link was refused and nothing
    was found; 4 for what is no link.

    \b
    Examples:
      rex attach explain 'https://s3.example.org/bucket/...' --response answer.xml
      curl -is "$LINK" | rex attach explain "$LINK" --method GET --response -
      rex attach explain --form link.json --response answer.xml
    """  # noqa: D301 - click wants the character itself
    # A link that is broken by white space, and not quoted, comes as several.
    words = " ".join(link)
    if bool(words) == bool(form):
        raise click.UsageError("Give LINK or --form, one of them.")
    if [words, form, response].count("-") > 1:
        raise click.UsageError("Standard input can be only one of them.")
    with contextlib.ExitStack() as stack:
        storage = _storage(ctx, given, stack)
        explanation = explain_link(
            _text(form or words) if form or words == "-" else words,
            response=None if response is None else _read(response, MAX_ANSWER),
            storage=storage,
            method=method,
            headers=dict(map(_header, headers)) if headers else None,
        )
    _tell(explanation, as_json=as_json)


def _storage(ctx: click.Context, given: str | None, stack: contextlib.ExitStack) -> Storage | None:
    """Open the storage that is meant, if any, without asking whether it can be used."""
    if given is not None:
        return stack.enter_context(storage_given(ctx.find_root().obj, given))
    settings = application_settings(ctx)
    return stack.enter_context(make_storage(settings)) if is_configured(settings) else None


def _text(path: str) -> str:
    # One too many is told from as many as there may be.
    text = _read(path, MAX_LINK + 2).decode("utf-8", "replace")
    return text.removesuffix("\n").removesuffix("\r")


def _read(path: str, size: int) -> bytes:
    try:
        with click.open_file(path, "rb") as file:
            content: bytes = file.read(size)
            return content
    except OSError as failure:
        # Its name is not shown: it may be a link that was given in the wrong place.
        reason = failure.strerror or type(failure).__name__
        raise Error("The link or the answer cannot be read", reason, kind=Kind.DENIED) from None
    except ValueError:  # a null byte in its name
        raise Error("This is no name of a file", kind=Kind.ILL_FORMED) from None


def _header(given: str) -> tuple[str, str]:
    name, _, value = given.partition(":")
    return name.strip(), value.strip()


def _tell(explanation: Explanation, *, as_json: bool) -> None:
    """Print the reasons; end with an exit code if there is none although there must be."""
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
        nothing = "Nothing is wrong with the link as it stands."
        click.echo("No reason was found." if unexplained else nothing)
        click.echo(f"    checked: {'; '.join(explanation.checked)}")
    if unexplained:
        raise click.exceptions.Exit(EXIT_CODES[Kind.NOT_FOUND])
