"""Build the release, install it in clean environments, and try it: ``make release-check``.

For each Python of this machine (pyenv, PATH), at the newest and at the lowest versions of the
dependencies, without and with each extra: import every module, keep attachments in memory and in a
directory, run the doctor. With ``--quick``, only a few of these. Prints a matrix; exits with 1 if a
cell fails.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
BOUNDS = {"newest": "constraints.txt", "lowest": "constraints-lowest.txt"}
ALL = "all"
"""All extras for users at once."""
LONGEST_SECONDS = 600

SMOKE = """
import importlib, pkgutil, sys, tempfile
from pathlib import Path

extra, directory = sys.argv[1:]

# Modules whose packages an extra installs fail without it, and only then.
needs = {
    "rex.attach.django": "django", "rex.attach.fastapi": "fastapi", "rex.attach.flask": "flask",
    "rex.attach.sqlalchemy": "sql", "rex.attach.testing": "pytest", "rex_attach_pytest": "pytest",
}
missing = {}
import rex.attach, rex.attach_demo, rex.core

def walk(package):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", lambda _: None):
        yield module.name

import rex_attach_pytest
for name in ("rex_attach_pytest", *walk(rex.core), *walk(rex.attach), *walk(rex.attach_demo)):
    if name.endswith("__main__") or ".migrations" in name:
        continue
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing.setdefault((error.name or str(error)).partition(".")[0], name)
    except Exception as error:
        # Django's modules need settings.
        if type(error).__name__ not in ("ImproperlyConfigured", "AppRegistryNotReady"):
            raise
own = [name for name in missing if name.startswith("rex")]
assert not own, missing
if extra == "all":
    assert set(missing) <= {"opentelemetry", "playwright", "pytest", "requests"}, missing

from rex.attach import open_storage
for place in ("memory:", directory):
    with open_storage(place) as storage:
        if place == directory:
            storage.init()
        handle = storage.add("a.txt", b"content")
        with storage.open(handle) as stream:
            assert stream.read() == b"content"
        assert list(storage) == [handle]
        storage.remove(handle)
        assert not list(storage)
print("modules that need other packages:", ", ".join(sorted(missing)) or "none")
"""


class Cell(NamedTuple):
    """An installation to try."""

    python: Path
    bound: str
    extra: str
    """An extra, ``all``, or nothing."""


def main() -> int:
    """Try the release; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only a few cells, within a minute")
    parser.add_argument("--python", type=Path, action="append", help="an interpreter (repeatable)")
    parser.add_argument("--extra", action="append", help="an extra, 'all' or '' (repeatable)")
    parser.add_argument("--jobs", type=int, default=2, help="installations at once (default: 2)")
    parser.add_argument("--dist", type=Path, help="use the release in this folder; do not build it")
    options = parser.parse_args()
    pythons = options.python or find_pythons()
    with tempfile.TemporaryDirectory(prefix="rex-release-") as directory:
        wheel, sdist = build(Path(directory), options.dist)
        pins = {bound: strip_hashes(bound, Path(directory)) for bound in BOUNDS}
        cells = [
            cell
            for cell in choose(pythons, is_quick=options.quick)
            if options.extra is None or cell.extra in options.extra
        ]
        with ThreadPoolExecutor(options.jobs) as pool:
            trials = [
                pool.submit(try_cell, cell, wheel, pins, Path(directory, str(number)))
                for number, cell in enumerate(cells)
            ]
            source = Cell(pythons[-1], "newest", "")
            sources = pool.submit(try_cell, source, sdist, pins, Path(directory, "sdist"))
            results = {}
            try:
                for cell, trial in zip(cells, trials, strict=True):
                    results[cell] = trial.result()
                    sys.stdout.write(f"{describe(cell)}: {results[cell] or 'ok'}\n")
                    sys.stdout.flush()
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                raise
        report(results)
        problem = sources.result()
        sys.stdout.write(f"sdist on {version(source.python)}: {problem or 'ok'}\n")
    failed = sum(map(bool, results.values())) + bool(problem)
    sys.stdout.write(f"{len(results) + 1 - failed} passed, {failed} failed\n")
    return int(failed > 0)


