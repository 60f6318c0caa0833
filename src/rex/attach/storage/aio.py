"""The operations of a storage as coroutines, over worker threads."""

from __future__ import annotations

import asyncio
import datetime  # noqa: TC003 - resolved at run time
import functools
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence  # noqa: TC003 - resolved at run time
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from rex.attach.backend.multipart import Part  # noqa: TC001 - resolved at run time
from rex.attach.content.content import AsyncContentSource  # noqa: TC001 - resolved at run time
from rex.attach.content.reader import Reader  # noqa: TC001 - resolved at run time
from rex.attach.info import Info  # noqa: TC001 - resolved at run time
from rex.attach.links.link import PresignedLink  # noqa: TC001 - resolved at run time
from rex.attach.storage import Storage, UploadMethod  # noqa: TC001 - resolved at run time
from rex.attach.storage.archive import AsyncArchive
from rex.attach.storage.hooks import LOOP, UploadRequest
from rex.attach.storage.resumable import Upload  # noqa: TC001 - resolved at run time
from rex.attach.storage.workers import Source, Workers, feed_call

if TYPE_CHECKING:
    import concurrent.futures

__all__ = ["AsyncReader", "AsyncStorage"]

WORKERS = 32
ADDERS = 1024
"""Threads that wait for content; so many that no add keeps another from its content."""
PAGE_SIZE = 256


P = ParamSpec("P")
T = TypeVar("T")


