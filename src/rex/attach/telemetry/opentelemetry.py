"""The verbs as spans and metrics of OpenTelemetry, where somebody has set that up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Status, StatusCode

from rex.attach.telemetry.operation import BUCKETS, NOT_FOUND, OK
from rex.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context

    from rex.attach.telemetry.operation import Direction, Operation

__all__ = ["Begun", "begin", "meters"]

P = TypeVar("P")
T = TypeVar("T")

SCOPE = "rex.attach"
_IDLE = ("opentelemetry.trace", "opentelemetry.metrics")
"""Where the providers stand that do nothing; neither their classes nor a check are public."""
LASTING = frozenset(("list", "multipart.parts"))
"""The verbs that go on when they have returned; the caller's other spans are none of theirs."""


class Begun(NamedTuple):
    """The span of a verb under way."""

    span: trace.Span
    token: Token[Context] | None
    """What ends its being the current one, where it is."""

    def end(self, op: Operation, outcome: str) -> None:
        """End the span; what comes out of the verb is told by its kind only."""
        span = self.span
        if span.is_recording():
            if op.handle is not None:
                span.set_attribute("rex.attach.handle", op.handle)
            if op.size is not None:
                span.set_attribute("rex.attach.size", op.size)
            span.set_attribute("rex.attach.outcome", outcome)
            if outcome != OK:
                span.set_attribute("error.type", outcome)
                if outcome != NOT_FOUND:  # which may be all that was asked
                    span.set_status(Status(StatusCode.ERROR))
        self.drop()
        span.end()

    def drop(self) -> None:
        """Let it be the current one no longer; as it does not end, nobody hears of it."""
        if self.token is not None:
            context.detach(self.token)


class Meters:
    """The instruments of one provider."""

    def __init__(self, provider: metrics.MeterProvider) -> None:
        meter = provider.get_meter(SCOPE, __version__)
        self._duration = meter.create_histogram(
            "rex.attach.operation.duration",
            unit="s",
            description="Duration of the verbs of attachment storages.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._io = meter.create_counter(
            "rex.attach.io", unit="By", description="Bytes of attachments stored and read."
        )

    def count_operation(self, name: str, outcome: str, seconds: float) -> None:
        """Count a verb."""
        attributes = {"rex.attach.operation": name, "rex.attach.outcome": outcome}
        self._duration.record(seconds, attributes)

    def count_bytes(self, direction: Direction, size: int) -> None:
        """Count bytes."""
        self._io.add(size, {"rex.attach.direction": direction})


class _Provided(Generic[P, T]):
    """What is made of the provider that is set up, made anew for another one."""

    def __init__(self, provider: Callable[[], P], make: Callable[[P], T]) -> None:
        self._provider = provider
        self._make = make
        self._made: tuple[P | None, T | None] = (None, None)

    def current(self) -> T | None:
        """Give it, or None as long as there are only the providers of the API, which do nothing."""
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


def begin(op: Operation) -> Begun | None:
    """Begin the span of a verb, or give None while nobody has set up tracing."""
    tracer = _tracers.current()
    if tracer is None:
        return None
    kind = type(op.storage).__name__
    span = tracer.start_span(f"{SCOPE}.{op.name}", attributes={"rex.attach.storage": kind})
    if op.name in LASTING:
        return Begun(span, None)
    return Begun(span, context.attach(trace.set_span_in_context(span)))


def meters() -> Meters | None:
    """Give what counts, or None while nobody has set up metrics."""
    return _meters.current()
