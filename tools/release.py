"""What a release needs beside wheel and sdist: ``python tools/release.py notes|sbom``.

``notes VERSION`` prints the section of CHANGELOG.md. ``sbom WHEEL FILE`` writes a bill of materials
(CycloneDX) of the wheel with all extras for users: the Python packages of constraints.txt, and what
is in the script of the demo page.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from urllib.parse import quote

from check_release import ROOT, extras, run, strip_hashes

LICENCES = "rex/attach_demo/static/uppy.js.LICENSES.txt"
"""Lists the packages in the script of the demo page."""


def main() -> int:
    """Run a command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    told = commands.add_parser("notes", help="print the changes of a version, for the release")
    told.add_argument("version")
    made = commands.add_parser("sbom", help="write a bill of materials (CycloneDX, JSON)")
    made.add_argument("wheel", type=Path)
    made.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "sbom":
        write_sbom(options.wheel, options.file)
        return 0
    text = notes((ROOT / "CHANGELOG.md").read_text("utf-8"), options.version)
    if text is None:
        parser.error(f"CHANGELOG.md has no section of this version: {options.version}")
    sys.stdout.write(text)
    return 0


def notes(changelog: str, version: str) -> str | None:
    """Return the section of a version, without its heading; None if there is none."""
    pattern = rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)"
    found = re.search(pattern, changelog, re.MULTILINE | re.DOTALL)
    return None if found is None else f"{found[1].strip()}\n"


def write_sbom(wheel: Path, file: Path) -> None:
    """Install the wheel with all extras, and describe the environment and the demo page."""
    with tempfile.TemporaryDirectory(prefix="rex-sbom-") as directory:
        installed, tools = Path(directory, "installed"), Path(directory, "tools")
        for place in (installed, tools):
            venv.create(place)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python")
        pins = strip_hashes("newest", Path(directory))
        wanted = f"{wheel}[{','.join(extras())}]"
        run(*pip, installed / "bin/python", "install", "--constraint", pins, wanted)
        locked = ROOT / "tools" / "release.txt"
        run(*pip, tools / "bin/python", "install", "--require-hashes", "-r", locked)
        command = (tools / "bin/cyclonedx-py", "environment", "--output-reproducible")
        done = run(*command, installed / "bin/python")
    bom = json.loads(done.stdout)
    for component in bom["components"]:  # where the wheel was is of no use to others
        references = component.get("externalReferences", [])
        references[:] = [each for each in references if not each["url"].startswith("file:")]
    bom["components"] += packed(wheel)
    file.write_text(json.dumps(bom, indent=1), "utf-8")
    sys.stdout.write(f"{file}: {len(bom['components'])} components\n")


def packed(wheel: Path) -> list[dict[str, str]]:
    """Return the packages in the script of the demo page as components."""
    text = zipfile.ZipFile(wheel).read(LICENCES).decode()
    found = re.findall(r"^== (\S+) (\S+)$", text, re.MULTILINE)
    return [
        {
            "type": "library",
            "bom-ref": f"{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:npm/{quote(name, safe='/')}@{version}",
        }
        for name, version in found
    ]


if __name__ == "__main__":
    sys.exit(main())
