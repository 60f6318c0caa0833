"""A pump of content into a library that consumes an iterator.

obstore requests each chunk from within its own runtime, where waiting for obstore would be a
deadlock: content that is itself read from a server waits so. The library therefore runs in a thread
of its own, and the thread that has the content supplies the chunks.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

__all__ = ["feed"]

Chunk: TypeAlias = "bytes | memoryview"


class _Chunks(Iterator[Chunk]):
    """The iterator that the library consumes: it requests each chunk and waits for the chunk."""

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
    """Call `take` with the content in another thread; read the content in this thread.

    Exceptions of the content are raised in `take`, and exceptions of `take` here.
    """
    chunks = _Chunks()
    call: concurrent.futures.Future[object] = concurrent.futures.Future()

    def run() -> None:
        try:
            call.set_result(take(chunks))
        except BaseException as failure:  # noqa: BLE001 - the future raises it again
            call.set_exception(failure)
        chunks.wanted.release()

    thread = threading.Thread(target=run, name="rex.attach.feed", daemon=True)
    thread.start()
    try:
        while chunks.wanted.acquire() and not call.done():
            chunks.given.put(_next(content))
    except BaseException as failure:
        chunks.given.put(failure)
        thread.join()
        raise
    call.result()


def _next(content: Iterator[Chunk]) -> Chunk | BaseException | None:
    try:
        return next(content, None)
    except Exception as failure:  # noqa: BLE001 - `_Chunks` raises it
        return failure
