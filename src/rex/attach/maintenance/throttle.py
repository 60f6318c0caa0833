"""A limit on the bytes per second, shared by threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

__all__ = ["Throttle", "Throttled"]


class Throttle:
    """Limits the bytes per second of all threads together; unlimited without a rate."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def wait_for(self, size: int) -> None:
        """Wait until the rate allows `size` more bytes."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            turn = max(self._free_at, now)
            self._free_at = turn + size / self._rate
        if turn > now:
            self._sleep(turn - now)


class Throttled:
    """A file that is read at a throttled rate."""

    def __init__(self, file: BinaryIO, throttle: Throttle) -> None:
        self._file = file
        self._throttle = throttle

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes, then wait as the throttle demands."""
        chunk = self._file.read(size)
        self._throttle.wait_for(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)