class AsyncStorage:
    """The operations of a storage, as coroutines of asyncio.

    Each runs the operation of the same name in a worker thread, with the same guarantees; see
    `Storage`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._workers = Workers(WORKERS)
        # An add may take its content from an open attachment, whose reads must not wait for it.
        self._adders = Workers(ADDERS)

    def __repr__(self) -> str:
        return f"{self.storage!r}.aio"

    async def add(
        self,
        name: str | UploadRequest | None,
        content: AsyncContentSource,
        *,
        content_type: str | None = None,
        digest: str | None = None,
        owner: object = None,
        notify: bool = True,
    ) -> str:
        """Store an attachment; return its handle.

        `content` may also be an asynchronous file, whose `read` is awaited (like FastAPI's
        `UploadFile`), or an asynchronous iterable of bytes. If the task is cancelled, the
        attachment is not stored, unless a hook may have recorded it.
        """
        source = Source(content)
        call = self._submit(
            self._adders,
            self.storage.add,
            name,
            source.content,
            content_type=content_type,
            digest=digest,
            owner=owner,
            notify=notify,
        )
        is_known = notify and self.storage.hooks.notifies_stored
        undo = bool if is_known else functools.partial(self.storage.remove, notify=False)
        return await feed_call(call, source, self._workers, undo)

    async def put(
        self,
        handle: str,
        content: AsyncContentSource,
        *,
        content_type: str | None = None,
        digest: str | None = None,
        owner: object = None,
        idempotent: bool = True,
        notify: bool = True,
    ) -> None:
        """Store the attachment of a reserved handle; see `Storage.put`.

        If the task is cancelled, the attachment may or may not be stored: it is not removed, since
        an earlier call may have stored it.
        """
        source = Source(content)
        call = self._submit(
            self._adders,
            self.storage.put,
            handle,
            source.content,
            content_type=content_type,
            digest=digest,
            owner=owner,
            idempotent=idempotent,
            notify=notify,
        )
        await feed_call(call, source, self._workers)

    async def put_part(
        self,
        handle: str,
        upload_id: str,
        number: int,
        content: AsyncContentSource,
        *,
        max_size: int | None = None,
    ) -> Part:
        """Store a part of a multipart upload; see `MultipartUploads.put_part`."""
        source = Source(content)
        call = self._submit(
            self._adders,
            self.storage.multipart.put_part,
            handle,
            upload_id,
            number,
            source.content,
            max_size=max_size,
        )
        return await feed_call(call, source, self._workers)

    @property
    def uploads(self) -> AsyncUploads:
        """Resumable uploads; see `Storage.uploads`."""
        return AsyncUploads(self)

    async def begin(
        self,
        name: str | None,
        *,
        content_type: str | None = None,
        size: int | None = None,
        owner: object = None,
    ) -> UploadRequest:
        """Begin an upload; see `Storage.begin`."""
        begin = functools.partial(
            self.storage.begin, name, content_type=content_type, size=size, owner=owner
        )
        if self.storage.hooks.begins:
            return await self.run_long(begin)
        return await self._compute(begin, is_now=self._knows(owner))

    async def notify(self, *handles: str, owner: object = None, is_new: bool = False) -> list[Info]:
        """Notify the application of stored attachments; see `Storage.notify`."""
        return await self.run_long(self.storage.notify, *handles, owner=owner, is_new=is_new)

    async def claim(self, claimed: str, *, owner: object = None) -> Info:
        """Return the metadata of an uploaded attachment to its owner; see `Storage.claim`."""
        return await self.run_long(self.storage.claim, claimed, owner=owner)

    async def receipt(
        self,
        handle: str,
        *,
        owner: object = None,
        max_size: int | None = None,
        expires: float | datetime.timedelta | None = None,
    ) -> str:
        """Return a signed text with which `claim` recognises an upload; see `Storage.receipt`."""
        receipt = functools.partial(
            self.storage.receipt, handle, owner=owner, max_size=max_size, expires=expires
        )
        return await self._compute(receipt, is_now=self._has_secret and self._knows(owner))

    async def reserve(self, name: str | None, *, owner: object = None) -> str:
        """Make a handle for an attachment to be stored later; see `Storage.reserve`."""
        reserve = functools.partial(self.storage.reserve, name, owner=owner)
        return await self._compute(reserve, is_now=self._knows(owner))

    async def is_owned_by(self, handle: str, owner: object) -> bool:
        """Return whether a handle was made for this owner; see `Storage.is_owned_by`."""
        is_owned = functools.partial(self.storage.is_owned_by, handle, owner)
        return await self._compute(is_owned, is_now=self._has_secret and self._knows(owner))

    async def open(
        self,
        handle: str,
        *,
        start: int = 0,
        length: int | None = None,
        request_size: int | None = None,
    ) -> AsyncReader:
        """Open an attachment for reading, from `start`, at most `length` bytes."""
        reader = await self.run(
            self.storage.open, handle, start=start, length=length, request_size=request_size
        )
        return AsyncReader(reader, self._workers)

    async def zip(self, handles: Iterable[str], *, missing: Iterable[str] = ()) -> AsyncArchive:
        """Return a ZIP archive of attachments; see `Storage.zip`."""
        archive = await self.run_long(self.storage.zip, handles, missing=missing)
        # Archives wait for the few threads that read for all of them.
        return AsyncArchive(archive, self._adders)

    async def info(self, handle: str) -> Info:
        """Return the attachment's metadata."""
        return await self.run(self.storage.info, handle)

    async def stat(self, handle: str) -> os.stat_result:
        """Return size and times in the form of `os.stat`."""
        return await self.run(self.storage.stat, handle)

    async def remove(self, handle: str, *, notify: bool = True) -> None:
        """Remove an attachment permanently."""
        await self.run_long(self.storage.remove, handle, notify=notify)

    async def list(
        self, *, day: datetime.date | str | None = None, after: str | None = None
    ) -> AsyncIterator[str]:
        """Yield the handles of all attachments: ``async for handle in …``."""
        handles = self.storage.list(day=day, after=after)
        while page := await self.run(lambda: [*itertools.islice(handles, PAGE_SIZE)]):
            for handle in page:
                yield handle

    def __aiter__(self) -> AsyncIterator[str]:
        """Yield the handles of all attachments: see `list`."""
        return self.list()

    async def upload_link(
        self,
        handle: str,
        *,
        method: UploadMethod = "POST",
        max_size: int | None = None,
        content_type: str | None = None,
        expires: float | datetime.timedelta | None = None,
        owner: object = None,
    ) -> PresignedLink:
        """Create a link that allows uploading to a reserved handle."""
        call = self.sign if self._knows(owner) else self.run
        return await call(
            self.storage.upload_link,
            handle,
            method=method,
            max_size=max_size,
            content_type=content_type,
            expires=expires,
            owner=owner,
        )

    async def download_link(
        self,
        handle: str,
        *,
        filename: str | None = None,
        inline: bool = False,
        expires: float | datetime.timedelta | None = None,
        window: float | datetime.timedelta | None = None,
    ) -> PresignedLink:
        """Create a link that allows downloading an attachment."""
        return await self.sign(
            self.storage.download_link,
            handle,
            filename=filename,
            inline=inline,
            expires=expires,
            window=window,
        )

    async def download_links(
        self,
        handles: Iterable[str],
        *,
        inline: bool = False,
        expires: float | datetime.timedelta | None = None,
        window: float | datetime.timedelta | None = None,
    ) -> Sequence[PresignedLink]:
        """Create a link for each handle, in their order; see `Storage.download_links`."""
        return await self.run(
            self.storage.download_links, handles, inline=inline, expires=expires, window=window
        )

    @property
    def _has_secret(self) -> bool:
        """Whether the secret has been read, which may be in a file."""
        return "tokens" in vars(self.storage)

    def _knows(self, owner: object) -> bool:
        """Check whether the mark of an owner is computed at once: an object may ask a database."""
        return owner is None or (isinstance(owner, str | int) and self._has_secret)

    async def check(self) -> None:
        """Check that the storage is usable."""
        await self.run(self.storage.check)

    async def close(self) -> None:
        """Close the storage and its worker threads."""
        await self.run(self.storage.close)

    def stop(self) -> None:
        """Stop the worker threads after their current calls."""
        self._workers.close()
        self._adders.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def run(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call any operation, as ``storage.multipart.abort``, in a worker thread."""
        return await asyncio.wrap_future(self._submit(self._workers, operation, *args, **kwargs))

    async def sign(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an operation that creates a link, as ``storage.multipart.link``.

        In a worker thread if signing asks a server; otherwise here, since waking a thread takes
        several times as long as a signature.
        """
        links = self.storage.abilities.links
        is_offline = links is None or links.is_offline
        return await self._compute(functools.partial(operation, *args, **kwargs), is_now=is_offline)

    async def run_long(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an operation that may wait for the application's hooks, in a thread for these.

        Hooks that take long, or hang, thus leave the threads of all other operations alone.
        """
        return await asyncio.wrap_future(self._submit(self._adders, operation, *args, **kwargs))

    async def _compute(self, operation: Callable[[], T], *, is_now: bool) -> T:
        """Call an operation here if it waits for nothing now, otherwise in a worker thread."""
        return operation() if is_now else await self.run(operation)

    def _submit(
        self, workers: Workers, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Submit a call to a thread; its hooks may use the event loop of this task."""
        token = LOOP.set(asyncio.get_running_loop())
        try:
            return workers.submit(operation, *args, **kwargs)
        finally:
            LOOP.reset(token)


class AsyncUploads:
    """Resumable uploads as coroutines; see `Uploads`."""

    def __init__(self, aio: AsyncStorage) -> None:
        self._aio = aio
        self._uploads = aio.storage.uploads

    async def create(
        self,
        name: str | UploadRequest | None,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: str = "",
        partial: bool = False,
        is_open: bool = False,
        owner: object = None,
    ) -> Upload:
        """Create an upload."""
        return await self._aio.run_long(
            self._uploads.create,
            name,
            size=size,
            content_type=content_type,
            metadata=metadata,
            partial=partial,
            is_open=is_open,
            owner=owner,
        )

    async def store(
        self,
        name: str | UploadRequest | None,
        content: AsyncContentSource,
        *,
        content_type: str | None = None,
        metadata: str = "",
        owner: object = None,
    ) -> Upload:
        """Store a whole upload at once; if the task is cancelled, as in `AsyncStorage.add`."""
        source, aio = Source(content), self._aio
        call = aio._submit(  # noqa: SLF001 - of the same storage
            aio._adders,  # noqa: SLF001 - as above
            self._uploads.store,
            name,
            source.content,
            content_type=content_type,
            metadata=metadata,
            owner=owner,
        )
        return await feed_call(call, source, aio._workers, self._unstore)  # noqa: SLF001 - as above

    def _unstore(self, upload: Upload) -> None:
        storage = self._aio.storage
        if not storage.hooks.notifies_stored:  # else the application may know it
            storage.remove(upload.handle, notify=False)

    async def info(self, handle: str, *, owner: object = None) -> Upload:
        """Return the state of an upload."""
        run = self._aio.run_long if self._aio.storage.hooks.notifies else self._aio.run
        return await run(self._uploads.info, handle, owner=owner)

    async def check_idle(self, handle: str) -> None:
        """Check that no client appends to an upload."""
        await self._aio.run(self._uploads.check_idle, handle)

    async def append(
        self,
        handle: str,
        offset: int,
        content: AsyncContentSource,
        *,
        size: int | None = None,
        complete: bool | None = None,
        owner: object = None,
    ) -> Upload:
        """Append content to an upload; if the task is cancelled, store what has arrived."""
        source, aio = Source(content), self._aio
        call = aio._submit(  # noqa: SLF001 - of the same storage
            aio._adders,  # noqa: SLF001 - as above
            self._uploads.append,
            handle,
            offset,
            source.content,
            size=size,
            complete=complete,
            owner=owner,
        )
        return await feed_call(call, source, aio._workers)  # noqa: SLF001 - as above

    async def join(
        self,
        name: str | UploadRequest | None,
        parts: Sequence[str],
        *,
        content_type: str | None = None,
        metadata: str = "",
        owner: object = None,
    ) -> str:
        """Store an attachment that consists of complete partial uploads; return its handle."""
        return await self._aio.run_long(
            self._uploads.join,
            name,
            parts,
            content_type=content_type,
            metadata=metadata,
            owner=owner,
        )

    async def remove(self, handle: str) -> None:
        """Remove an unfinished upload."""
        await self._aio.run(self._uploads.remove, handle)


class AsyncReader:
    """An attachment open for reading, as coroutines; see `Reader`."""

    def __init__(self, reader: Reader, workers: Workers) -> None:
        self._reader = reader
        self._stream = reader.stream
        self._workers = workers
        self._lock = threading.Lock()
        """Held by the reading thread, which continues after its task is cancelled."""

    def __repr__(self) -> str:
        return f"Async{self._reader!r}"

    @property
    def info(self) -> Info:
        """The attachment's metadata."""
        return self._reader.info

    @property
    def name(self) -> str:
        """The file name, as in a binary file."""
        return self._stream.name

    @property
    def mode(self) -> str:
        """The mode, as in a binary file."""
        return self._stream.mode

    async def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, or the rest.

        The position is undefined after the task is cancelled.
        """
        if size < 0:
            return await self._workers.run(self._alone, self._stream.readall)
        if self._lock.acquire(blocking=False):
            try:
                cached = self._stream.read_cached(size)
            finally:
                self._lock.release()
            if cached is not None:
                return cached
        return await self._workers.run(self._alone, self._stream.read_full, size)

    def limit_requests(self, size: int | None) -> None:
        """Limit the next requests to a server, in bytes; None means unlimited."""
        self._stream.request_limit = size

    def release(self) -> None:
        """Release the request to a server soon, in a thread; see `Stream.release`."""
        self._workers.submit(self._alone, self._stream.release)

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, in bytes."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position, in bytes."""
        return self._stream.tell()

    async def close(self) -> None:
        """Close the attachment after any read in progress."""
        await self._workers.run(self._alone, self._reader.close)

    def _alone(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return operation(*args, **kwargs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
