"""How things are compared: by turns, several times, as ratios; the machine may have other work."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OURS", "Figure", "compare", "progress", "spread"]

OURS = "rex.attach"
"""The name of ours among the contestants."""

Sense = Literal["at most", "at least"]


class Figure(NamedTuple):
    """One line of the table: what was measured, against whom, and the goal."""

    case: str
    peer: str
    values: tuple[float, ...]
    """One for each round."""
    goal: float | None = None
    sense: Sense = "at most"
    unit: str = "times"
    note: str = ""
    """The figures behind it, for people."""

    @property
    def median(self) -> float:
        """What to quote."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.median <= self.goal if self.sense == "at most" else self.median >= self.goal


def compare(
    case: str,
    contestants: Mapping[str, Callable[[], object]],
    goals: Mapping[str, float | None],
    *,
    rounds: int,
    number: int = 1,
    sense: Sense = "at most",
    clock: Callable[[], float] = time.perf_counter,
    prepare: Callable[[], object] = lambda: None,
    warm_up: bool = True,
) -> list[Figure]:
    """Let all do the same thing `number` times by turns, `rounds` times; compare ours with each.

    A value is our time through theirs (`at most`), or our rate through theirs (`at least`). What
    `prepare` does before each turn is not counted. With `warm_up`, all do it once before.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = [*contestants]
    for act in contestants.values() if warm_up else ():  # connections, imports, caches
        prepare()
        act()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            act = contestants[name]
            prepare()
            gc.collect()
            gc.disable()
            began = clock()
            for _ in range(number):
                act()
            times[name].append((clock() - began) / number)
            gc.enable()
        progress(f"{case}: round {turn + 1} of {rounds}")
    ours = times[OURS]
    figures = []
    for name, goal in goals.items():
        pairs = zip(ours, times[name], strict=True)
        values = [mine / its if sense == "at most" else its / mine for mine, its in pairs]
        note = f"{show(ours)} to {show(times[name])}"
        figures.append(Figure(case, name, tuple(values), goal, sense, note=note))
    return figures


def show(times: list[float]) -> str:
    """Give the median of some seconds in words."""
    seconds = statistics.median(times)
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def spread(values: tuple[float, ...]) -> str:
    """Give the least and the greatest."""
    return f"{min(values):.3g} to {max(values):.3g}"


def progress(text: str) -> None:
    """Say what is being done, on a terminal over the last line."""
    import sys

    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()
