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

__all__ = ["ByteQueue", "InOrder", "cut", "send_concurrently"]

T = TypeVar("T")

SMALL = 64 * 1024
"""Chunks with fewer bytes are put together when they arrive."""


class ByteQueue:
    """Bytes that arrive in chunks and leave in parts: each is copied once, into its part.

    A `bytearray` of the size of a part is copied again and again while it grows.
    """

    def __init__(self, first: bytes = b"") -> None:
        self.size = 0
        """The number of bytes."""
        self._chunks: collections.deque[bytes | memoryview] = collections.deque()
        self._small = bytearray()
        self.add(first)

    def add(self, chunk: bytes | memoryview) -> None:
        """Add bytes at the end, which must not change any more."""
        self.size += len(chunk)
        if len(chunk) >= SMALL:
            self._end_small()
            self._chunks.append(chunk)
            return
        self._small += chunk
        if len(self._small) >= SMALL:
            self._end_small()

    def take(self, size: int) -> bytes:
        """Remove the first `size` bytes, of which there are as many, and return them."""
        self._end_small()
        self.size -= size
        part = []
        while size:
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                view = memoryview(chunk)
                self._chunks.appendleft(view[size:])
                chunk = view[:size]
            part.append(chunk)
            size -= len(chunk)
        return b"".join(part)

    def _end_small(self) -> None:
        if self._small:
            self._chunks.append(bytes(self._small))
            self._small.clear()


def cut(content: Content) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of `PART_SIZE`, and whether each is the last.

    The last one may be smaller; it is empty only if the content is.
    """
    data = ByteQueue()
    for chunk in content:
        data.add(chunk)
        while data.size > PART_SIZE:
            yield data.take(PART_SIZE), False
    yield data.take(data.size), True


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
        self._unsent: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Begin to send a part after the last one. Errors: that of the last one."""
        self._unsent.append(data)
        self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "rex.attach.part")
        self._sending = self._pool.submit(self._send, self._state, data)

    def wait(self) -> T:
        """Wait for the last part; return the state. Errors: that of the last part."""
        if self._sending is not None:
            self._state = self._sending.result()
            self._sending = None
            del self._unsent[0]
        return self._state

    def close(self) -> tuple[T, bytes]:
        """Wait for the last part; return the state, and the bytes that could not be sent."""
        with suppress(Exception):  # the caller has it from `wait`, or another one
            self.wait()
        if self._pool is not None:
            self._pool.shutdown()
        return self._state, b"".join(self._unsent)


def _cut(content: Content, size: int) -> Iterator[bytes]:
    data = ByteQueue()
    for chunk in content:
        data.add(chunk)
        while data.size >= size:
            yield data.take(size)
    if data.size:
        yield data.take(data.size)
