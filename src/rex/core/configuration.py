"""Configuration of an application from the command line, the environment and `rex.toml`."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rex.core.application import Rex
from rex.core.error import Error, Kind
from rex.core.package import collect_settings, find_installed, load, resolve
from rex.core.secret import Given
from rex.core.setting import did_you_mean, gather, validate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rex.core.package import Package
    from rex.core.setting import Gathered, Setting, Settings

__all__ = ["DEFAULT_FILE", "Configuration"]

DEFAULT_FILE = "rex.toml"
"""The default configuration file, in the current directory; optional."""

_KEYS = ("packages", "settings")


class Configuration:
    """The packages and settings of a command's application.

    `overrides` are texts ``NAME=VALUE``, or the values by name; `file` is the path of the
    configuration file, which must exist (default: `DEFAULT_FILE`, if it exists). The file is read
    on first use::

        packages = ["rex.attach_demo"]

        [settings]
        attach_dir = "/srv/attachments"
    """

    def __init__(
        self,
        overrides: Iterable[str] | Mapping[str, object] = (),
        file: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._origin = "argument" if isinstance(overrides, Mapping) else "--set"
        pairs = overrides.items() if isinstance(overrides, Mapping) else map(_split, overrides)
        self._overrides = Given(pairs)
        self._file = file
        self._environ = os.environ if environ is None else environ
        self._settings: Settings | None = None

    @functools.cached_property
    def _table(self) -> Given:
        if self._file is None and not Path(DEFAULT_FILE).exists():
            return Given()
        import tomllib

        path = self._file or DEFAULT_FILE
        try:
            table = Given(tomllib.loads(Path(path).read_text("utf-8")))
            _check(table)
        except Error as error:
            error.wrap("While reading", path)
            raise
        except (OSError, ValueError) as error:
            raise Error("Cannot read the configuration file", error, kind=Kind.CONFIGURATION).wrap(
                "While reading", path
            ) from error
        return table

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the packages in the file."""
        names: Any = self._table.get("packages", ())
        return tuple(names)

    def table(self, name: str) -> Given:
        """Return a table of the file that a package reads (`Package.tables`); empty if missing.

        Errors: `CONFIGURATION` if the value is not a table.
        """
        table: Any = self._table.get(name, {})
        if not isinstance(table, dict):
            raise Error("Wrong key", f"{name}: expected a table", kind=Kind.CONFIGURATION)
        return Given(table)

    def gather(self, settings: Iterable[Setting[Any]]) -> Gathered:
        """Collect the values of these settings; see `rex.core.setting.gather`."""
        file_values: Any = self._table.get("settings", {})
        return gather(
            settings,
            overrides=self._overrides,
            origin=self._origin,
            environ=self._environ,
            file_values=Given(file_values),
        )

    def rex(self, *packages: str | Package) -> Rex:
        """Create the application of these packages and those in the file."""
        resolved = resolve((*packages, *self.packages))
        return Rex(*resolved, **self._validate(resolved)[0].values)

    def settings(self, *packages: str) -> Settings:
        """Return the settings of that application without creating it or running its checks."""
        return self._validate(resolve((*packages, *self.packages)))[1]

    def _validate(self, resolved: tuple[Package, ...]) -> tuple[Gathered, Settings]:
        settings = collect_settings(resolved)
        gathered = self.gather(settings)
        # Rex validates them too, but only here can an error name the source of a value.
        self._settings = validate(settings, gathered.values, gathered.sources)
        return gathered, self._settings

    def mask(self, text: str) -> str:
        """Return the text with the secrets of the last application masked."""
        return text if self._settings is None else self._settings.mask(text)


def _split(override: str) -> tuple[str, str]:
    name, equals, value = override.partition("=")
    if not equals:  # without a payload: the argument may be a secret without its name
        raise Error("--set must be NAME=VALUE", kind=Kind.CONFIGURATION)
    return name.strip(), value


def _check(table: Given) -> None:
    """Raise an `Error` for an invalid key of the file, without showing a value."""
    for key in table:
        if key not in _KEYS and not any(key in load(name).tables for name in find_installed()):
            near = did_you_mean(key, _KEYS) or "; settings belong under [settings]"
            raise Error("Unknown key", f"{key}{near}", kind=Kind.CONFIGURATION)
    names, settings = table.get("packages", []), table.get("settings", {})
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Error(
            "Wrong key", "packages: expected a list of package names", kind=Kind.CONFIGURATION
        )
    if not isinstance(settings, dict):
        raise Error("Wrong key", "settings: expected a table, [settings]", kind=Kind.CONFIGURATION)
