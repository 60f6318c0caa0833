"""Resumable uploads over HTTP, for every protocol: who may continue them, and one at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from rex.attach.storage.arguments import choose_limit
from rex.attach.web.body import Body
from rex.attach.web.running import INTERRUPT_SECONDS, Running
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.requests import Request

    from rex.attach.storage.resumable import Upload
    from rex.attach.web.section import Service

__all__ = ["Transfers"]

PAUSE_SECONDS = 0.05
"""How often to try the lock of an upload that another process holds."""


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
        """End a running request for an upload; return its state, which others do not change.

        Errors: `DENIED` for another user's upload; `BUSY`; those of `Uploads.info`.
        """
        await self._access.check_owner(request, self._storage, handle)
        await self._interrupt(handle)
        await self._wait_for_others(handle)
        return await self._storage.aio.uploads.info(handle, owner=self._access.owner(request))

    def body(
        self,
        request: Request,
        upload: Upload,
        *,
        size: int | None,
        is_part: bool = False,
        is_only: bool = False,
    ) -> Body:
        """Return the body of a request that continues an upload, limited to its size.

        `is_part` and `is_only` are as in `Body`.
        """
        most = upload.size if upload.size is not None else size
        most = choose_limit(upload.max_size, self._storage.max_size) if most is None else most
        return Body(
            request,
            max_size=None if most is None else most - upload.offset,
            stall_seconds=self._stall_seconds,
            is_part=is_part,
            is_only=is_only,
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

    async def _wait_for_others(self, handle: str) -> None:
        """Wait for other processes that append to an upload, since its offset grows meanwhile.

        Their clients have gone, but they may not have noticed yet. Errors: `BUSY`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + INTERRUPT_SECONDS
        while True:
            try:
                return await self._storage.aio.uploads.check_idle(handle)
            except Error as error:
                if error.kind is not Kind.BUSY or loop.time() >= deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

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
