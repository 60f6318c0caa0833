"""Concurrent calls, whose results arrive as they complete."""

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
"""Items per worker that are taken from the iterable in advance."""

SECONDS = 0.1
"""The longest time that a result waits to be taken."""


def map_concurrently(
    call: Callable[[A], T],
    items: Iterable[A],
    workers: int,
    stop: Callable[[], None] | None = None,
) -> Generator[T, None, None]:
    """Call a function for each item in a pool of threads; yield the results in any order.

    Items are taken from the iterable only shortly before their call. Exceptions of a call and of
    the iterable propagate. After an exception, and when the caller closes the generator, no
    further call begins, and the calls in progress are awaited, after `stop`. After Ctrl-C, the
    results so far are yielded before KeyboardInterrupt propagates.
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
    except KeyboardInterrupt:
        _end(pool, stop)
        yield from results.rest()
        raise
    finally:
        _end(pool, stop)


def _end(pool: ThreadPoolExecutor, stop: Callable[[], None] | None) -> None:
    if stop is not None:
        stop()
    pool.shutdown(cancel_futures=True)


class _Results(Generic[A, T]):
    """The results of the calls, taken in batches: a wake-up for each result would be slow."""

    def __init__(self, call: Callable[[A], T]) -> None:
        self.awaited = 0
        """The number of items without a taken result."""
        self._call = call
        self._made: collections.deque[tuple[T] | BaseException] = collections.deque()
        self._are_many = threading.Event()

    def make(self, item: A) -> None:
        """Call the function for an item; runs in a thread of the pool."""
        try:
            self._made.append((self._call(item),))
        except BaseException as failure:  # noqa: BLE001 - `take` raises it
            self._made.append(failure)
        if len(self._made) * 2 >= self.awaited:
            self._are_many.set()

    def rest(self) -> Iterator[T]:
        """Yield the results that `take` has not yielded, without the exceptions."""
        return (made[0] for made in self._made if isinstance(made, tuple))

    def take(self) -> Iterator[T]:
        """Wait for a batch of results, at most `SECONDS`; yield the results so far."""
        self._are_many.wait(SECONDS)
        self._are_many.clear()
        while self._made:
            result = self._made.popleft()
            self.awaited -= 1
            if isinstance(result, BaseException):
                raise result
            yield result[0]
