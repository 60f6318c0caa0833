"""Options that several commands have, and what they are parsed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import click

from rex.core.click_types import SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "handles_options",
    "json_lines_option",
    "json_object_option",
    "json_summary_option",
    "rate_option",
    "read_references",
    "workers_option",
]

rate_option = click.option("--rate", type=SIZE, help="Most bytes per second, as in '10 MiB'.")
json_object_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line."
)
json_summary_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line, then a summary."
)


def workers_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option for the number of threads."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        default=default,
        show_default=True,
        help="Attachments to process at the same time.",
    )


def handles_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the handles that the application refers to."""
    options = [
        click.option(
            "--handles",
            "file",
            type=click.File("r", encoding="utf-8"),
            metavar="FILE",
            help="Read the application's handles or keys from a file, one per line; - is stdin.",
        ),
        click.option(
            "--handles-from",
            "shell",
            metavar="COMMAND",
            help="Read the handles from the output of a shell command.",
        ),
        click.option(
            "--query",
            metavar="SQL",
            help="Read the handles from the first column of a database query.",
        ),
        click.option(
            "--database",
            metavar="URL",
            envvar="DATABASE_URL",
            help="Database for --query, an SQLAlchemy URL (default: DATABASE_URL).",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_references(
    file: TextIO | None, shell: str | None, query: str | None, database: str | None
) -> Iterator[str] | None:
    """Return the handles that the options of `handles_options` name; None without an option."""
    from rex.attach.maintenance.references import from_command, from_database, from_lines

    if sum(given is not None for given in (file, shell, query)) > 1:
        raise click.UsageError("--handles, --handles-from and --query exclude each other.")
    if file is not None:
        return from_lines(file)
    if shell is not None:
        return from_command(shell)
    if query is None:
        return None
    if not database:
        raise click.UsageError("--query requires --database, or DATABASE_URL.")
    return from_database(database, query)
