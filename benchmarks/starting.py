"""What it takes to begin: importing ours and boto3, and the shortest command.

The limit is an empty interpreter; what is told of imports is beyond that.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Figure, progress, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench import Bench

PYTHON = sys.executable
REX = str(Path(PYTHON).with_name("rex"))


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    rex = [REX, "--set", f"attach_dir={bench.directory}", "attach"]
    _timed([*rex, "init"])
    commands = {
        "nothing": [PYTHON, "-c", "pass"],
        "ours": [PYTHON, "-c", "import rex.attach"],
        "boto3": [PYTHON, "-c", "import boto3"],
        "version": [REX, "--version"],
        "ls": [*rex, "ls"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(bench.choose(7, 15) + 1):
        for name, command in commands.items():
            seconds = _timed(command)
            if turn:  # the first reads the files
                times[name].append(seconds)
        progress(f"starting: {turn}")
    rows = [*zip(*times.values(), strict=True)]
    imports = tuple((ours - nothing) / (boto3 - nothing) for nothing, ours, boto3, *_ in rows)
    version = tuple((version - nothing) * 1000 for nothing, _, _, version, _ in rows)
    listing = tuple((listing - nothing) * 1000 for nothing, *_, listing in rows)
    beyond = [ours - nothing for nothing, ours, *_ in rows]
    boto3 = [boto3 - nothing for nothing, _, boto3, *_ in rows]
    note = f"{show(beyond)} to {show(boto3)}"
    return [
        Figure("import rex.attach", "import boto3", imports, 0.12, note=note),
        Figure("rex --version", "python -c pass", version, 80, unit="ms more"),
        Figure("rex attach ls", "python -c pass", listing, 120, unit="ms more"),
    ]


def _timed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
