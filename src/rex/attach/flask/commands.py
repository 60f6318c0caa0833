"""The commands ``flask attach``: those of ``rex attach``, for the storage of the application."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from rex.attach.flask.state import find_state

__all__ = ["attach"]


@click.command(
    "attach",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Store, check, sweep and copy attachments.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def attach(arguments: tuple[str, ...]) -> None:
    """Run a command of ``rex attach`` on the storage of the application."""
    from rex.attach.cli.storages import OwnStorage
    from rex.core.command import embed

    state = find_state()
    group = embed("flask", OwnStorage(state.settings, state.unchecked))
    group.main(["attach", *arguments], prog_name="flask")
