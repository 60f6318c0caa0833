"""The imports of a checkout: its modules, its packages, and the arrows between them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Arrows", "Imports", "find_circles"]

Arrows = dict[str, set[str]]
"""The names that each name imports."""


@dataclass(frozen=True, slots=True)
class Imports:
    """The modules of the packages below `rex`, and what each imports from them."""

    arrows: Arrows
    packages: frozenset[str]
    """The names of the modules that are folders."""

    @classmethod
    def read(cls, root: Path, *, typing: bool) -> Imports:
        """Read the imports of a checkout, with `typing` also those under TYPE_CHECKING.

        The packages are found as Python finds them: one process must not read two checkouts.
        """
        source = root / "src"
        sys.path.insert(0, str(source))
        roots = sorted(f"rex.{init.parent.name}" for init in source.glob("rex/*/__init__.py"))
        graph = grimp.build_graph(
            roots[0], *roots[1:], exclude_type_checking_imports=not typing, cache_dir=None
        )
        arrows = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
        folders = {init.parent.relative_to(source) for init in source.rglob("__init__.py")}
        return cls(arrows, frozenset(".".join(folder.parts) for folder in folders))

    def get_package(self, module: str) -> str:
        """Return the innermost package of a module; a module next to packages is its own."""
        parent = module.rpartition(".")[0]
        is_next_to_packages = any(package.startswith(f"{parent}.") for package in self.packages)
        return module if module in self.packages or is_next_to_packages else parent

    def group(self, get_group: Callable[[str], str]) -> Arrows:
        """Return the arrows between groups of modules."""
        between: Arrows = {get_group(module): set() for module in self.arrows}
        for module, imported in self.arrows.items():
            between[get_group(module)] |= {*map(get_group, imported)} - {get_group(module)}
        return between


def find_circles(arrows: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Yield the strongly connected components of more than one name, each in order."""
    reachable = {name: _reach(arrows, name) for name in arrows}
    seen: set[str] = set()
    for name in sorted(arrows):
        circle = {other for other in reachable[name] if name in reachable.get(other, ())}
        if name not in seen and len(circle) > 1:
            yield sorted(circle)
        seen |= circle


def _reach(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    pending = [start]
    while pending:
        new = arrows.get(pending.pop(), set()) - found
        found |= new
        pending += new
    return found
