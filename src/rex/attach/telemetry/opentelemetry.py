"""Operations as spans and metrics of OpenTelemetry, if an SDK is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Status, StatusCode

from rex.attach.telemetry.observer import BUCKETS, NOT_FOUND, OK
from rex.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context

    from rex.attach.telemetry.observer import Direction, Running

__all__ = ["Begun", "begin", "meters"]

P = TypeVar("P")
T = TypeVar("T")

SCOPE = "rex.attach"
_IDLE = ("opentelemetry.trace", "opentelemetry.metrics")
"""Modules of the no-op providers; neither their classes nor a check for them are public."""
LASTING = frozenset(("list", "multipart.parts"))
"""Operations that return an iterator; spans started during the iteration are not their children."""


class Begun(NamedTuple):
    """The span of a running operation."""

    span: trace.Span
    token: Token[Context] | None
    """Token to detach the span from the context, if it is attached."""

    def end(self, op: Running, outcome: str) -> None:
        """End the span; an error is recorded only by its kind."""
        span = self.span
        if span.is_recording():
            if op.handle is not None:
                span.set_attribute("rex.attach.handle", op.handle)
            if op.size is not None:
                span.set_attribute("rex.attach.size", op.size)
            span.set_attribute("rex.attach.outcome", outcome)
            if outcome != OK:
                span.set_attribute("error.type", outcome)
                if outcome != NOT_FOUND:  # often the expected outcome
                    span.set_status(Status(StatusCode.ERROR))
        self.drop()
        span.end()

    def drop(self) -> None:
        """Detach the span without ending it, so that it is not exported."""
        if self.token is not None:
            context.detach(self.token)


class Meters:
    """The instruments of one provider."""

    def __init__(self, provider: metrics.MeterProvider) -> None:
        meter = provider.get_meter(SCOPE, __version__)
        self._duration = meter.create_histogram(
            "rex.attach.operation.duration",
            unit="s",
            description="Duration of the operations of attachment storages.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._io = meter.create_counter(
            "rex.attach.io", unit="By", description="Bytes of attachments stored and read."
        )

    def count_operation(self, name: str, outcome: str, seconds: float) -> None:
        """Record the duration and outcome of an operation."""
        attributes = {"rex.attach.operation": name, "rex.attach.outcome": outcome}
        self._duration.record(seconds, attributes)

    def count_bytes(self, direction: Direction, size: int) -> None:
        """Count bytes stored or read."""
        self._io.add(size, {"rex.attach.direction": direction})


class _Provided(Generic[P, T]):
    """An object made from the current provider, and again after a change of the provider."""

    def __init__(self, provider: Callable[[], P], make: Callable[[P], T]) -> None:
        self._provider = provider
        self._make = make
        self._made: tuple[P | None, T | None] = (None, None)

    def current(self) -> T | None:
        """Return the object, or None while the provider is the API's no-op provider."""
        provider = self._provider()
        made_of, made = self._made
        if provider is not made_of:
            is_idle = type(provider).__module__.startswith(_IDLE)
            made = None if is_idle else self._make(provider)
            self._made = provider, made
        return made


_tracers = _Provided(
    trace.get_tracer_provider, lambda provider: provider.get_tracer(SCOPE, __version__)
)
_meters = _Provided(metrics.get_meter_provider, Meters)


def begin(op: Running) -> Begun | None:
    """Start the span of an operation, or return None while tracing is not set up."""
    tracer = _tracers.current()
    if tracer is None:
        return None
    kind = type(op.storage).__name__
    span = tracer.start_span(f"{SCOPE}.{op.name}", attributes={"rex.attach.storage": kind})
    if op.name in LASTING:
        return Begun(span, None)
    return Begun(span, context.attach(trace.set_span_in_context(span)))


def meters() -> Meters | None:
    """Return the instruments, or None while metrics are not set up."""
    return _meters.current()
