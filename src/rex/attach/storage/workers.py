"""Worker threads, and the content that an asyncio task passes to them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rex.attach.content.content import CHUNK_SIZE

if TYPE_CHECKING:
    from rex.attach.content.content import AsyncContentSource, Chunk, ContentSource

__all__ = ["Source", "Workers", "feed_call"]

AHEAD_SIZE = 512 * 1024
"""The bytes that are joined into one chunk, and read ahead while the thread stores others."""
AHEAD_CHUNKS = 1024
AHEAD_SECONDS = 0.05
"""The longest time that bytes wait for more."""

P = ParamSpec("P")
T = TypeVar("T")


async def feed_call(
    call: concurrent.futures.Future[T],
    source: Source,
    workers: Workers,
    undo: Callable[[T], object] = bool,
) -> T:
    """Feed content to a call until the call ends; undo the call if the task is cancelled."""
    ended = asyncio.Event()
    call.add_done_callback(functools.partial(_wake, asyncio.get_running_loop(), ended))
    feeding = asyncio.ensure_future(source.feed())
    try:
        await ended.wait()
        if feeding.cancelled():  # by the content itself
            raise asyncio.CancelledError  # noqa: TRY301 - as if this task were cancelled
    except BaseException:
        if not source.has_begun:  # else the thread may keep what has arrived
            call.cancel()
        feeding.cancel()  # else the thread gets more as long as the content is faster
        source.cancel()
        await _end_of(asyncio.wrap_future(workers.submit(_undo, call, undo)))
        raise
    finally:
        feeding.cancel()
        await _end_of(feeding)
    return call.result()


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event, _: object = None) -> None:
    """Set an event of a loop, from any thread."""
    with suppress(RuntimeError):  # the loop is closed, so that no task waits
        loop.call_soon_threadsafe(event.set)


async def _end_of(future: asyncio.Future[None]) -> None:
    """Wait until the future is done, even if the task is cancelled repeatedly."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled


def _undo(call: concurrent.futures.Future[T], undo: Callable[[T], object]) -> None:
    concurrent.futures.wait([call])
    if not call.cancelled() and call.exception() is None:
        undo(call.result())


class Workers:
    """Worker threads, started on first use, and again in a forked process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pid = 0

    def submit(
        self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Submit a call to a thread, with the context of the caller."""
        if self._pool is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._pool = concurrent.futures.ThreadPoolExecutor(self._size, "rex.attach")
        context = contextvars.copy_context()
        return self._pool.submit(functools.partial(context.run, operation, *args, **kwargs))

    async def run(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an operation in a thread; return its result."""
        return await asyncio.wrap_future(self.submit(operation, *args, **kwargs))

    def close(self) -> None:
        """Stop the threads after their current calls."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None


class _FileChunks(AsyncIterator[bytes]):
    """The chunks of an asynchronous file."""

    def __init__(self, file: Any) -> None:
        self._file = file

    async def __anext__(self) -> bytes:
        chunk: bytes = await self._file.read(CHUNK_SIZE)
        if chunk == b"":
            raise StopAsyncIteration
        return chunk


class _Pipe:
    """Chunks that a task puts and a thread takes: many small ones as one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._chunks: list[Chunk] = []
        self._size = 0
        self._is_due = False
        self._has_ended = False
        self._failure: BaseException | None = None
        self._has_room = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def put(self, chunk: Chunk) -> None:
        """Add a chunk; wait while the thread has not taken those before."""
        with self._changed:
            self._chunks.append(chunk)
            # Anything but bytes goes to the thread at once, which refuses it.
            self._size += len(chunk) if type(chunk) is bytes else AHEAD_SIZE
            is_full = self._size >= AHEAD_SIZE or len(self._chunks) >= AHEAD_CHUNKS
            if is_full:
                self._has_room.clear()
                self._hand_over()
        if is_full:
            await self._has_room.wait()
        elif self._timer is None:
            self._timer = self._loop.call_later(AHEAD_SECONDS, self._hurry)

    def end(self, failure: BaseException | None = None) -> None:
        """End the chunks, or make the thread fail after those so far; only the first call counts.

        May be called in any thread, also after the loop is closed.
        """
        with self._changed:
            if not self._has_ended:
                self._has_ended, self._failure = True, failure
                self._hand_over()

    def take(self) -> list[Chunk]:
        """Return the next chunks, none at the end. Raises the failure, if there is one."""
        with self._changed:
            while not self._is_due:
                self._changed.wait()
            self._is_due = self._has_ended
            chunks, self._chunks, self._size = self._chunks, [], 0
        _wake(self._loop, self._has_room)
        if not chunks and self._failure is not None:
            raise self._failure
        return chunks

    def _hurry(self) -> None:
        self._timer = None
        with self._changed:
            if self._chunks:
                self._hand_over()

    def _hand_over(self) -> None:
        self._is_due = True
        self._changed.notify()


class Source:
    """Content that a task passes to a worker thread, and that can be cut off.

    The task itself iterates over asynchronous content, a little ahead of the thread, so that
    neither waits for the other. Everything that concerns the event loop runs in the loop's own
    thread.
    """

    def __init__(self, content: AsyncContentSource) -> None:
        is_file = inspect.iscoroutinefunction(getattr(content, "read", None))
        self._content: Any = _FileChunks(content) if is_file else content
        self._pipe = _Pipe()
        self._cancelled = False
        self.has_begun = False
        """Whether asynchronous content has yielded a chunk."""

    @property
    def content(self) -> ContentSource:
        """The content to pass to `Storage.add`."""
        if isinstance(self._content, AsyncIterable):
            return self._pull()
        if hasattr(self._content, "read"):
            return self
        if isinstance(self._content, Iterator):
            return self._guard(self._content)
        content: ContentSource = self._content
        return content

    async def feed(self) -> None:
        """Pass asynchronous content to the thread until the content ends or fails."""
        if not isinstance(self._content, AsyncIterable):
            return
        try:
            async for chunk in self._content:
                self.has_begun = True
                await self._pipe.put(_constant(chunk))
        except asyncio.CancelledError:
            self._pipe.end(concurrent.futures.CancelledError())
            raise
        except BaseException as failure:  # noqa: BLE001 - it comes out of the thread again
            self._pipe.end(failure)
        else:
            self._pipe.end()

    def cancel(self) -> None:
        """Make the reading thread fail after the chunks so far, even after the loop is closed."""
        self._cancelled = True
        self._pipe.end(concurrent.futures.CancelledError())

    def read(self, size: int, /) -> bytes:
        """Read from the caller's file, unless the content was cut off."""
        self._check()
        data: bytes = self._content.read(size)
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self._content, name)

    def _check(self) -> None:
        if self._cancelled:
            raise concurrent.futures.CancelledError

    def _guard(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self._check()
            yield chunk

    def _pull(self) -> Iterator[Chunk]:
        while chunks := self._pipe.take():
            if len(chunks) > 1 and all(type(chunk) is bytes for chunk in chunks):
                yield b"".join(chunks)
            else:
                yield from chunks


def _constant(chunk: Chunk) -> Chunk:
    """Return bytes that stay the same when the caller uses a buffer again."""
    if type(chunk) is bytes:
        return chunk
    try:
        return memoryview(chunk).tobytes()
    except TypeError:
        return chunk
