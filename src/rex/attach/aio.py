"""The verbs of a storage as coroutines, over worker threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import itertools
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ParamSpec, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    import datetime

    from rex.attach.content import Chunk, ContentSource
    from rex.attach.info import Info
    from rex.attach.link import PresignedLink
    from rex.attach.reader import Reader
    from rex.attach.storage import Storage, UploadMethod
    from rex.attach.uploads import Upload, Uploads

__all__ = ["AsyncReader", "AsyncStorage"]

WORKERS = 32
ADDERS = 1024
"""Each waits for its content as long as it takes, and must not keep the others from theirs."""
PAGE_SIZE = 256

_Request: TypeAlias = "concurrent.futures.Future[Chunk | None]"

P = ParamSpec("P")
T = TypeVar("T")


class AsyncStorage:
    """The verbs of a storage, as coroutines of asyncio.

    Each runs the verb of the same name in a worker thread, and promises the same; see `Storage`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._workers = _Workers(WORKERS)
        # What is added may come from what is read, which must not wait for it.
        self._adders = _Workers(ADDERS)

    def __repr__(self) -> str:
        return f"{self.storage!r}.aio"

    async def add(
        self,
        name: str,
        content: ContentSource | AsyncIterable[Chunk],
        *,
        content_type: str | None = None,
    ) -> str:
        """Store an attachment; `content` may also be an asynchronous iterable of bytes.

        When the task is cancelled, the attachment is not stored.
        """
        source = _Source(content)
        call = self._adders.submit(
            self.storage.add, name, source.content, content_type=content_type
        )
        return await _fed(call, source, self._workers, self.storage.remove)

    async def put(
        self,
        handle: str,
        content: ContentSource | AsyncIterable[Chunk],
        *,
        content_type: str | None = None,
    ) -> None:
        """Store the attachment of a reserved handle; see `add`."""
        source = _Source(content)
        call = self._adders.submit(
            self.storage.put, handle, source.content, content_type=content_type
        )
        await _fed(call, source, self._workers, lambda _: self.storage.remove(handle))

    @property
    def uploads(self) -> AsyncUploads:
        """Uploads piece by piece; see `Storage.uploads`."""
        return AsyncUploads(self.storage.uploads, self._workers, self._adders)

    async def reserve(self, name: str) -> str:
        """Make the handle of an attachment that somebody else will upload."""
        return self.storage.reserve(name)

    async def open(self, handle: str, *, start: int = 0) -> AsyncReader:
        """Open an attachment for reading, from `start` on (bytes)."""
        reader = await self.run(self.storage.open, handle, start=start)
        return AsyncReader(reader, self._workers)

    async def info(self, handle: str) -> Info:
        """Tell what is known of an attachment."""
        return await self.run(self.storage.info, handle)

    async def stat(self, handle: str) -> os.stat_result:
        """Tell size and times as `os.stat` does."""
        return await self.run(self.storage.stat, handle)

    async def remove(self, handle: str) -> None:
        """Remove an attachment for good."""
        await self.run(self.storage.remove, handle)

    async def list(
        self, *, day: datetime.date | str | None = None, after: str | None = None
    ) -> AsyncIterator[str]:
        """List the handles of all attachments, page by page: ``async for handle in …``."""
        handles = self.storage.list(day=day, after=after)
        while page := await self.run(lambda: [*itertools.islice(handles, PAGE_SIZE)]):
            for handle in page:
                yield handle

    def __aiter__(self) -> AsyncIterator[str]:
        """List the handles of all attachments: see `list`."""
        return self.list()

    async def upload_link(
        self,
        handle: str,
        *,
        method: UploadMethod = "POST",
        max_size: int | None = None,
        content_type: str | None = None,
        expires: float | datetime.timedelta | None = None,
    ) -> PresignedLink:
        """Permit somebody to upload the attachment of a reserved handle."""
        return await self.run(
            self.storage.upload_link,
            handle,
            method=method,
            max_size=max_size,
            content_type=content_type,
            expires=expires,
        )

    async def download_link(
        self,
        handle: str,
        *,
        filename: str | None = None,
        inline: bool = False,
        expires: float | datetime.timedelta | None = None,
    ) -> PresignedLink:
        """Permit somebody to download an attachment."""
        return await self.run(
            self.storage.download_link, handle, filename=filename, inline=inline, expires=expires
        )

    async def check(self) -> None:
        """Make sure that the storage can be used."""
        await self.run(self.storage.check)

    async def close(self) -> None:
        """Let go of what the storage holds open, and of the worker threads."""
        await self.run(self.storage.close)

    def stop(self) -> None:
        """Let the worker threads end when they are done."""
        self._workers.close()
        self._adders.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def run(self, verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call any verb, as ``storage.multipart.abort``, in a worker thread."""
        return await self._workers.run(verb, *args, **kwargs)


class AsyncUploads:
    """The verbs of uploads piece by piece, as coroutines; see `Uploads`."""

    def __init__(self, uploads: Uploads, workers: _Workers, appenders: _Workers) -> None:
        self._uploads = uploads
        self._workers = workers
        self._appenders = appenders

    async def create(
        self,
        name: str,
        *,
        size: int | None = None,
        content_type: str | None = None,
        note: str = "",
        is_part: bool = False,
    ) -> Upload:
        """Begin to upload a file."""
        return await self._workers.run(
            self._uploads.create,
            name,
            size=size,
            content_type=content_type,
            note=note,
            is_part=is_part,
        )

    async def info(self, handle: str) -> Upload:
        """Tell how far an upload is."""
        return await self._workers.run(self._uploads.info, handle)

    async def append(
        self,
        handle: str,
        offset: int,
        content: ContentSource | AsyncIterable[Chunk],
        *,
        size: int | None = None,
    ) -> Upload:
        """Store more of an upload; when the task is cancelled, what had come is stored."""
        source = _Source(content)
        call = self._appenders.submit(
            self._uploads.append, handle, offset, source.content, size=size
        )
        return await _fed(call, source, self._workers)

    async def join(
        self, name: str, parts: Sequence[str], *, content_type: str | None = None
    ) -> str:
        """Store an attachment that consists of complete uploads made for that."""
        join = self._uploads.join
        return await self._appenders.run(join, name, parts, content_type=content_type)

    async def remove(self, handle: str) -> None:
        """Give up an upload."""
        await self._workers.run(self._uploads.remove, handle)


class AsyncReader:
    """An attachment open for reading, with coroutines; see `Reader`."""

    def __init__(self, reader: Reader, workers: _Workers) -> None:
        self._reader = reader
        self._workers = workers

    def __repr__(self) -> str:
        return f"Async{self._reader!r}"

    @property
    def info(self) -> Info:
        """What is known of the attachment."""
        return self._reader.info

    async def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, or all that are left."""
        return await self._workers.run(self._reader.read, size)

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another position, in bytes."""
        return await self._workers.run(self._reader.seek, offset, whence)

    def tell(self) -> int:
        """Tell the position, in bytes."""
        return self._reader.tell()

    async def close(self) -> None:
        """Close the attachment."""
        await self._workers.run(self._reader.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


async def _fed(
    call: concurrent.futures.Future[T],
    source: _Source,
    workers: _Workers,
    undo: Callable[[T], object] = bool,
) -> T:
    """Answer what the call asks of its source; undo what was done although we are cancelled."""
    call.add_done_callback(source.finished)
    try:
        await source.feed()
    except BaseException:
        call.cancel()
        source.cancel()
        await asyncio.wait({asyncio.wrap_future(workers.submit(_undo, call, undo))})
        raise
    return call.result()


def _undo(call: concurrent.futures.Future[T], undo: Callable[[T], object]) -> None:
    concurrent.futures.wait([call])
    if not call.cancelled() and call.exception() is None:
        undo(call.result())


class _Workers:
    """Worker threads, made when first needed, and anew in a forked process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pid = 0

    def submit(
        self, verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        if self._pool is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._pool = concurrent.futures.ThreadPoolExecutor(self._size, "rex.attach")
        context = contextvars.copy_context()
        return self._pool.submit(functools.partial(context.run, verb, *args, **kwargs))

    async def run(self, verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self.submit(verb, *args, **kwargs))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None


class _Source:
    """Content on its way from a task to a worker thread, which can be cut off.

    What is asynchronous is awaited by the task itself: the thread asks for each chunk, and the
    task, in `feed`, answers. All that concerns the loop happens in its own thread.
    """

    def __init__(self, content: ContentSource | AsyncIterable[Chunk]) -> None:
        self._content = content
        self._loop = asyncio.get_running_loop()
        self._requests: asyncio.Queue[_Request | None] = asyncio.Queue()
        self._cancelled = False

    @property
    def content(self) -> ContentSource:
        """What to give to `Storage.add`."""
        if isinstance(self._content, AsyncIterable):
            return self._asked()
        if hasattr(self._content, "read"):
            return self
        if isinstance(self._content, Iterator):
            return self._checked(self._content)
        return self._content

    async def feed(self) -> None:
        """Answer what the thread asks for, until it has finished."""
        chunks = aiter(self._content) if isinstance(self._content, AsyncIterable) else None
        while (request := await self._requests.get()) is not None:
            try:
                chunk = None if chunks is None else await anext(chunks, None)
            except asyncio.CancelledError:
                request.set_exception(concurrent.futures.CancelledError())
                raise
            except BaseException as failure:  # noqa: BLE001 - it comes out of the thread again
                request.set_exception(failure)
            else:
                request.set_result(chunk)

    def finished(self, _: object) -> None:
        """Tell the task that the thread has finished; called in the thread."""
        self._loop.call_soon_threadsafe(self._requests.put_nowait, None)

    def cancel(self) -> None:
        """Make whoever reads the content fail, now or at the next chunk."""
        self._cancelled = True
        while not self._requests.empty():
            self._take(self._requests.get_nowait())

    def read(self, size: int, /) -> bytes:
        self._check()
        return self._content.read(size)  # type: ignore[union-attr]  # a file, or we are not asked

    def __getattr__(self, name: str) -> object:
        return getattr(self._content, name)

    def _take(self, request: _Request | None) -> None:
        if not self._cancelled:
            self._requests.put_nowait(request)
        elif request is not None:
            request.set_exception(concurrent.futures.CancelledError())

    def _check(self) -> None:
        if self._cancelled:
            raise concurrent.futures.CancelledError

    def _checked(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self._check()
            yield chunk

    def _asked(self) -> Iterator[Chunk]:
        while True:
            request: _Request = concurrent.futures.Future()
            self._loop.call_soon_threadsafe(self._take, request)
            chunk = request.result()
            if chunk is None:
                return
            yield chunk
