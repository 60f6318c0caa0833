"""Content on its way into a library that takes it from an iterator.

obstore asks for each chunk from within its own runtime, where nothing may wait for obstore: content
that is itself read from a server would. So the library runs in a thread of its own, asks, and the
thread that has the content answers.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

__all__ = ["feed"]

Chunk: TypeAlias = "bytes | memoryview"


class _Asked(Iterator[Chunk]):
    """What the library takes: each chunk is asked for, and waited for."""

    def __init__(self) -> None:
        self.wanted = threading.Semaphore(0)
        self.given: queue.SimpleQueue[Chunk | BaseException | None] = queue.SimpleQueue()

    def __next__(self) -> Chunk:
        self.wanted.release()
        given = self.given.get()
        if given is None:
            raise StopIteration
        if isinstance(given, BaseException):
            raise given
        return given


def feed(content: Iterator[Chunk], take: Callable[[Iterator[Chunk]], object]) -> None:
    """Have `take` consume the content, which is read in the thread that calls this.

    What the content raises, `take` gets; what `take` raises comes out.
    """
    asked = _Asked()
    call: concurrent.futures.Future[object] = concurrent.futures.Future()

    def run() -> None:
        try:
            call.set_result(take(asked))
        except BaseException as failure:  # noqa: BLE001 - it comes out of the future again
            call.set_exception(failure)
        asked.wanted.release()

    thread = threading.Thread(target=run, name="rex.attach.feed", daemon=True)
    thread.start()
    try:
        while asked.wanted.acquire() and not call.done():
            asked.given.put(_next(content))
    except BaseException as failure:
        asked.given.put(failure)
        thread.join()
        raise
    call.result()


def _next(content: Iterator[Chunk]) -> Chunk | BaseException | None:
    try:
        return next(content, None)
    except Exception as failure:  # noqa: BLE001 - it is raised where the chunk was asked for
        return failure
