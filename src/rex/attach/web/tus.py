"""The tus protocol, version 1.0: resumable uploads (tus.io/protocols)."""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from email.utils import format_datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from rex.attach.web.attachments import Downloads
from rex.attach.web.body import STOPPED_SENDING, Body
from rex.attach.web.body_headers import check_whole
from rex.attach.web.checksum import ChecksumError, NoRoomError, receive_verified
from rex.attach.web.errors import answer_failure
from rex.attach.web.paths import handle_of, root_of, url_of
from rex.attach.web.tus_headers import (
    ALGORITHMS,
    FINAL,
    PARTIAL,
    Headers,
    checksum_of,
    content_type_of,
    metadata_of,
    number_of,
    size_of,
)
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request

    from rex.attach.storage.resumable import Upload
    from rex.attach.web.section import Handler, Service

__all__ = ["Tus"]

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "termination",
    "expiration",
    "checksum",
    "concatenation",
)
MAX_PARTS = 1000
INTERRUPT_SECONDS = 10
RETRY_SECONDS = 10
"""When a client may retry after `NoRoomError`."""


def _check_version(handler: Handler) -> Handler:
    """Return a handler that answers requests of other versions of tus with 412."""

    @functools.wraps(handler)
    async def answer(self: Tus, request: Request, **parameters: str) -> Response:
        if request.headers.get("tus-resumable") == VERSION:
            return await handler(self, request, **parameters)
        return problem(
            412,
            f"Tus-Resumable must be {VERSION}.",
            "precondition-failed",
            {"Tus-Version": VERSION},
            code="unsupported-version",
        )

    return answer


