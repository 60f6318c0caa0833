"""The response to a GET or HEAD of an attachment, streamed from any storage over ASGI."""

from __future__ import annotations

import abc
import asyncio
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from rex.attach.http.conditions import pick_headers
from rex.attach.http.download import HEADERS, DownloadRequest
from rex.attach.http.sendfile import can_hand_over, is_offline, target_header
from rex.attach.web.pace import STALL_SECONDS, Pace
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from rex.attach.http.download import DownloadResponse, Presentation
    from rex.attach.http.ranges import Span
    from rex.attach.storage import Storage
    from rex.attach.storage.aio import AsyncReader

__all__ = ["Streamed", "body_message", "serve"]

PATIENCE_BYTES = 128 * 1024
"""The bytes that a client must receive in each `stall_seconds`, on average over a chunk."""

log = get_logger("rex.attach")


async def serve(
    request: Request,
    storage: Storage,
    handle: str,
    *,
    inline: bool = True,
    presentation: Presentation | None = None,
    stall_seconds: float = 30,
) -> Response:
    """Return the response to a GET or HEAD of an attachment.

    With `inline`, a browser may display the attachment if its stored type cannot carry a script; a
    `presentation` overrides that. A small attachment that is in memory is sent in one message. Any
    other is streamed in chunks (128 KiB; after 8 MiB, 256 KiB) as the client receives them, in
    smaller ones while there are many downloads (see `rex.attach.web.pace`); a client that receives
    less than 128 KiB in `stall_seconds` is disconnected. A response without
    content (HEAD, 304, 412) needs only the attachment's metadata.

    Errors, raised before anything is sent: those of `Storage.open`.
    """
    headers = pick_headers(request.scope["headers"], HEADERS)
    asked = DownloadRequest(request.method, headers, presentation)
    cached = storage.read_cached(handle)
    if cached is not None:
        info, content = cached
        return _at_once(asked.answer(info, inline=inline), content)
    if asked.is_simple and can_hand_over(storage):
        answer = asked.answer(await storage.aio.info(handle), inline=inline)
        if asked.may_hand_over(answer):
            return _at_once(answer.handed_over(await _target(storage, handle)))
    start, length = asked.range_start, asked.range_length
    if start is None:
        info = await storage.aio.info(handle)
        answer = asked.answer(info, inline=inline)
        if not answer.parts:
            return _at_once(answer)
        start, stop = answer.parts[0].span
        length = stop - start if len(answer.parts) == 1 else None
    pace = Pace()
    reader = await storage.aio.open(
        handle, start=start, length=length, request_size=pace.request_size
    )
    try:
        answer = asked.answer(reader.info, inline=inline)
        if answer.parts:
            return _Downloaded(answer, reader, pace, stall_seconds)
    except BaseException:
        await reader.close()
        raise
    await reader.close()
    return _at_once(answer)


async def _target(storage: Storage, handle: str) -> dict[str, str]:
    if is_offline(storage):
        return target_header(storage, handle)
    return await storage.aio.run(partial(target_header, storage, handle))


def _at_once(answer: DownloadResponse, content: bytes = b"") -> Response:
    return Response(answer.body(content), answer.status, answer.headers)


class _NotTakenError(Exception):
    """The client does not receive the response."""


class Streamed(Response):
    """A response whose body is sent as the client receives it.

    A response that ends early lacks its last message and is shorter than Content-Length, so the
    server closes the connection and the client notices.
    """

    name: str
    """The handle or name of what is sent, for the log."""

    def __init__(self, status: int, headers: Mapping[str, str], stall_seconds: float) -> None:
        self.status_code = status
        self.background = None
        self.init_headers(headers)
        self._stall_seconds = stall_seconds

    @abc.abstractmethod
    async def _stream_body(self, send: Send) -> None:
        """Send the body with `_give`, without the last message."""

    @abc.abstractmethod
    async def _close(self) -> None:
        """Release what the body is read from."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, unless the client disconnects or stalls."""
        del scope
        streaming = asyncio.create_task(self._stream(send))
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if streaming.done():
                streaming.result()
        finally:
            # Also if this task is cancelled, even twice.
            await asyncio.shield(asyncio.ensure_future(self._end(streaming, leaving)))

    async def _stream(self, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            await self._give(send, start)
            await self._stream_body(send)
            await self._give(send, body_message(b"", more=False))
        except _NotTakenError:
            log.info("the client did not receive all of %s", self.name)

    async def _give(self, send: Send, message: Message) -> None:
        windows = max(1, len(message.get("body", b"")) / PATIENCE_BYTES)
        try:
            async with asyncio.timeout(self._stall_seconds * windows):
                await send(message)
        except OSError as failure:  # a timeout, or disconnected
            raise _NotTakenError from failure

    async def _end(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()


class _Downloaded(Streamed):
    """A response that is read from an attachment."""

    def __init__(
        self, answer: DownloadResponse, reader: AsyncReader, pace: Pace, stall_seconds: float
    ) -> None:
        super().__init__(answer.status, answer.headers, stall_seconds)
        self.name = reader.info.handle
        self._answer = answer
        self._reader = reader
        self._pace = pace

    async def _stream_body(self, send: Send) -> None:
        for head, span in self._answer.parts:
            if head:
                await self._give(send, body_message(head))
            await self._give_span(send, span)
        if self._answer.end:
            await self._give(send, body_message(self._answer.end))

    async def _give_span(self, send: Send, span: Span) -> None:
        if self._reader.tell() != span.start:
            await self._reader.seek(span.start)
        loop = asyncio.get_running_loop()
        position = span.start
        while position < span.stop:
            self._reader.limit_requests(self._pace.request_size)
            size = min(self._pace.chunk_size, span.stop - position)
            chunk = await self._reader.read(size)
            timer = loop.call_later(STALL_SECONDS, self._release)
            try:
                await self._give(send, body_message(chunk))
            finally:
                timer.cancel()
            self._pace.note_taken(len(chunk))
            position += len(chunk)

    def _release(self) -> None:
        self._pace.note_stall()
        self._reader.release()

    async def _close(self) -> None:
        self._pace.end()
        await self._reader.close()


async def _until_gone(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def body_message(data: bytes, *, more: bool = True) -> Message:
    """Return the message with a part of a body."""
    return {"type": "http.response.body", "body": data, "more_body": more}
