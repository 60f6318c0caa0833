"""The command group `rex`: its own commands, those of packages, and error reports."""

from __future__ import annotations

import contextlib
import functools
import importlib
import traceback
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from rex.core import package as packages
from rex.core.configuration import DEFAULT_FILE, Configuration
from rex.core.error import Error, Kind
from rex.core.exit_codes import EXIT_CODES, INTERRUPTED, PIPE_CLOSED, USAGE
from rex.core.lazy_group import LazyGroup
from rex.core.log import show_warnings
from rex.core.printable import printable
from rex.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rex.core.application import Rex
    from rex.core.setting import Settings

__all__ = ["application", "application_settings", "embed", "pass_rex", "root"]

P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def application(ctx: click.Context) -> Iterator[Rex]:
    """Create the application of a package's command; close it afterwards.

    The application has the package that the command belongs to, the packages of `rex.toml` and the
    gathered settings; it is active inside the `with` block.
    """
    configuration, package = _source_settings(ctx)
    rex = configuration.rex(package)
    with contextlib.closing(rex), rex:
        yield rex


def application_settings(ctx: click.Context) -> Settings:
    """Return the settings of that application without creating it or running its checks."""
    configuration, package = _source_settings(ctx)
    return configuration.settings(package)


def _source_settings(ctx: click.Context) -> tuple[Configuration, str]:
    """Return the configuration and the name of the package that the command belongs to."""
    root_ctx = ctx.find_root()
    return root_ctx.ensure_object(Configuration), str(_find_owner(root_ctx.invoked_subcommand))


def pass_rex(command: Callable[Concatenate[Rex, P], R]) -> Callable[P, R]:
    """Decorate a package's command to run inside its `application`, its first argument.

    Use below the decorators of click::

        @group.command()
        @click.argument("handle")
        @pass_rex
        def rm(rex: Rex, handle: str) -> None: ...
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with application(click.get_current_context()) as rex:
            return command(rex, *args, **kwargs)

    return run


class _Root(LazyGroup):
    """The group that imports a package's commands on use and reports all errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_mount(packages.find_installed())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or (name := _find_owner(cmd_name)) is None:
            return own
        try:
            return _import_command(packages.load(name))
        except Error as error:
            return _make_failing(cmd_name, error)

    def format_commands(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing those of the packages."""
        own = [(name, super(_Root, self).get_command(ctx, name)) for name in self.lazy]
        rows = [(name, command.get_short_help_str()) for name, command in own if command]
        for command, name in _mount(packages.find_installed()).items():
            try:
                package = packages.load(name)
            except Error:
                rows.append((command, f"Not available: cannot import {name}."))
            else:
                if package.commands is not None:
                    rows.append((command, package.help))
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            code = PIPE_CLOSED
        except (KeyboardInterrupt, click.Abort):
            code = INTERRUPTED
        except Exception as error:  # noqa: BLE001 - a command ends without a traceback
            code = _report(ctx, error)
        raise click.exceptions.Exit(code)


def _report(ctx: click.Context, error: Exception) -> int:
    """Print an error on stderr; return the exit code."""
    if ctx.params["traceback"]:
        text = "".join(traceback.format_exception(error)).rstrip()
    elif isinstance(error, Error):
        text = f"rex: {error}"
    elif isinstance(error, OSError):  # from the command's own files
        text = f"rex: Cannot read or write a file:\n    {error}"
    else:
        text = f"rex: Unexpected {type(error).__name__}: {error} (traceback: rex --traceback …)"
    text = "\n".join(map(printable, text.split("\n")))
    configuration = ctx.find_object(Configuration)
    click.echo(text if configuration is None else configuration.mask(text), err=True)
    if isinstance(error, Error):
        return EXIT_CODES[error.kind]
    return EXIT_CODES[Kind.DENIED if isinstance(error, OSError) else Kind.INTERNAL]


def _find_owner(command: str | None) -> str | None:
    """Return the name of the package that has a command; search only for those of others."""
    given = str(command)
    return _mount(packages.OWN).get(given) or _mount(packages.find_installed()).get(given)


def _mount(names: Iterable[str]) -> dict[str, str]:
    """Return package names by command; on a collision, the first package has the short name."""
    mounted: dict[str, str] = {}
    for name in names:
        short = name.rpartition(".")[2]
        mounted[name if short in mounted or short in root.lazy else short] = name
    return mounted


def _import_command(package: packages.Package) -> click.Command | None:
    if package.commands is None:
        return None
    module, _, attribute = package.commands.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        reason = f"{package.commands}\n{type(error).__name__}: {error}"
        raise Error("Cannot import the commands", reason, kind=Kind.CONFIGURATION) from error
    if not isinstance(command, click.Command):
        reason = f"{package.commands} is {command!r}"
        raise Error("Commands must be a click command", reason, kind=Kind.CONFIGURATION)
    return command


def _make_failing(name: str, error: Error) -> click.Command:
    """Return a replacement for a command that cannot be imported: it always raises the error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    anything = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(
        name,
        callback=fail,
        params=[anything],
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - the signature of click
    if value:
        click.echo(f"rex {__version__}")
        ctx.exit()


_CODES = {0: "success", USAGE: "wrong usage", INTERRUPTED: "Ctrl-C"} | {
    code: kind.value for kind, code in EXIT_CODES.items()
}

_HELP = f"""Run and inspect applications built from packages.

The value of a setting comes from the first of: --set NAME=VALUE; the environment variable
with the setting's name in upper case; the table [settings] of {DEFAULT_FILE}. An empty value
counts as not set. Secrets are safer in the environment than in --set.

\b
Examples:
  rex settings
  rex --set attach_dir=/srv/attachments attach ls
  ATTACH_DIR=/srv/attachments rex attach add scan.png
  rex --config /etc/rex.toml settings --json

\b
{DEFAULT_FILE}:
  packages = ["rex.attach_demo"]
\b
  [settings]
  attach_dir = "/srv/attachments"
"""


@click.group(
    cls=_Root,
    lazy={
        "completion": "rex.core.completion_command:completion",
        "serve": "rex.core.serve_command:serve",
        "settings": "rex.core.settings_command:settings",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_HELP,
    epilog="Exit codes: "
    + ", ".join(f"{code} {meaning}" for code, meaning in sorted(_CODES.items()))
    + ".",
)
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a setting.")
@click.option("--config", metavar="FILE", help=f"Configuration file (default: ./{DEFAULT_FILE}).")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def root(
    ctx: click.Context,
    overrides: tuple[str, ...],
    config: str | None,
    traceback: bool,  # noqa: ARG001, FBT001 - read by `_report`; the signature of click
) -> None:
    """Run the command `rex`."""
    ctx.obj = Configuration(overrides, config)
    ctx.with_resource(show_warnings())


def embed(program: str, configuration: Configuration) -> click.Group:
    """Return a group with the commands of packages, for the command line of another program.

    The configuration is that of the program. Errors are reported as by `rex`.
    """
    shown = click.Option(["--traceback"], is_flag=True, help="Show the traceback of an error.")
    return _Root(program, params=[shown], context_settings={"obj": configuration})
