"""An event loop in which minutes pass at once."""

from __future__ import annotations

import asyncio
import selectors


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop that does not wait for its timers: its clock goes on to the next one."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Tell the virtual time, in seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let some time pass."""
        self._now += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(None if timeout is None else 0)
        if not found and timeout is not None:
            self._loop.jump(timeout)
        return found
