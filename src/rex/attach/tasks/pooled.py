"""Many calls at once, whose results come as they are done."""

from __future__ import annotations

import concurrent.futures
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
    waiting: set[concurrent.futures.Future[T]] = set()
    try:
        for item in items:
            waiting.add(pool.submit(call, item))
            if len(waiting) >= workers * WAITING:
                done, waiting = concurrent.futures.wait(
                    waiting, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    yield future.result()
        for future in concurrent.futures.as_completed(waiting):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
