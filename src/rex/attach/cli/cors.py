"""The command `rex attach cors`."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from rex.attach.cli.options import json_object_option
from rex.attach.cli.storages import pass_storage
from rex.attach.settings import cors_origins
from rex.core.command import application_settings

if TYPE_CHECKING:
    from rex.attach.storage import Storage

__all__ = ["cors"]


@click.command()
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Origin to allow, as https://example.org (default: attach_origins).",
)
@click.option("--apply", is_flag=True, help="Set the rule on the bucket (default: only show it).")
@json_object_option
@pass_storage()
def cors(storage: Storage, *, origins: tuple[str, ...], apply: bool, as_json: bool) -> None:
    """Show or set the bucket's CORS rules for links.

    Rules that were not set by this command are kept. On Azure, the rules are those of the account,
    and hold for all its containers.

    \b
    Example:
      rex attach cors --origin https://example.org --apply
    """  # noqa: D301 - click wants the character itself
    bucket = storage.cors
    asked = origins or tuple(cors_origins(application_settings(click.get_current_context())))
    needed = bucket.make_rule(asked) if asked or apply else None
    rules = bucket.allow(asked) if apply else bucket.rules()
    if as_json:
        click.echo(json.dumps({"rules": rules, "needed": needed}, indent=2))
        return
    if bucket.is_account_wide:
        click.echo("These rules hold for all containers of the account.", err=True)
    for rule in rules:
        click.echo(_format_rule(rule))
    if not rules:
        click.echo(f"The {'account' if bucket.is_account_wide else 'bucket'} has no CORS rules.")
    if needed is not None and not bucket.allows(asked):
        given = [word for origin in origins for word in ("--origin", origin)]
        command = shlex.join(["rex", "attach", "cors", *given, "--apply"])
        click.echo(f"\nNeeded (set it with {command}):\n{_format_rule(needed)}")


def _format_rule(rule: dict[str, Any]) -> str:
    """Return a CORS rule as one line."""
    parts = ("AllowedOrigins", "AllowedMethods", "AllowedHeaders", "ExposeHeaders")
    words = (" ".join(rule.get(part, ())) or "-" for part in parts)
    return "  ".join(words)
