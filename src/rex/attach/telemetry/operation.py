"""A running operation, and the observers that record its outcome.

An observer that is not imported cannot observe: as long as `logging` and `opentelemetry.sdk` are
not in `sys.modules`, an operation does not query them. Querying OpenTelemetry alone takes more than
a microsecond if it is installed but not set up.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Protocol

from rex.attach.telemetry.observer import OK, observers
from rex.core import Error, Kind

if TYPE_CHECKING:
    from logging import Logger
    from types import ModuleType
    from typing import Self

    from rex.attach.telemetry.observer import Direction, Observer
    from rex.attach.telemetry.opentelemetry import Begun

__all__ = ["DEBUG", "INFO", "Operation", "report_bytes"]

_SDK = "opentelemetry.sdk"
_modules = sys.modules
_clock = time.perf_counter

DEBUG, INFO, WARNING = 10, 20, 30  # as in `logging`, which is slow to import

INTERRUPTED = "interrupted"
"""Outcome of an operation that the caller's content or a cancellation ended."""
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
"""Outcomes that are problems of the storage; the caller may have expected the others."""

ABOUT_CONTENT = (Kind.CORRUPT, Kind.ILL_FORMED, Kind.TOO_LARGE)
"""Kinds of errors about content; other exceptions from content originate elsewhere."""

_DONE = {"add": "added", "put": "added", "remove": "removed"}


class Counted(Protocol):
    """The content of an operation."""

    size: int
    """The bytes read from it so far."""
    failure: BaseException | None
    """The exception that came out of it."""


class Operation:
    """A running operation: ``with Operation("remove", storage, handle, INFO) as op``.

    `level` is the log level on success. The outcome is ``ok``, the kind of the raised `Error`, or
    ``interrupted`` if the caller ended the operation. Without observers, this takes well under a
    microsecond.
    """

    # Class attributes as defaults cost nothing until set; therefore there are no slots either.
    size: int | None = None
    """Number of bytes of the attachment, if known."""
    content: Counted | None = None
    """The content to store."""
    discard = False
    """Whether to record nothing: the operation did nothing, and another operation follows."""
    _span: Begun | None = None

    def __init__(
        self, name: str, storage: object, handle: str | None = None, level: int = DEBUG
    ) -> None:
        self.name = name
        self.storage = storage
        self.handle = handle
        """Not recorded if it may be ill-formed."""
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
            self._record(failure, seconds)

    def _record(self, failure: BaseException | None, seconds: float) -> None:
        """Report the outcome to the log and all observers, unless discarded."""
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
        if self._span is not None:  # last, so that the log record belongs to the span
            self._span.end(self, outcome)

    def _log(self, level: int, outcome: str, seconds: float) -> None:
        # The handle comes last, since it may contain blanks and commas.
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
    """Return the outcome of a failed operation; `is_own` if the caller's content raised first."""
    kind = failure.kind if isinstance(failure, Error) else Kind.INTERNAL
    if is_own:
        return kind.value if kind in ABOUT_CONTENT else INTERRUPTED
    return kind.value if isinstance(failure, Exception) else INTERRUPTED


def report_bytes(direction: Direction, size: int) -> None:
    """Report bytes stored or read to all observers."""
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
    except Exception as failure:  # noqa: BLE001 - telemetry must not fail an operation
        _logger().warning("Cannot use OpenTelemetry: %r", failure)
        return None
    return opentelemetry


@functools.cache
def _logger() -> Logger:
    from rex.core.log import get_logger

    return get_logger("rex.attach")
