"""Operations as metrics of Prometheus, for `rex serve --metrics`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from rex.attach.telemetry.observer import BUCKETS, observers

if TYPE_CHECKING:
    from rex.attach.telemetry.observer import Direction

__all__ = ["watch"]


@functools.cache
def watch() -> None:
    """Start recording the operations of all storages of this process."""
    observers.append(_Metrics())


class _Metrics:
    """The metrics in prometheus_client's own registry."""

    def __init__(self) -> None:
        self._duration = Histogram(
            "rex_attach_operation_duration_seconds",
            "Duration of the operations of attachment storages.",
            ("operation", "outcome"),
            buckets=BUCKETS,
        )
        self._bytes = Counter(
            "rex_attach_bytes",
            "Bytes of attachments stored (in) and read (out).",
            ("direction",),
        )

    def count_operation(self, name: str, outcome: str, seconds: float) -> None:
        """Record the duration and outcome of an operation."""
        self._duration.labels(name, outcome).observe(seconds)

    def count_bytes(self, direction: Direction, size: int) -> None:
        """Count bytes stored or read."""
        self._bytes.labels(direction).inc(size)
