"""Resumable uploads over HTTP, for every protocol: who may continue them, and one at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from rex.attach.storage.arguments import choose_limit
from rex.attach.web.body import Body
from rex.attach.web.running import Running
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.requests import Request

    from rex.attach.storage.resumable import Upload
    from rex.attach.web.section import Service

__all__ = ["Transfers"]


class Transfers:
    """The resumable uploads that the requests of a service continue, by every protocol.

    A new request for an upload ends a running one: the client has given that up. The bytes that
    arrived before a connection broke are kept.
    """

    def __init__(self, service: Service) -> None:
        self._storage = service.storage
        self._access = service.access
        self._stall_seconds = service.options.stall_seconds
        self._running: dict[str, Running] = {}

    async def find(self, request: Request, handle: str) -> Upload:
        """End a running request for an upload; return the state of the upload.

        Errors: `DENIED` for another user's upload; `BUSY`; those of `Uploads.info`.
        """
        await self._access.check_owner(request, self._storage, handle)
        await self._interrupt(handle)
        return await self._storage.aio.uploads.info(handle, owner=self._access.owner(request))

    def body(
        self, request: Request, upload: Upload, *, size: int | None, is_part: bool = False
    ) -> Body:
        """Return the body of a request that continues an upload, limited to its size."""
        most = upload.size if upload.size is not None else size
        most = choose_limit(upload.max_size, self._storage.max_size) if most is None else most
        return Body(
            request,
            max_size=None if most is None else most - upload.offset,
            stall_seconds=self._stall_seconds,
            is_part=is_part,
        )

    async def append(
        self,
        upload: Upload,
        content: Body | BinaryIO,
        *,
        size: int | None,
        owner: object,
        complete: bool | None = None,
    ) -> Upload:
        """Append content, until another request for the upload arrives; keep what was stored.

        Errors: `CONFLICT` if another request continues the upload; those of `Uploads.append`.
        """
        await self._interrupt(upload.handle)  # another request may have begun since
        running = asyncio.ensure_future(
            self._storage.aio.uploads.append(
                upload.handle,
                upload.offset,
                content,
                size=size,
                complete=complete,
                owner=owner,
            )
        )
        mine = self._running[upload.handle] = Running(running)
        try:
            return await running
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Error(
                "Another request continues the upload",
                upload.handle,
                kind=Kind.CONFLICT,
                code="upload-conflict",
            ) from None
        finally:
            if self._running.get(upload.handle) is mine:
                del self._running[upload.handle]

    async def _interrupt(self, handle: str) -> None:
        """Cancel running requests that append to an upload."""
        while (running := self._running.get(handle)) is not None:
            if not await running.interrupt():
                raise Error("Another request is using the upload", handle, kind=Kind.BUSY)
            if self._running.get(handle) is running:
                del self._running[handle]

    async def terminate(self, request: Request, handle: str) -> None:
        """Remove an upload, or the attachment that it has become.

        Errors: those of `find`; `DENIED` where the client may not remove the attachment.
        """
        upload = await self.find(request, handle)
        if upload.expires_at is None:
            await self._access.check(request, "remove", handle)
        await self._remove(upload)

    async def _remove(self, upload: Upload) -> None:
        aio = self._storage.aio
        remove = aio.remove if upload.expires_at is None else aio.uploads.remove
        await remove(upload.handle)

    async def forget(self, handle: str) -> None:
        """Remove an upload, unless the application may know its attachment; ignore errors.

        It is removed also if the current task is cancelled.
        """
        await asyncio.shield(self._forget(handle))

    async def _forget(self, handle: str) -> None:
        aio = self._storage.aio
        with suppress(Error):
            await aio.uploads.remove(handle)
            return
        if not self._storage.hooks.notifies:
            with suppress(Error):
                await aio.remove(handle)
