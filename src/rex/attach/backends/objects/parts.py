"""Large content in parts: cut in the thread of the caller, sent by others."""

from __future__ import annotations

import collections
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from rex.attach.backends.objects.objects import PART_SIZE, PARTS_IN_FLIGHT, part_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.content.content import Content

__all__ = ["InOrder", "cut", "send_concurrently"]

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


class InOrder(Generic[T]):
    """Sends the parts of an upload one after another, each in a thread beside the caller's.

    The caller receives the next part meanwhile. `send` is called with the state of the upload and
    the bytes of a part, and returns the next state. Close it after use.
    """

    def __init__(self, state: T, send: Callable[[T, bytes], T]) -> None:
        self._state = state
        self._send = send
        self._pool: ThreadPoolExecutor | None = None
        self._sending: Future[T] | None = None
        self._unsent = b""

    def send(self, data: bytes) -> None:
        """Begin to send a part after the last one. Errors: that of the last one."""
        self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "rex.attach.part")
        self._sending = self._pool.submit(self._send, self._state, data)
        self._unsent = data

    def wait(self) -> T:
        """Wait for the last part; return the state. Errors: that of the last part."""
        if self._sending is not None:
            self._state = self._sending.result()
            self._sending, self._unsent = None, b""
        return self._state

    def close(self) -> tuple[T, bytes]:
        """Wait for the last part; return the state, and the bytes that could not be sent."""
        with suppress(Exception):  # the caller has it from `wait`, or another one
            self.wait()
        if self._pool is not None:
            self._pool.shutdown()
        return self._state, self._unsent


def _cut(content: Content, size: int) -> Iterator[bytes]:
    data = bytearray()
    for chunk in content:
        data += chunk
        while len(data) >= size:
            yield bytes(data[:size])
            del data[:size]
    if data:
        yield bytes(data)
