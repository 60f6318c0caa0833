"""What a part of the campaign tried, and what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Tell = Callable[["Report"], object]
    """Is called with what was found so far."""

__all__ = ["Line", "Report", "table"]

MAX_TEXT = 400


@dataclass
class Line:
    """One thing that was tried, how often, and what was checked afterwards."""

    what: str
    times: int = 0
    """How many cuts, kills or faults there were."""
    operations: int = 0
    """How many operations came to an end, acknowledged or failed."""
    facts: int = 0
    """How many facts were checked afterwards."""
    violations: list[str] = field(default_factory=list)

    def fact(self, is_true: object, violation: str) -> bool:
        """Count a fact; where it is not true, the text says what was violated."""
        self.facts += 1
        if not is_true:
            self.violations.append(violation[:MAX_TEXT])
        return bool(is_true)

    def found(self, other: Line, when: str) -> None:
        """Add the facts of one try; `when` says what it was, for its violations."""
        self.times += other.times
        self.operations += other.operations
        self.facts += other.facts
        self.violations += [": ".join(filter(None, (when, each))) for each in other.violations]


class Report:
    """The lines of one part, or of several."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._lines = {line.what: line for line in lines}

    @property
    def lines(self) -> list[Line]:
        """The lines, in the order in which they were begun."""
        return [*self._lines.values()]

    @property
    def violations(self) -> list[str]:
        """All violations."""
        return [f"{line.what}: {each}" for line in self.lines for each in line.violations]

    @property
    def facts(self) -> int:
        """How many facts were checked."""
        return sum(line.facts for line in self.lines)

    def line(self, what: str) -> Line:
        """Return the line of what was tried, which may be new."""
        return self._lines.setdefault(what, Line(what))

    def merge(self, other: Report) -> None:
        """Add the lines of another report."""
        for line in other.lines:
            mine = self.line(line.what)
            mine.times += line.times
            mine.operations += line.operations
            mine.facts += line.facts
            mine.violations += line.violations

    def as_json(self) -> list[dict[str, Any]]:
        """Return the report as JSON can hold it."""
        return [asdict(line) for line in self.lines]

    @classmethod
    def from_json(cls, lines: Iterable[Mapping[str, Any]]) -> Report:
        """Read what `as_json` returned."""
        return cls(Line(**line) for line in lines)


def table(report: Report) -> str:
    """Return the report as a table, with its sum at the end."""
    total = Line("all")
    for line in report.lines:
        total.found(line, line.what)
    rows = [
        ("tried", "times", "operations", "facts", "violations"),
        *map(_row, report.lines),
        _row(total),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _row(line: Line) -> tuple[str, ...]:
    figures = (line.times, line.operations, line.facts, len(line.violations))
    return (line.what, *(f"{figure:,}" for figure in figures))
