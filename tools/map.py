"""The map of a checkout: its folders with their roles, and the imports between them.

Usage: ``python tools/map.py [--root DIR] [--mermaid]``. Imports under TYPE_CHECKING count.
"""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from graph import Arrows, Imports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["draw", "list_arrows", "list_folders", "main"]


def list_folders(source: Path) -> Iterator[str]:
    """Yield a line for each package: its path, and the first sentence of its docstring."""
    inits = sorted(source.glob("rex/**/__init__.py"))
    roles = {init.parent.relative_to(source).as_posix(): _read_role(init) for init in inits}
    width = max(map(len, roles), default=0)
    yield from (f"{path:{width}}  {role}".rstrip() for path, role in roles.items())


def _read_role(init: Path) -> str:
    words = " ".join((ast.get_docstring(ast.parse(init.read_text("utf-8"))) or "").split())
    return re.split(r"(?<=[.!?]) ", words, maxsplit=1)[0]


def list_arrows(arrows: Arrows) -> Iterator[str]:
    """Yield a line for each package that imports others."""
    width = max(map(len, arrows), default=0)
    for package, imported in sorted(arrows.items()):
        if imported:
            yield f"{package:{width}} -> {', '.join(sorted(imported))}"


def draw(arrows: Arrows) -> Iterator[str]:
    """Yield the lines of a flowchart in Mermaid."""
    yield "flowchart TD"
    for package in sorted(arrows):
        yield f'    {package.replace(".", "_")}["{package}"]'
    for package, imported in sorted(arrows.items()):
        for other in sorted(imported):
            yield f"    {package.replace('.', '_')} --> {other.replace('.', '_')}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the map of a checkout."""
    parser = argparse.ArgumentParser(description="Print the folders and the arrows between them.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="checkout")
    parser.add_argument("--mermaid", action="store_true", help="print a Mermaid flowchart")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    imports = Imports.read(root, typing=True)
    arrows = imports.group(imports.get_package)
    if options.mermaid:
        print(*draw(arrows), sep="\n")
    else:
        print(*list_folders(root / "src"), "", *list_arrows(arrows), sep="\n")


if __name__ == "__main__":
    main()
