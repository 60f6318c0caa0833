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
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from rex.attach.content.content import CHUNK_SIZE

if TYPE_CHECKING:
    from rex.attach.content.content import AsyncContentSource, Chunk, ContentSource

__all__ = ["Source", "Workers", "feed_call"]

_Request: TypeAlias = "concurrent.futures.Future[Chunk | None]"

P = ParamSpec("P")
T = TypeVar("T")


async def feed_call(
    call: concurrent.futures.Future[T],
    source: Source,
    workers: Workers,
    undo: Callable[[T], object] = bool,
) -> T:
    """Serve a call's requests for content; undo the call if the task is cancelled."""
    call.add_done_callback(source.finish)
    try:
        await source.feed()
    except BaseException:
        call.cancel()
        source.cancel()
        await _end_of(asyncio.wrap_future(workers.submit(_undo, call, undo)))
        raise
    return call.result()


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


class Source:
    """Content that a task passes to a worker thread, and that can be cut off.

    The task itself awaits asynchronous content: the thread requests each chunk, and the task
    answers in `feed`. Everything that concerns the event loop runs in the loop's own thread.
    """

    def __init__(self, content: AsyncContentSource) -> None:
        is_file = inspect.iscoroutinefunction(getattr(content, "read", None))
        self._content: Any = _FileChunks(content) if is_file else content
        self._loop = asyncio.get_running_loop()
        self._requests: asyncio.Queue[_Request | None] = asyncio.Queue()
        self._lock = threading.Lock()
        self._asked_for: _Request | None = None
        self._cancelled = False

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
        """Answer the thread's requests until it has finished."""
        chunks = aiter(self._content) if isinstance(self._content, AsyncIterable) else None
        while (request := await self._requests.get()) is not None:
            try:
                chunk = None if chunks is None else await anext(chunks, None)
            except asyncio.CancelledError:
                raise  # `feed_call` then calls `cancel`
            except BaseException as failure:  # noqa: BLE001 - it comes out of the thread again
                request.set_exception(failure)
            else:
                request.set_result(chunk)

    def finish(self, _: object) -> None:
        """Notify the task that the thread has finished; called in the thread."""
        with suppress(RuntimeError):  # the loop is closed, so that no task waits
            self._loop.call_soon_threadsafe(self._requests.put_nowait, None)

    def cancel(self) -> None:
        """Make the reading thread fail, now or at the next chunk, even after the loop is closed."""
        with self._lock:
            self._cancelled = True
            request = self._asked_for
        if request is not None and not request.done():
            request.set_exception(concurrent.futures.CancelledError())

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
        while True:
            request: _Request = concurrent.futures.Future()
            with self._lock:
                self._check()
                self._asked_for = request
            self._loop.call_soon_threadsafe(self._requests.put_nowait, request)
            chunk = request.result()
            if chunk is None:
                return
            yield chunk
