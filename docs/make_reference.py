"""Make the pages that are generated from the code: ``make reference``.

docs/cli.md has the ``--help`` of each command, docs/settings.md each declared setting. With a
directory as argument, the pages are written there.
"""

# ruff: noqa: INP001 - a script

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rex.core import package as packages
from rex.core.command import root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.core import Package, Setting

DOCS = Path(__file__).parent
WIDTH = 80
"""The number of columns for the help of a command."""
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
"""The units of durations in seconds, largest first."""

CLI = """\
# Commands

<!-- Generated from the code by `make reference`. Do not edit. -->

The help of `rex` and of each command below it, as `--help` prints it. [Settings](settings.md) lists
the settings that the commands read.

"""

SETTINGS = """\
# Settings

<!-- Generated from the code by `make reference`. Do not edit. -->

`Rex(…)` accepts settings as arguments. The command `rex` reads a setting from the first of these
that gives it: `--set NAME=VALUE`, the environment variable, the table `[settings]` of `rex.toml`.
An empty value counts as not given. `rex settings` shows all settings with their values and sources.

"""


def main() -> None:
    """Write the pages."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    (directory / "cli.md").write_text(CLI + command_reference(), "utf-8")
    (directory / "settings.md").write_text(SETTINGS + settings_reference(), "utf-8")


def command_reference() -> str:
    """Return a table of contents, and a section for each command."""
    context = click.Context(root, info_name="rex", terminal_width=WIDTH)
    helps = {each.command_path: help_of(each) for each in contexts(context)}
    contents = [
        f"{'  ' * path.count(' ')}- [`{path}`](#{path.replace(' ', '-')})\n" for path in helps
    ]
    sections = [f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in helps.items()]
    return "".join([*contents, *sections])


def help_of(context: click.Context) -> str:
    """Return the help of a command without spaces at the ends of lines."""
    return "\n".join(map(str.rstrip, context.command.get_help(context).splitlines()))


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command, then those of the commands below it."""
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None:  # None: a package without commands
                yield from contexts(click.Context(command, parent=context, info_name=name))


def settings_reference() -> str:
    """Return a section for each package that declares settings."""
    installed = [packages.load(name) for name in packages.find_installed()]
    return "\n".join(package_section(package) for package in installed if package.settings)


def package_section(package: Package) -> str:
    """Return the settings of a package, each in a section of its own."""
    title = f"## {package.name}\n\n{package.help}\n"
    return "\n".join([title, *map(setting_section, package.settings)])


def setting_section(setting: Setting[object]) -> str:
    """Return the help, environment variable, type and default of a setting."""
    kind = f"{setting.type.expected}, secret" if setting.secret else setting.type.expected
    return f"""\
### {setting.name}

{setting.help}

| environment variable | type | default |
|---|---|---|
| `{setting.name.upper()}` | {kind} | {default(setting.default)} |
"""


def default(value: object) -> str:
    """Return a default as people write it; a dash for none."""
    if value in (None, ""):
        return "–"  # noqa: RUF001 - as the other pages have it
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{duration(value) if isinstance(value, float) else value}`"


def duration(seconds: float) -> str:
    """Return a duration in the largest unit of which it is a multiple."""
    for unit, size in UNITS.items():
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds}s"


if __name__ == "__main__":
    main()
