"""Packages: the units of an application, and how to find and import them by name."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from rex.core.error import Error, Kind
from rex.core.setting import Setting, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rex.core.application import Rex
    from rex.core.setting import Settings

__all__ = ["GROUP", "OWN", "Package", "collect_settings", "find_installed", "load", "resolve"]

GROUP = "rex.packages"
"""The entry-point group of installed packages."""

OWN = {"rex.attach": "rex.attach.opening:package", "rex.attach_demo": "rex.attach_demo:package"}
"""The packages of this distribution, as in its entry points: finding them takes no search."""


class Package(NamedTuple):
    """An immutable unit of an application.

    A module defines the package as an object, and its distribution declares that object in the
    entry-point group `rex.packages` under the package's name.
    """

    name: str
    """The name that applications use, as in ``Rex("rex.attach")``."""
    requires: tuple[str, ...] = ()
    """Names of the packages that this package depends on; they start first."""
    settings: tuple[Setting[Any], ...] = ()
    """Declared settings."""
    start: Callable[[Rex], None] | None = None
    """The start-up check: called with the application, raises if its configuration is wrong."""
    commands: str | None = None
    """``module:object`` of a click command, mounted on `rex` under the name's last part."""
    routes: str | None = None
    """``module:function`` that is called with the application and returns the ASGI application of
    the package's routes."""
    metrics: str | None = None
    """``module:function`` that adds metrics to prometheus_client's registry; `rex serve --metrics`
    calls it once in each process."""
    notes: Callable[[Settings], Iterable[str]] | None = None
    """Returns what an operator should know of the settings when `rex serve` starts, in lines."""
    tables: tuple[str, ...] = ()
    """Tables of `rex.toml` that the commands read, besides ``[settings]``."""
    help: str = ""
    """One line for `rex --help`."""
    is_example: bool = False
    """Whether `rex serve` serves the package only if `rex.toml` names it."""


def resolve(packages: Iterable[str | Package]) -> tuple[Package, ...]:
    """Return the packages and all their requirements, requirements first.

    A name refers to a package given as an object, or else to an installed one.

    Errors: `CONFIGURATION` for no package, an unknown or broken package, two packages with one
    name, and a cycle of requirements.
    """
    wanted = list(packages)
    if not wanted:
        raise Error(
            "An application needs at least one package, as in Rex('rex.attach')",
            kind=Kind.CONFIGURATION,
        )
    known: dict[str, Package] = {}
    for package in wanted:
        if isinstance(package, Package) and known.setdefault(package.name, package) is not package:
            raise Error("Two packages have the same name", package.name, kind=Kind.CONFIGURATION)
    resolved: dict[str, Package] = {}
    for package in wanted:
        _visit(package if isinstance(package, str) else package.name, known, resolved, ())
    return tuple(resolved.values())


def _visit(
    name: str, known: dict[str, Package], resolved: dict[str, Package], path: tuple[str, ...]
) -> None:
    """Add a package to `resolved` after its requirements; `path` is the chain of dependents."""
    if name in resolved:
        return
    if name in path:
        cycle = " -> ".join((*path[path.index(name) :], name))
        raise Error("Packages require each other", cycle, kind=Kind.CONFIGURATION)
    try:
        package = known[name] if name in known else load(name)
    except Error as error:
        if path:
            error.wrap("Required by package", path[-1])
        raise
    for required in package.requires:
        _visit(required, known, resolved, (*path, name))
    resolved[name] = package


def find_installed() -> dict[str, str]:
    """Return ``module:object`` of all installed packages by name, without importing them.

    Our own come first, then those that other distributions declare.
    """
    # importlib.metadata takes longer to import than all of the core.
    from importlib.metadata import entry_points

    found = {
        entry.name: f"{entry.module}:{entry.attr}" for entry in sorted(entry_points(group=GROUP))
    }
    return OWN | found | OWN


def load(name: str) -> Package:
    """Import an installed package.

    Errors: `CONFIGURATION` for a name that is not installed, a module that cannot be imported,
    and an object that is not a `Package` of this name.
    """
    place = OWN.get(name) or (entries := find_installed()).get(name)
    if place is None:
        raise Error(
            "No such package",
            f"{name}{did_you_mean(name, entries)}\ninstalled: {', '.join(entries) or 'none'}",
            kind=Kind.CONFIGURATION,
            code="missing-package",
        )
    module, _, attribute = place.partition(":")
    try:
        package = attrgetter(attribute)(import_module(module))
    except Exception as error:
        reason = f"{name} ({place})\n{type(error).__name__}: {error}"
        raise Error("Cannot import the package", reason, kind=Kind.CONFIGURATION) from error
    if not isinstance(package, Package) or package.name != name:
        raise Error(
            f"Entry point is not package {name}",
            f"{place} is {package!r}",
            kind=Kind.CONFIGURATION,
        )
    return package


def collect_settings(packages: Iterable[Package]) -> tuple[Setting[Any], ...]:
    """Return the settings of the packages; two with the same name are an `Error`."""
    owners: dict[str, str] = {}
    settings: list[Setting[Any]] = []
    for package in packages:
        for setting in package.settings:
            if setting.name in owners:
                raise Error(
                    "Two packages declare the same setting",
                    f"{owners[setting.name]} and {package.name}",
                    kind=Kind.CONFIGURATION,
                    setting=setting.name,
                )
            owners[setting.name] = package.name
            settings.append(setting)
    return tuple(settings)
