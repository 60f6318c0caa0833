"""A verb under way, and whoever is told how it ends.

Whoever has not been imported cannot watch: as long as `logging` and `opentelemetry.sdk` are not in
`sys.modules`, nobody is asked whether they do. To ask OpenTelemetry alone costs more than a
microsecond where it is there and not set up.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Literal, Protocol

from rex.core import Error, Kind

if TYPE_CHECKING:
    from logging import Logger
    from types import ModuleType
    from typing import Self

    from rex.attach.content.content import Content
    from rex.attach.telemetry.opentelemetry import Begun

    Direction = Literal["in", "out"]

__all__ = [
    "BUCKETS",
    "DEBUG",
    "INFO",
    "NOT_FOUND",
    "OK",
    "Observer",
    "Operation",
    "observers",
    "report_bytes",
]

_SDK = "opentelemetry.sdk"
_modules = sys.modules
_clock = time.perf_counter

DEBUG, INFO, WARNING = 10, 20, 30  # as in `logging`, which takes a while to import

OK = "ok"
INTERRUPTED = "interrupted"
"""The outcome where the caller's own content, or whoever cancels, put an end to it."""
NOT_FOUND = Kind.NOT_FOUND.value
ILL_FORMED = Kind.ILL_FORMED.value

ALARMING = frozenset(
    kind.value
    for kind in (
        Kind.ABSENT,
        Kind.CONFIGURATION,
        Kind.CORRUPT,
        Kind.DENIED,
        Kind.INTERNAL,
        Kind.UNAVAILABLE,
    )
)
"""The outcomes that are the storage's trouble; any other the caller may have expected."""

ABOUT_CONTENT = (Kind.CORRUPT, Kind.ILL_FORMED, Kind.TOO_LARGE)
"""What may be wrong with content; whatever else it raises has happened elsewhere."""

_DONE = {"add": "added", "put": "added", "remove": "removed"}

_MILLISECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)
BUCKETS = (*(bound / 1000 for bound in _MILLISECONDS), 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""The bounds of a histogram of durations, in seconds: from memory to a patient upload."""


class Observer(Protocol):
    """Somebody who counts; is told in whichever thread it happens."""

    def count_operation(self, name: str, outcome: str, seconds: float) -> None:
        """Take note of a verb that has ended."""

    def count_bytes(self, direction: Direction, size: int) -> None:
        """Take note of bytes that were stored, or read."""


observers: list[Observer] = []
"""Those who asked to be told, besides OpenTelemetry, which is found by itself."""


class Operation:
    """A verb under way: ``with Watched("remove", storage, handle, INFO) as seen``.

    `level` is that of the log where it succeeds. Its outcome is ``ok``, the kind of the `Error`
    that comes out of it, or ``interrupted`` where the caller's own doing ended it. While nobody
    watches, this costs well under a microsecond.
    """

    # Defaults, which cost nothing where they stay; for the same reason there are no slots.
    size: int | None = None
    """The bytes that it is about, where that is known."""
    content: Content | None = None
    """What it stores."""
    discard = False
    """Whether nobody needs to know, since it did nothing and another verb follows."""
    _span: Begun | None = None

    def __init__(
        self, name: str, storage: object, handle: str | None = None, level: int = DEBUG
    ) -> None:
        self.name = name
        self.storage = storage
        self.handle = handle
        """Told to nobody where it may be ill-formed."""
        self.level = level

    def __enter__(self) -> Self:
        if _SDK in _modules and (telemetry := _telemetry()) is not None:
            self._span = telemetry.begin(self)
        self._began = _clock()
        return self

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> None:
        seconds = _clock() - self._began
        if (
            failure is not None
            or observers
            or _SDK in _modules
            or ("logging" in _modules and _logger().isEnabledFor(self.level))
        ):
            self._tell(failure, seconds)

    def _tell(self, failure: BaseException | None, seconds: float) -> None:
        """Tell everybody, or nobody."""
        if self.discard:
            if self._span is not None:
                self._span.drop()
            return
        outcome, level = OK, self.level
        if failure is not None and not isinstance(failure, GeneratorExit):
            is_own = self.content is not None and failure is self.content.failure
            outcome = _outcome(failure, is_own=is_own)
            level = WARNING if outcome in ALARMING and not is_own else INFO
            if outcome == ILL_FORMED:
                self.handle = None
        if self.content is not None:
            self.size = self.content.size
            report_bytes("in", self.size)
        self._log(level, outcome, seconds)
        for observer in _all_observers():
            observer.count_operation(self.name, outcome, seconds)
        if self._span is not None:  # last, so that what was told before belongs to it
            self._span.end(self, outcome)

    def _log(self, level: int, outcome: str, seconds: float) -> None:
        # The handle, which may hold blanks and commas, comes last.
        _logger().log(
            level,
            "%s%s, %.2f ms%s",
            _DONE.get(self.name, self.name) if outcome == OK else f"{self.name}: {outcome}",
            "" if self.size is None else f", {self.size} bytes",
            seconds * 1000,
            "" if self.handle is None else f": {self.handle}",
            extra={
                "operation": self.name,
                "handle": self.handle,
                "bytes": self.size,
                "duration": seconds,
                "outcome": outcome,
            },
        )


def _outcome(failure: BaseException, *, is_own: bool) -> str:
    """Name what came out of a verb; `is_own` where it came out of the caller's content first."""
    kind = failure.kind if isinstance(failure, Error) else Kind.INTERNAL
    if is_own:
        return kind.value if kind in ABOUT_CONTENT else INTERRUPTED
    return kind.value if isinstance(failure, Exception) else INTERRUPTED


def report_bytes(direction: Direction, size: int) -> None:
    """Tell of bytes that were stored, or read."""
    if size and (observers or _SDK in _modules):
        for observer in _all_observers():
            observer.count_bytes(direction, size)


def _all_observers() -> list[Observer]:
    if _SDK in _modules and (telemetry := _telemetry()) is not None:
        meters = telemetry.meters()
        if meters is not None:
            return [*observers, meters]
    return observers


@functools.cache
def _telemetry() -> ModuleType | None:
    try:
        from rex.attach.telemetry import opentelemetry
    except Exception as failure:  # noqa: BLE001 - a verb does not fail over who watches it
        _logger().warning("OpenTelemetry cannot be used: %r", failure)
        return None
    return opentelemetry


@functools.cache
def _logger() -> Logger:
    import logging

    return logging.getLogger("rex.attach")
