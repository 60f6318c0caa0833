"""The command `rex settings`: every setting with its value, source and help."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rex.core import package as packages
from rex.core.configuration import Configuration
from rex.core.error import Error, Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.setting import validate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rex.core.package import Package
    from rex.core.setting import Gathered, Setting

__all__ = ["settings"]


class _Row(NamedTuple):
    """A row of the output; field names are the keys of the JSON objects."""

    package: str
    name: str
    value: str | float | None
    source: str
    help: str
    error: str | None


@click.command("settings", short_help="Show all settings and their sources.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.pass_context
def settings(ctx: click.Context, *, as_json: bool) -> None:
    """Show every setting with its value, source and help.

    The settings are those of the packages in rex.toml, or else of all installed packages.
    Secrets are shown as ***, settings without a value as -.
    """
    configuration = ctx.find_root().ensure_object(Configuration)
    resolved, problems = _in_play(configuration)
    declared = packages.collect_settings(resolved)
    gathered = configuration.gather(declared)
    rows = [
        _row(package, setting, gathered) for package in resolved for setting in package.settings
    ]
    click.echo(json.dumps([row._asdict() for row in rows], indent=2) if as_json else _table(rows))
    try:
        validate(declared, gathered.values, gathered.sources)
    except Error as error:
        problems.append(error)
    for problem in problems:
        click.echo(f"rex: {problem}", err=True)
    if problems:
        ctx.exit(EXIT_CODES[Kind.CONFIGURATION])


def _in_play(configuration: Configuration) -> tuple[list[Package], list[Error]]:
    """Return the packages that load, requirements first, and the errors of the others."""
    found: dict[str, Package] = {}
    problems: list[Error] = []
    for name in configuration.packages or packages.find_installed():
        try:
            found |= {package.name: package for package in packages.resolve((name,))}
        except Error as error:
            problems.append(error)
    return list(found.values()), problems


def _row(package: Package, setting: Setting[Any], gathered: Gathered) -> _Row:
    value: object = None
    error = None
    try:
        value = setting.parse(gathered.values.get(setting.name))
    except Error as problem:
        error = str(problem.payload)
    if not isinstance(value, str | int | float | None):
        value = str(value)  # a secret's text is its mask
    return _Row(
        package.name, setting.name, value, gathered.sources[setting.name], setting.help, error
    )


def _table(rows: Iterable[_Row]) -> str:
    """Return the rows as columns; an error replaces the help."""
    lines = [("SETTING", "VALUE", "SOURCE", "HELP")]
    for row in rows:
        value = "-" if row.value is None else str(row.value)
        value = value if value.isprintable() else repr(value)
        lines.append(
            (row.name, value, row.source, f"WRONG: {row.error}" if row.error else row.help)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    widths.append(0)  # nothing follows the help
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
