"""The command `rex settings`: every setting with its value, source, default and help."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rex.core import package as packages
from rex.core.configuration import Configuration
from rex.core.error import Error, Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable
from rex.core.setting import validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rex.core.package import Package
    from rex.core.setting import Gathered, Setting

__all__ = ["format_default", "settings"]

WIDTH = 80
"""The largest width of a line of help; a value is not broken."""
INDENT = "    "
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
"""The units of durations in seconds, largest first."""

Shown = str | float | None


class _Row(NamedTuple):
    """A setting; field names are the keys of the JSON objects."""

    package: str
    name: str
    value: Shown
    default: Shown
    source: str
    type: str
    help: str
    error: str | None


@click.command("settings", short_help="Show all settings and their sources.")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.pass_context
def settings(ctx: click.Context, *, names: tuple[str, ...], as_json: bool) -> None:
    """Show settings with their values, sources, defaults and help.

    The settings are those of the packages in rex.toml, or else of all installed packages; NAMES
    restricts them to those that contain one of these texts. Secrets are shown as ***, settings
    without a value as -.

    \b
    Examples:
      rex settings
      rex settings s3 attach_url
    """  # noqa: D301 - click wants the character itself
    configuration = ctx.find_root().ensure_object(Configuration)
    resolved, problems = _in_play(configuration)
    declared = packages.collect_settings(resolved)
    gathered = configuration.gather(declared)
    rows = [
        _row(package, setting, gathered)
        for package in resolved
        for setting in package.settings
        if not names or any(name.lower() in setting.name for name in names)
    ]
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        width = min(WIDTH, shutil.get_terminal_size().columns)
        click.echo("\n".join(_lines(rows, width)))
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
    return _Row(
        package=package.name,
        name=setting.name,
        value=_plain(value),
        default=_plain(setting.default),
        source=gathered.sources[setting.name],
        type=setting.type.expected,
        help=setting.help,
        error=error,
    )


def _plain(value: object) -> Shown:
    """Return a value for JSON; the text of a secret is its mask."""
    return value if isinstance(value, str | int | float | None) else str(value)


def _lines(rows: Iterable[_Row], width: int) -> Iterator[str]:
    """Yield the settings below their packages: a line for the value, then the help."""
    package = ""
    for row in rows:
        if row.package != package:
            yield from ([""] if package else []) + [f"[{row.package}]"]
            package = row.package
        yield ""
        yield f"{row.name} = {_text(row.value)}"
        yield from textwrap.wrap(
            f"WRONG: {row.error}" if row.error else row.help,
            width,
            initial_indent=INDENT,
            subsequent_indent=INDENT,
        )
        if row.source != "default":
            default = _text(row.default)
            yield f"{INDENT}(from {row.source}{'' if default == '-' else f'; default: {default}'})"


def _text(value: Shown) -> str:
    return printable(format_default(value)) or "-"


def format_default(value: object) -> str:
    """Return a value as people write it in a setting; an empty text for none."""
    if value in (None, ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return _duration(value) if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    """Return a duration in the largest unit of which it is a multiple."""
    for unit, size in UNITS.items():
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds}s"