class Tus(Downloads):
    """The uploads of a storage, one at each path ``/tus/<handle>``.

    A handle is reserved when an upload begins, so the address of the upload tells the handle of
    the attachment; once the upload is complete, GET of the address is a download. The bytes that
    arrived before a connection broke are kept. A new request for an upload ends a running one:
    the client has given that up.
    """

    prefix = "/tus"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._running: dict[str, asyncio.Task[Upload]] = {}

    def method(self, request: Request) -> str:
        """Return the method of a request; X-HTTP-Method-Override counts for POST only."""
        if request.method != "POST":
            return request.method
        return request.headers.get("x-http-method-override", "POST").upper()

    def preflight(self) -> dict[str, str]:
        """Return the headers that answer a preflight request, with those of OPTIONS."""
        return super().preflight() | self._extensions()

    def cors(self, request: Request) -> dict[str, str]:
        """Return the CORS headers of every response to a request.

        A browser answers HEAD from a cached response to GET, which that of a tus client is not.
        """
        allowed = super().cors(request)
        varying = (allowed.get("Vary"), "Tus-Resumable")
        return {**allowed, "Vary": ", ".join(filter(None, varying))}

    async def respond(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Await the response of a handler; answer errors as tus clients expect."""
        try:
            response = await answer
        except ChecksumError:
            response = problem(
                460,
                "The content does not match Upload-Checksum.",
                "checksum-mismatch",
                code="digest-mismatch",
            )
        except NoRoomError:
            detail = "The service verifies too much content at once; try again later."
            headers = {"Retry-After": str(RETRY_SECONDS), "Connection": "close"}
            response = problem(503, detail, Kind.UNAVAILABLE.value, headers)
        except Error as failure:
            if failure.code == STOPPED_SENDING:
                # Clients take a conflict as a reason to ask for the offset and go on.
                headers = {"Connection": "close"}
                response = problem(
                    409, failure.message, Kind.CONFLICT.value, headers, code=failure.code
                )
            else:
                response = await answer_failure(request, failure, self._access)
        response.headers["Tus-Resumable"] = VERSION
        response.headers.setdefault("Cache-Control", "no-store")  # a download may be cached
        return response

    async def options(self, _: Request, **__: str) -> Response:
        """Report the version and the extensions of tus."""
        return Response(status_code=204, headers=self._extensions())

    def _extensions(self) -> dict[str, str]:
        headers = {
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": ",".join(EXTENSIONS),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        if self._storage.max_size is not None:
            headers["Tus-Max-Size"] = str(self._storage.max_size)
        return headers

    @_check_version
    async def create(self, request: Request) -> Response:
        """Begin a resumable upload (tus 1.0)."""
        check_whole(request.headers)
        concat = request.headers.get("upload-concat", "").strip()
        kept = Headers(request.headers.get("upload-metadata", ""), concat)
        metadata = metadata_of(kept.metadata)
        name = metadata.get("filename") or metadata.get("name") or ""
        content_type = content_type_of(metadata, name)
        if kept.is_final:
            return await self._join(request, name, content_type, kept)
        if concat not in ("", PARTIAL):
            raise Error("Upload-Concat must be partial or final;…", kind=Kind.ILL_FORMED)
        owner = self._access.owner(request)
        upload = await self._storage.aio.uploads.create(
            name,
            size=size_of(request, may_be_deferred=True),
            content_type=content_type,
            metadata=kept.encode(),
            partial=concat == PARTIAL,
            owner=owner,
        )
        await self._ask_for_new(request, upload.handle)
        headers = {"Location": self._url(request, upload.handle)}
        if upload.partial:
            headers["Upload-Concat"] = PARTIAL
        if request.headers.get("content-type", "").strip().lower() == CONTENT_TYPE:
            upload = await self._begin(request, upload)
            headers["Upload-Offset"] = str(upload.offset)
        return Response(status_code=201, headers=headers | _state(request, upload))

    async def _ask_for_new(self, request: Request, handle: str) -> None:
        """Check access with the new handle; remove the upload if the rule refuses."""
        try:
            await self._access.check(request, "upload", handle)
        except BaseException:
            await asyncio.shield(self._forget(handle))
            raise

    async def _begin(self, request: Request, upload: Upload) -> Upload:
        """Store the body of the creation, all or nothing: the client does not know the URL yet."""
        try:
            return await self._store(request, upload, size=None)
        except BaseException:
            await asyncio.shield(self._forget(upload.handle))
            raise

    async def _forget(self, handle: str) -> None:
        """Remove an upload; errors are ignored, since another error is reported."""
        with suppress(Error):
            await self._remove(await self._storage.aio.uploads.info(handle))

    async def _join(
        self, request: Request, name: str, content_type: str | None, kept: Headers
    ) -> Response:
        urls = kept.concat.removeprefix(FINAL).split()
        if not (0 < len(urls) <= MAX_PARTS and kept.concat.isascii()):
            raise Error(f"Upload-Concat must list 1 to {MAX_PARTS} uploads", kind=Kind.ILL_FORMED)
        parts = [self._part(request, url) for url in urls]
        for part in dict.fromkeys(parts):
            await self._access.check_upload(request, "upload", self._storage, part)
        kept, owner = kept.shorten(), self._access.owner(request)
        handle = await self._storage.aio.uploads.join(
            name, parts, content_type=content_type, metadata=kept.encode(), owner=owner
        )
        await self._ask_for_new(request, handle)
        headers = {
            "Location": self._url(request, handle),
            "Upload-Concat": kept.concat,
            "Content-Location": url_of(request, handle),
        }
        return Response(status_code=201, headers=headers)

    def _part(self, request: Request, url: str) -> str:
        """Return the handle of an upload by its URL."""
        try:
            path = urlsplit(url).path
        except ValueError:
            path = ""
        return handle_of(path.removeprefix(self._url(request, "")))

    @_check_version
    async def head(self, request: Request, handle: str) -> Response:
        """Return the offset of an upload."""
        await self._access.check_owner(request, self._storage, handle)
        upload = await self._take_over(handle)
        headers = {"Upload-Offset": str(upload.offset)}
        if upload.size is None:
            headers["Upload-Defer-Length"] = "1"
        else:
            headers["Upload-Length"] = str(upload.size)
        headers |= Headers.of(upload).headers() | _state(request, upload)
        response = Response(status_code=200, headers=headers)
        del response.headers["Content-Length"]  # would be that of GET (RFC 9110, section 8.6)
        return response

    @_check_version
    async def append(self, request: Request, handle: str) -> Response:
        """Continue an upload."""
        await self._access.check_owner(request, self._storage, handle)
        if request.headers.get("content-type", "").strip().lower() != CONTENT_TYPE:
            return problem(415, f"Content-Type must be {CONTENT_TYPE}.", "unsupported-media-type")
        offset = number_of(request, "upload-offset")
        if offset is None:
            raise Error("Upload-Offset is required", kind=Kind.ILL_FORMED)
        size = size_of(request, may_be_deferred=False)
        upload = await self._take_over(handle)
        if Headers.of(upload).is_final:
            raise Error("A final upload cannot be appended to", handle, kind=Kind.DENIED)
        if upload.offset != offset:
            raise Error(
                "Upload-Offset does not match the upload",
                f"{offset}, but {upload.offset} bytes are stored",
                kind=Kind.CONFLICT,
                code="offset-mismatch",
            )
        if size is not None and size < offset:
            raise Error(
                "Upload-Length is less than the offset",
                f"{size}, but {offset} bytes are stored",
                kind=Kind.CONFLICT,
            )
        upload = await self._store(request, upload, size=size)
        headers = {"Upload-Offset": str(upload.offset)}
        return Response(status_code=204, headers=headers | _state(request, upload))

    async def _store(self, request: Request, upload: Upload, *, size: int | None) -> Upload:
        """Append the body of a request; keep what arrived if the request breaks off."""
        checksum = checksum_of(request)
        most = upload.size if upload.size is not None else size
        most = self._storage.max_size if most is None else most
        body = Body(
            request,
            max_size=None if most is None else most - upload.offset,
            stall_seconds=self._stall_seconds,
        )
        if checksum is None:
            return await self._run(upload, body, size)
        async with receive_verified(body, *checksum) as content:
            return await self._run(upload, content, size)

    async def _run(self, upload: Upload, content: Body | BinaryIO, size: int | None) -> Upload:
        """Append content, until another request for the upload arrives; keep what was stored."""
        await self._interrupt(upload.handle)  # another request may have begun since
        running = asyncio.ensure_future(
            self._storage.aio.uploads.append(upload.handle, upload.offset, content, size=size)
        )
        self._running[upload.handle] = running
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
            if self._running.get(upload.handle) is running:
                del self._running[upload.handle]

    async def _take_over(self, handle: str) -> Upload:
        await self._interrupt(handle)
        return await self._storage.aio.uploads.info(handle)

    async def _interrupt(self, handle: str) -> None:
        """Cancel running requests that append to an upload."""
        while (running := self._running.get(handle)) is not None:
            running.cancel()
            await asyncio.wait({running}, timeout=INTERRUPT_SECONDS)
            if not running.done():
                raise Error("Another request is using the upload", handle, kind=Kind.BUSY)
            if self._running.get(handle) is running:
                del self._running[handle]

    @_check_version
    async def terminate(self, request: Request, handle: str) -> Response:
        """Remove an upload, or the attachment that it has become."""
        await self._access.check_owner(request, self._storage, handle)
        upload = await self._take_over(handle)
        if upload.expires_at is None:
            await self._access.check(request, "remove", handle)
        await self._remove(upload)
        return Response(status_code=204)

    async def _remove(self, upload: Upload) -> None:
        """Remove an upload, or the attachment that it has become."""
        aio = self._storage.aio
        remove = aio.remove if upload.expires_at is None else aio.uploads.remove
        await remove(upload.handle)

    def _url(self, request: Request, handle: str) -> str:
        return f"{root_of(request)}/tus{quote(handle, '/')}"


def _state(request: Request, upload: Upload) -> dict[str, str]:
    """Return when an upload expires, or the URL of its attachment once it is complete."""
    if upload.expires_at is None:
        return {"Content-Location": url_of(request, upload.handle)}
    return {"Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}
