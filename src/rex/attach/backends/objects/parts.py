"""Large content in parts: cut in the caller's thread, sent by a few threads."""

from __future__ import annotations

import collections
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from rex.attach.backends.objects.objects import PART_SIZE, PARTS_IN_FLIGHT, part_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.content.content import Content

__all__ = ["cut", "send_concurrently"]

T = TypeVar("T")


def cut(content: Content) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of `PART_SIZE`, and whether each is the last.

    The last one may be smaller; it is empty only if the content is.
    """
    data = bytearray()
    for chunk in content:
        data += chunk
        while len(data) > PART_SIZE:
            yield bytes(data[:PART_SIZE]), False
            del data[:PART_SIZE]
    yield bytes(data), True


def send_concurrently(content: Content, send: Callable[[int, int, bytes], T]) -> list[T]:
    """Call `send` with the number (from 1), offset and bytes of each part; return the results.

    A few calls run concurrently, each in a thread of its own; the content is read in the thread of
    the caller. The first failure, also one of the content, cancels what has not begun.
    """
    sent: list[T] = []
    with ThreadPoolExecutor(PARTS_IN_FLIGHT, "rex.attach.parts") as pool:
        in_flight: collections.deque[Future[T]] = collections.deque()
        offset = 0
        try:
            for number, data in enumerate(_cut(content, part_size(content)), 1):
                if len(in_flight) == PARTS_IN_FLIGHT:
                    sent.append(in_flight.popleft().result())
                in_flight.append(pool.submit(send, number, offset, data))
                offset += len(data)
            sent += [part.result() for part in in_flight]
        finally:
            pool.shutdown(cancel_futures=True)
    return sent


def _cut(content: Content, size: int) -> Iterator[bytes]:
    data = bytearray()
    for chunk in content:
        data += chunk
        while len(data) >= size:
            yield bytes(data[:size])
            del data[:size]
    if data:
        yield bytes(data)
