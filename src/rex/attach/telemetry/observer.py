"""What records operations: the observers, and what they see of an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from rex.core import Kind

if TYPE_CHECKING:
    Direction = Literal["in", "out"]

__all__ = ["BUCKETS", "NOT_FOUND", "OK", "Observer", "Running", "observers"]

OK = "ok"
NOT_FOUND = Kind.NOT_FOUND.value

_MILLISECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)
BUCKETS = (*(bound / 1000 for bound in _MILLISECONDS), 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Bucket bounds of durations in seconds, from an access to memory to a slow upload."""


class Running(Protocol):
    """An operation, as a span sees it."""

    name: str
    storage: object
    handle: str | None
    size: int | None


class Observer(Protocol):
    """A collector of metrics, called in the thread of the operation."""

    def count_operation(self, name: str, outcome: str, seconds: float) -> None:
        """Record the duration and outcome of an operation."""

    def count_bytes(self, direction: Direction, size: int) -> None:
        """Count bytes stored or read."""


observers: list[Observer] = []
"""Registered observers; OpenTelemetry is detected automatically."""
