"""What a package brings to an application, and how names become packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rex.core.error import Error, Kind
from rex.core.setting import Setting, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import EntryPoint

    from rex.core.application import Rex

__all__ = ["GROUP", "Package", "collect_settings", "find_installed", "load", "resolve"]

GROUP = "rex.packages"
"""The entry-point group that installed packages are found through."""


class Package(NamedTuple):
    """A unit that an application is assembled from; it cannot be changed.

    A module holds it as an object, and the distribution names that object in the entry-point
    group `rex.packages`, under the package's own name.
    """

    name: str
    """What applications call it, as in ``Rex("rex.attach")``."""
    requires: tuple[str, ...] = ()
    """The names of the packages that it builds on; they start before it."""
    settings: tuple[Setting[Any], ...] = ()
    """The settings that it declares."""
    start: Callable[[Rex], None] | None = None
    """The start-up check: called with the application, raises if that is configured wrongly."""
    commands: str | None = None
    """``module:object`` of a click command, mounted on `rex` under the name's last part."""
    routes: str | None = None
    """``module:object`` of its HTTP routes."""
    metrics: str | None = None
    """``module:function`` that adds its metrics to prometheus_client's registry; `rex serve
    --metrics` calls it once in each of its processes."""
    tables: tuple[str, ...] = ()
    """The tables of `rex.toml` that its commands read, beside ``[settings]``."""
    help: str = ""
    """One line for people."""
    is_example: bool = False
    """Whether `rex serve` serves it only where somebody names it."""


def resolve(packages: Iterable[str | Package]) -> tuple[Package, ...]:
    """Return the packages with all that they require, what is required first.

    A name is looked for among the packages given as objects, then among the installed ones. An
    `Error` (`CONFIGURATION`) tells of no package at all, an unknown or a broken one, two under
    one name, and requirements that form a cycle.
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
    """Add a package to the resolved ones after what it requires; `path` is who asked for it."""
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


def find_installed() -> dict[str, EntryPoint]:
    """Find the packages that installed distributions declare, by name, without importing them."""
    # importlib.metadata takes longer to import than all of the core.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}


def load(name: str) -> Package:
    """Import an installed package.

    An `Error` (`CONFIGURATION`) tells of a name that is not installed, of a module that
    cannot be imported, and of an object that is not a `Package` of this name.
    """
    entries = find_installed()
    if name not in entries:
        raise Error(
            "No such package",
            f"{name}{did_you_mean(name, entries)}\ninstalled: {', '.join(entries) or 'none'}",
            kind=Kind.CONFIGURATION,
            code="missing-package",
        )
    entry = entries[name]
    try:
        package = entry.load()
    except Exception as error:
        reason = f"{name} ({entry.value})\n{type(error).__name__}: {error}"
        raise Error("Package cannot be imported", reason, kind=Kind.CONFIGURATION) from error
    if not isinstance(package, Package) or package.name != name:
        raise Error(
            f"This is not the package {name}",
            f"{entry.value} is {package!r}",
            kind=Kind.CONFIGURATION,
        )
    return package


def collect_settings(packages: Iterable[Package]) -> tuple[Setting[Any], ...]:
    """Return the settings of the packages; an `Error` tells of two that share a name."""
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
