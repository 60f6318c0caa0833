"""A limit on the bytes per second, shared by threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

__all__ = ["Throttle", "Throttled"]


class Stopped(Exception):  # noqa: N818 - not an error
    """Raised in a thread whose work is no longer wanted."""


class Throttle:
    """Limits the bytes per second of all threads together, and counts the bytes.

    Without a `rate`, they are unlimited. `progress` is called with each number of bytes, in the
    thread that moves them.
    """

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._stopped = threading.Event()
        self._rate = rate
        self._clock = clock
        self._sleep = sleep or self._stopped.wait
        self._progress = progress
        self._lock = threading.Lock()
        self._free_at = clock()

    def wait_for(self, size: int) -> None:
        """Wait until the rate allows `size` more bytes; raise `Stopped` after `stop`."""
        if self._progress is not None:
            self._progress(size)
        if self._rate is not None:
            with self._lock:
                now = self._clock()
                turn = max(self._free_at, now)
                self._free_at = turn + size / self._rate
            if turn > now:
                self._sleep(turn - now)
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """End all waits and all later ones with `Stopped`."""
        self._stopped.set()


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
