"""A task that a later request may interrupt, from the event loop of either."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import suppress
from typing import Any

__all__ = ["INTERRUPT_SECONDS", "Running"]

INTERRUPT_SECONDS = 10


class Running:
    """A running task; under WSGI, each request has an event loop and a thread of its own."""

    def __init__(self, task: asyncio.Future[Any]) -> None:
        self._task = task
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended.set_running_or_notify_cancel()  # those who wait cannot cancel it
        task.add_done_callback(lambda _: self._ended.set_result(None))

    async def interrupt(self) -> bool:
        """Cancel the task and wait for it; return whether it has ended in time."""
        loop = self._task.get_loop()
        if loop is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=INTERRUPT_SECONDS)
            return self._task.done()
        with suppress(RuntimeError):  # its loop is closed, so that it has ended
            loop.call_soon_threadsafe(self._task.cancel)
        await asyncio.wait({asyncio.wrap_future(self._ended)}, timeout=INTERRUPT_SECONDS)
        return self._ended.done()