def find_pythons() -> list[Path]:
    """Return an interpreter for each version that the project supports, the oldest first."""
    found: dict[tuple[int, ...], Path] = {}
    root = shutil.which("pyenv") and _output("pyenv", "root")
    candidates = [*Path(root).glob("versions/3.*/bin/python")] if root else []
    candidates += [Path(each) for n in range(11, 20) if (each := shutil.which(f"python3.{n}"))]
    for path in [*candidates, Path(sys.executable)]:
        done = subprocess.run([path, "-c", "import ensurepip, sys; print(*sys.version_info[:2])"],
                              capture_output=True, text=True, check=False)  # fmt: skip
        numbers = tuple(map(int, done.stdout.split()))
        if done.returncode == 0 and numbers >= (3, 11):
            found.setdefault(numbers, path)
    return [found[numbers] for numbers in sorted(found)]


def build(directory: Path, dist: Path | None) -> tuple[Path, Path]:
    """Build wheel and sdist from the sources; return both."""
    if dist is None:
        dist = directory / "dist"
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return wheel, sdist


def strip_hashes(bound: str, directory: Path) -> Path:
    """Write the pins of a lock file as constraints: pip has no hash for our own wheel."""
    text = (ROOT / BOUNDS[bound]).read_text("utf-8")
    pins = re.findall(r"^([\w.\[\]-]+==[^\\\n]+)", text, re.MULTILINE)
    path = directory / f"{bound}.txt"
    path.write_text("\n".join(pin.strip() for pin in pins), "utf-8")
    return path


def choose(pythons: Sequence[Path], *, is_quick: bool) -> list[Cell]:
    """Return the cells of the matrix."""
    if is_quick:
        ends = [Cell(pythons[0], "lowest", "web"), Cell(pythons[-1], "newest", "web")]
        return [*(Cell(python, "newest", "") for python in pythons), *ends]
    return [Cell(*each) for each in itertools.product(pythons, BOUNDS, ["", *extras(), ALL])]


def extras() -> list[str]:
    """Return the extras for users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [name for name in project["optional-dependencies"] if name != "dev"]


def try_cell(cell: Cell, release: Path, pins: dict[str, Path], place: Path) -> str:
    """Install a release and use it; return what went wrong, or nothing."""
    wanted = ",".join(extras()) if cell.extra == ALL else cell.extra
    try:
        run(cell.python, "-m", "venv", "--without-pip", place)
        python = place / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet",
             "--disable-pip-version-check", "--no-compile", "--constraint", pins[cell.bound],
             f"{release}[{wanted}]" if wanted else release)  # fmt: skip
        run(python, "-I", "-c", SMOKE, cell.extra, place / "attachments")
        if {"cli", "web", "all"} & {cell.extra} or cell.extra in ("demo", "fastapi", "flask"):
            settings = {"ATTACH_DIR": str(place / "attachments"), "PATH": os.defpath}
            run(place / "bin" / "rex", "attach", "doctor", environment=settings)
    except subprocess.CalledProcessError as error:
        return f"{error.stdout}{error.stderr}".strip()[-3000:] or str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""


def report(results: dict[Cell, str]) -> None:
    """Print the matrix."""
    columns = list(dict.fromkeys((cell.python, cell.bound) for cell in results))
    rows = list(dict.fromkeys(cell.extra for cell in results))
    width = max(map(len, rows)) + 2
    heads = [f"{version(python)} {bound}" for python, bound in columns]
    sys.stdout.write(f"{'extra':{max(width, 8)}}{'  '.join(heads)}\n")
    for extra in rows:
        signs = []
        for (python, bound), head in zip(columns, heads, strict=True):
            result = results.get(Cell(python, bound, extra))
            sign = "-" if result is None else "FAILED" if result else "ok"
            signs.append(f"{sign:{len(head)}}")
        sys.stdout.write(f"{extra or '(none)':{max(width, 8)}}{'  '.join(signs)}\n")


def describe(cell: Cell) -> str:
    """Return a cell in words."""
    return f"Python {version(cell.python)}, {cell.bound}, extra {cell.extra or '(none)'}"


def version(python: Path) -> str:
    """Return the version of an interpreter, such as 3.12."""
    return _output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


def _output(*command: object) -> str:
    return run(*command).stdout.strip()


def run(
    *command: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which must be a success; return what it printed."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True,
                          env=environment, timeout=LONGEST_SECONDS)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
