"""Make the pages that are generated from the code: ``make reference``.

Below docs/reference, cli.md has the ``--help`` of each command, settings.md each declared setting,
http.md the routes of the service and requests.md each of its requests; README.md has the abilities
of each backend. With a directory as argument, the pages are written there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from make_requests import requests_reference
from rex.attach import open_storage
from rex.attach.backend.abilities import LinkSigner
from rex.attach.backend.multipart import Multipart
from rex.attach.opening import BACKENDS as REGISTRY
from rex.attach.web.openapi import SCHEMAS
from rex.attach.web.routes import SECTIONS
from rex.core import package as packages
from rex.core.command import root
from rex.core.settings_command import format_default

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage
    from rex.attach.backend.config import BackendSpec
    from rex.attach.web.openapi import Schema
    from rex.attach.web.section import Route
    from rex.core import Package, Setting

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
README = DOCS.parent / "README.md"
NONE = "–"  # noqa: RUF001 - a dash, as in the other pages
WIDTH = 80
"""The number of columns for the help of a command."""
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


CREDENTIALS = {
    "azure": {"account": "account", "key": "a2V5"},
    "gs": {"key": str(DOCS.parent / "tests" / "attach" / "gcs_key.json")},
    "s3": {"access_key": "key", "secret_key": "secret"},
}
"""What a backend needs to be opened without its server."""

ABILITIES = {
    "links": "presigned links",
    "resumable": "resumable uploads (tus, the IETF's protocol, `storage.uploads`)",
    "multipart": "multipart uploads (Uppy's AwsS3)",
    "bucket": "bucket rules (CORS, lifecycle)",
    "garbage": "finds garbage",
    "diagnostics": "diagnostics of its own (`rex attach doctor`)",
    "directory": "a proxy can send the files themselves (X-Accel-Redirect, X-Sendfile)",
    "one_remover": "exactly one of two concurrent removals succeeds",
    "create_once": "exactly one of two concurrent stores succeeds, at any size, on every server",
    "grouped": "a copy syncs many files at once",
}

OF_LINKS = {
    "post_links": "form links (POST)",
    "pins_type": "a PUT link fixes the content type",
    "limits_put": "a PUT link can limit the size",
}
"""The properties of a `LinkSigner`."""


NEEDS = {
    "": NONE,
    "links": "links",
    "links.is_served": "service links",
    "links.post_links": "form links",
    "links.signs_downloads": "links",
    "links.signs_uploads": "upload links",
    "multipart": "multipart uploads",
    "multipart.has_events": "S3",
    "resumable": "resumable uploads",
}
"""The abilities that routes need."""


def main() -> None:
    """Write the pages."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE
    (directory / "cli.md").write_text(CLI + command_reference(), "utf-8")
    (directory / "settings.md").write_text(SETTINGS + settings_reference(), "utf-8")
    (directory / "requests.md").write_text(requests_reference(), "utf-8")
    http = fill((REFERENCE / "http.md").read_text("utf-8"), "routes", route_table())
    (directory / "http.md").write_text(http, "utf-8")
    readme = fill(README.read_text("utf-8"), "backends", backend_table())
    (directory / "README.md" if len(sys.argv) > 1 else README).write_text(readme, "utf-8")


def fill(page: str, name: str, text: str) -> str:
    """Return a page with another text between its comments `name` and ``/name``."""
    head, begin, rest = page.partition(f"<!-- {name} -->\n")
    _, end, tail = rest.partition(f"<!-- /{name} -->")
    return f"{head}{begin}{text}{end}{tail}"


def route_table() -> str:
    """Return the table of the routes of the service."""
    rows = [route_row(route) for routes in SECTIONS.values() for route in routes]
    head = "| request | | response | action | needs |\n|---|---|---|---|---|\n"
    return head + "".join(rows)


def route_row(route: Route) -> str:
    """Return the row of a route."""
    request = f"{route.methods.replace(' ', ', ')} /attach{route.path}"
    request += f"?{route.query}" if route.query else ""
    for name in ("handle", "token", "upload_id", "part"):
        request = request.replace(f"{{{name}}}", f"/<{name}>" if name == "handle" else f"<{name}>")
    action = f"`{route.action}`" if route.action else NONE
    answers = ", ".join(answer(status, each) for status, each in route.answers.items())
    needs = NEEDS[route.needs] + (f", `attach_{route.option}`" if route.option else "")
    return f"| `{request}` | {route.summary} | {answers} | {action} | {needs} |\n"


def answer(status: str, described: Schema) -> str:
    """Return a response: its status and the members of its JSON, or its description."""
    schema = described.get("content", {}).get("application/json", {}).get("schema", {})
    shown = members(schema)
    return f"{status} `{shown}`" if shown else f"{status} {described['description']}"


def members(schema: Schema) -> str:
    """Return the names of the members in a schema, nested."""
    if "$ref" in schema:
        return members(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "items" in schema:
        return f"[{members(schema['items']) or '…'}]"
    if "properties" not in schema:
        return ""
    names = (
        f"{name}: {members(each)}" if members(each) else name
        for name, each in schema["properties"].items()
    )
    return f"{{{', '.join(names)}}}"


def command_reference() -> str:
    """Return a table of contents, and a section for each command."""
    context = click.Context(root, info_name="rex", terminal_width=WIDTH, **root.context_settings)
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


def backend_table() -> str:
    """Return a table with a column for each backend and a row for each ability."""
    extras = [f"[{spec.extra}]" if spec.extra else "" for spec in REGISTRY]
    selectors = [f"`{spec.selector.name}`" if spec.selector else NONE for spec in REGISTRY]
    rows = {
        "URL": [f"`{spec.example}`" for spec in REGISTRY],
        "installed by": [f"`rex-attach{extra}`" for extra in extras],
        "selected by": selectors,
    }
    storages = [opened(spec) for spec in REGISTRY]
    for name, title in ABILITIES.items():
        rows[title] = [ability(getattr(storage.abilities, name)) for storage in storages]
        if name == "links":
            for property_, about in OF_LINKS.items():
                rows[about] = [ability_of_links(storage, property_) for storage in storages]
    head = ["", *(f"{spec.scheme}" for spec in REGISTRY)]
    table = [head, ["---"] * len(head), *([title, *cells] for title, cells in rows.items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def opened(spec: BackendSpec) -> Storage:
    """Open a storage of a backend without using it."""
    url, options = spec.example.partition("?")[0], CREDENTIALS.get(spec.scheme, {})
    return open_storage(url, url="https://example.org/attach", **options)


def ability_of_links(storage: Storage, name: str) -> str:
    """Return whether the links of a storage have a property."""
    links = storage.abilities.links
    if links is None or not getattr(links, name):
        return NONE
    is_served = name == "post_links" and links.is_served and not links.is_service
    return "answered by the service (`attach_url`)" if is_served else "yes"


def ability(value: object) -> str:
    """Return how a backend has an ability."""
    if isinstance(value, LinkSigner):
        return "answered by the service (`attach_url`)" if value.is_service else "yes"
    if isinstance(value, Multipart):
        return "through the service" if value.is_relayed else "by links"
    return "yes" if value else NONE


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
    written = format_default(value)
    return f"`{written}`" if written else NONE


if __name__ == "__main__":
    main()
