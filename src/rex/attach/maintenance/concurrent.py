"""Many calls at once, whose results come as they are done."""

from __future__ import annotations

import collections
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

__all__ = ["map_concurrently"]

A = TypeVar("A")
T = TypeVar("T")

WAITING = 4
"""How many items for each worker are taken from the iterable before their turn."""

SECONDS = 0.1
"""The longest that a result lies about."""


def map_concurrently(
    call: Callable[[A], T], items: Iterable[A], workers: int
) -> Generator[T, None, None]:
    """Call for each item in one of so many threads; give what comes out, in no order.

    No more items are taken than are worked on soon. What a call raises comes out here, and so does
    what the items raise; then, and when the caller gives up, no other call is begun, and those that
    have begun are waited for.
    """
    results = _Results(call)
    pool = ThreadPoolExecutor(workers, "rex.attach.maintenance")
    try:
        for item in items:
            results.awaited += 1
            pool.submit(results.make, item)
            while results.awaited >= workers * WAITING:
                yield from results.take()
        while results.awaited:
            yield from results.take()
    finally:
        pool.shutdown(cancel_futures=True)


class _Results(Generic[A, T]):
    """What comes out of the calls, taken in bunches: to be woken for each would take a while."""

    def __init__(self, call: Callable[[A], T]) -> None:
        self.awaited = 0
        """The items of which nothing has been taken."""
        self._call = call
        self._made: collections.deque[tuple[T] | BaseException] = collections.deque()
        self._are_many = threading.Event()

    def make(self, item: A) -> None:
        """Call, in one of the threads."""
        try:
            self._made.append((self._call(item),))
        except BaseException as failure:  # noqa: BLE001 - it is raised where it is taken
            self._made.append(failure)
        if len(self._made) * 2 >= self.awaited:
            self._are_many.set()

    def take(self) -> Iterator[T]:
        """Wait a moment, or until there are many; give what there is."""
        self._are_many.wait(SECONDS)
        self._are_many.clear()
        while self._made:
            result = self._made.popleft()
            self.awaited -= 1
            if isinstance(result, BaseException):
                raise result
            yield result[0]
