"""Many calls at once, whose results come as they are done."""

from __future__ import annotations

import concurrent.futures
import queue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = ["pooled"]

A = TypeVar("A")
T = TypeVar("T")

WAITING = 4
"""How many items for each worker are taken from the iterable before their turn."""


def pooled(call: Callable[[A], T], items: Iterable[A], workers: int) -> Generator[T, None, None]:
    """Call for each item in one of so many threads; give what comes out, in no order.

    No more items are taken than are worked on soon. What a call raises comes out here, and so does
    what the items raise; then, and when the caller gives up, no other call is begun, and those that
    have begun are waited for.
    """
    pool = concurrent.futures.ThreadPoolExecutor(workers, "rex.attach.tasks")
    done: queue.SimpleQueue[concurrent.futures.Future[T]] = queue.SimpleQueue()
    begun = 0
    try:
        for item in items:
            pool.submit(call, item).add_done_callback(done.put)
            begun += 1
            if begun >= workers * WAITING:
                yield done.get().result()
                begun -= 1
        for _ in range(begun):
            yield done.get().result()
    finally:
        pool.shutdown(cancel_futures=True)
