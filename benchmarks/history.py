"""The history of full runs: a row in ``history.jsonl`` for each, and their plot.

A row has the day, the commit, facts of the machine, and each ratio with its goal. Runs on different
machines are comparable only so far: a ratio is against others on the same machine.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from measure import Figure

__all__ = ["PATH", "append", "draw_history", "read", "row_of"]

PATH = Path(__file__).with_name("history.jsonl")
ROOT = Path(__file__).parents[1]


def row_of(figures: Mapping[str, Sequence[Figure]], machine: str) -> dict[str, Any]:
    """Return the row of a run: figures by the names of their modules."""
    return {
        "day": str(datetime.date.today()),  # noqa: DTZ011 - the local day
        "commit": _commit(),
        "machine": machine,
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "ratios": [
            {
                "module": module,
                "case": figure.case,
                "peer": figure.peer,
                "median": float(f"{figure.median:.4g}"),
                "unit": figure.unit,
                "goal": figure.goal,
                "sense": figure.sense,
            }
            for module, found in figures.items()
            for figure in found
        ],
    }


def append(row: Mapping[str, Any], path: Path = PATH) -> None:
    """Add a row to the history."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path = PATH) -> list[dict[str, Any]]:
    """Return the rows of the history, the oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def margins(row: Mapping[str, Any]) -> dict[str, float]:
    """Return for each module how much better than its goals a run was; 1 is exactly met.

    It is the geometric mean over the module's ratios that have a goal.
    """
    found: dict[str, list[float]] = {}
    for ratio in row["ratios"]:
        goal, median = ratio["goal"], ratio["median"]
        if goal and median and ratio["unit"] == "times":
            better = goal / median if ratio["sense"] == "at most" else median / goal
            found.setdefault(ratio["module"], []).append(math.log(better))
    return {name: math.exp(sum(logs) / len(logs)) for name, logs in found.items()}


def draw_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the margins of all runs."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "rex"
    import matplotlib.pyplot as plt

    of_runs = [margins(row) for row in rows]
    figure, axes = plt.subplots(figsize=(7, 4))
    places = range(len(rows))
    for name in sorted({name for each in of_runs for name in each}):
        axes.plot(places, [each.get(name) for each in of_runs], marker="o", label=name)
    axes.axhline(1, color="grey", linestyle="--", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks([*places])
    axes.set_xticklabels([f"{row['day']}\n{row['commit'][:7]}" for row in rows])
    axes.set_title("Runs so far: how much better than the goals")
    axes.set_ylabel("times (dashed: the goal)")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _commit() -> str:
    """Return the commit that is measured, with + if files differ from it; empty without git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
