"""The tus protocol, version 1.0: resumable uploads (tus.io/protocols)."""

from __future__ import annotations

import functools
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from rex.attach.http.body_headers import check_whole
from rex.attach.web.attachments import Downloads
from rex.attach.web.body import STOPPED_SENDING, Body, content_length_of
from rex.attach.web.checksum import ChecksumError, NoRoomError, receive_verified
from rex.attach.web.errors import answer_failure
from rex.attach.web.paths import below, handle_of, root_of, url_of
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

    from rex.attach.storage.hooks import UploadRequest
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
        self._transfers = service.transfers

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
        size = size_of(request, may_be_deferred=True)
        begun = await self._access.begin(
            request, "upload", self._storage, name, content_type=content_type, size=size
        )
        has_content = request.headers.get("content-type", "").strip().lower() == CONTENT_TYPE
        if has_content and not concat and _is_whole(request, size):
            upload = await self._store_whole(request, begun, kept.encode(), size)
        else:
            upload = await self._storage.aio.uploads.create(
                begun, size=size, metadata=kept.encode(), partial=concat == PARTIAL
            )
            if has_content:
                upload = await self._begin(request, upload, begun.owner)
        headers = {"Location": self._url(request, upload.handle)}
        if upload.partial:
            headers["Upload-Concat"] = PARTIAL
        if has_content:
            headers["Upload-Offset"] = str(upload.offset)
        return Response(status_code=201, headers=headers | _state(request, upload))

    async def _store_whole(
        self, request: Request, begun: UploadRequest, metadata: str, size: int | None
    ) -> Upload:
        """Store an upload that arrives with its creation, without a record: all or nothing."""
        checksum = checksum_of(request)
        body = Body(request, max_size=size, stall_seconds=self._stall_seconds)
        store = functools.partial(self._storage.aio.uploads.store, begun, metadata=metadata)
        if checksum is None:
            return await store(body)
        async with receive_verified(body, *checksum) as content:
            return await store(content)

    async def _begin(self, request: Request, upload: Upload, owner: object) -> Upload:
        """Store the body of the creation, all or nothing: the client does not know the URL yet."""
        try:
            return await self._store(request, upload, size=None, owner=owner)
        except BaseException:
            await self._transfers.forget(upload.handle)
            raise

    async def _join(
        self, request: Request, name: str, content_type: str | None, kept: Headers
    ) -> Response:
        urls = kept.concat.removeprefix(FINAL).split()
        if not (0 < len(urls) <= MAX_PARTS and kept.concat.isascii()):
            raise Error(f"Upload-Concat must list 1 to {MAX_PARTS} uploads", kind=Kind.ILL_FORMED)
        parts = [self._part(request, url) for url in urls]
        for part in dict.fromkeys(parts):
            await self._access.check_upload(request, "upload", self._storage, part)
        kept = kept.shorten()
        begun = await self._access.begin(
            request, "upload", self._storage, name, content_type=content_type
        )
        handle = await self._storage.aio.uploads.join(begun, parts, metadata=kept.encode())
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
        return handle_of(below(self._url(request, ""), path))

    @_check_version
    async def head(self, request: Request, handle: str) -> Response:
        """Return the offset of an upload."""
        upload = await self._transfers.find(request, handle)
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
        if request.headers.get("content-type", "").strip().lower() != CONTENT_TYPE:
            return problem(415, f"Content-Type must be {CONTENT_TYPE}.", "unsupported-media-type")
        offset = number_of(request, "upload-offset")
        if offset is None:
            raise Error("Upload-Offset is required", kind=Kind.ILL_FORMED)
        size = size_of(request, may_be_deferred=False)
        upload = await self._transfers.find(request, handle)
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
        owner = self._access.owner(request)
        upload = await self._store(request, upload, size=size, owner=owner)
        headers = {"Upload-Offset": str(upload.offset)}
        return Response(status_code=204, headers=headers | _state(request, upload))

    async def _store(
        self, request: Request, upload: Upload, *, size: int | None, owner: object
    ) -> Upload:
        """Append the body of a request; keep what arrived if the request breaks off."""
        checksum = checksum_of(request)
        body = self._transfers.body(request, upload, size=size)
        if checksum is None:
            return await self._transfers.append(upload, body, size=size, owner=owner)
        async with receive_verified(body, *checksum) as content:
            return await self._transfers.append(upload, content, size=size, owner=owner)

    @_check_version
    async def terminate(self, request: Request, handle: str) -> Response:
        """Remove an upload, or the attachment that it has become."""
        await self._transfers.terminate(request, handle)
        return Response(status_code=204)

    def _url(self, request: Request, handle: str) -> str:
        return f"{root_of(request)}/tus{quote(handle, '/')}"


def _is_whole(request: Request, size: int | None) -> bool:
    """Return whether the body of a creation is the whole upload."""
    return size is not None and content_length_of(request.headers) == size


def _state(request: Request, upload: Upload) -> dict[str, str]:
    """Return when an upload expires, or the URL of its attachment once it is complete."""
    if upload.expires_at is None:
        return {"Content-Location": url_of(request, upload.handle)}
    return {"Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}
