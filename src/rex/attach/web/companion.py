"""The routes ``/s3/…``: S3 uploads with the protocol of Companion, Uppy's server."""

from __future__ import annotations

import datetime
import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import JSONResponse

from rex.attach.handle import show
from rex.attach.storage.hooks import UploadRequest
from rex.attach.web.body import read_json
from rex.attach.web.errors import answer_failure
from rex.attach.web.receipts import receipt_of
from rex.attach.web.section import Section
from rex.attach.web.sign_relay import SignRelay, stated_type
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.links.link import PresignedLink
    from rex.attach.web.section import Service

__all__ = ["Companion"]

PURPOSE = "s3-multipart"
MAX_COMPLETE_BYTES = 1024 * 1024
MAX_BATCH = 1000

_NUMBER = re.compile(r"[0-9]{1,5}")


class _Upload(NamedTuple):
    """A multipart upload, as its token describes it."""

    handle: str
    id: str
    max_size: int | None


class Companion(Section):
    """Links for the parts of an upload, for a browser without S3 credentials.

    The upload id that the browser receives is a signed token with the handle, the server's upload
    id, the size limit and the time by which the upload must be completed. Where the server has no
    links for parts, they go to the service (`SignRelay`).
    """

    prefix = "/s3"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._relay = SignRelay(self._storage, self._access, stall_seconds=self._stall_seconds)

    async def respond(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Await the response of a handler; Uppy shows the ``message`` of an error."""
        try:
            return await answer
        except Error as failure:
            response = await answer_failure(request, failure, self._access)
            content = json.loads(bytes(response.body))
            response.body = json.dumps({**content, "message": content["detail"]}).encode()
            response.headers["Content-Length"] = str(len(response.body))
            return response

    # An upload in one request.

    async def params(self, request: Request) -> Response:
        """Reserve a handle and create an upload form (Uppy)."""
        query = request.query_params
        begun = await self._begin(request, query.get("filename"), query.get("type"))
        handle = begun.handle
        link = await self._storage.aio.upload_link(
            handle, content_type=begun.content_type, max_size=begun.max_size
        )
        return _json(
            {
                "method": link.method,
                "url": link.url,
                "fields": dict(link.fields),
                "expires": _seconds_left(link),
                "handle": handle,
                **await receipt_of(self._storage, begun),
            }
        )

    # A multipart upload.

    async def create(self, request: Request) -> Response:
        """Begin a multipart upload (Uppy)."""
        multipart = self._storage.multipart
        wanted = await read_json(request, stall_seconds=self._stall_seconds)
        begun = await self._begin(request, wanted.get("filename"), wanted.get("type"))
        handle = begun.handle
        upload_id = await self._storage.aio.run(multipart.create, handle, begun.content_type)
        claims = {"handle": handle, "id": upload_id, "max": begun.max_size}
        expires = time.time() + self._storage.upload_expires
        return _json(
            {
                "key": self._storage.key_of_handle(handle),
                "uploadId": self._storage.tokens.sign(PURPOSE, claims, expires=expires),
                "bucket": multipart.bucket,
                "handle": handle,
            }
        )

    async def list_parts(self, request: Request, upload_id: str) -> Response:
        """List the parts of a multipart upload."""
        upload = await self._open_token(request, upload_id)

        def parts() -> list[dict[str, object]]:
            return [
                {"PartNumber": part.number, "Size": part.size, "ETag": part.etag}
                for part in self._storage.multipart.parts(upload.handle, upload.id)
            ]

        return _json(await self._storage.aio.run(parts))

    async def sign_part(self, request: Request, upload_id: str, part: str) -> Response:
        """Create the upload link of a part."""
        upload = await self._open_token(request, upload_id)
        link = await self._storage.aio.sign(self._part_link, request, upload, part)
        return _json({"url": link.url, "expires": _seconds_left(link)})

    async def sign_parts(self, request: Request, upload_id: str) -> Response:
        """Create the upload links of several parts."""
        upload = await self._open_token(request, upload_id)
        numbers = request.query_params.get("partNumbers", "").split(",")
        if len(numbers) > MAX_BATCH:
            raise Error(f"partNumbers must name at most {MAX_BATCH} parts", kind=Kind.ILL_FORMED)

        def sign() -> dict[str, str]:
            return {number: self._part_link(request, upload, number).url for number in numbers}

        return _json({"presignedUrls": await self._storage.aio.run(sign)})

    async def complete(self, request: Request, upload_id: str) -> Response:
        """Complete a multipart upload."""
        upload = await self._open_token(request, upload_id)
        wanted = await read_json(
            request, stall_seconds=self._stall_seconds, max_size=MAX_COMPLETE_BYTES
        )
        multipart = self._storage.multipart
        await self._storage.aio.run_long(
            multipart.complete,
            upload.handle,
            upload.id,
            _read_parts(wanted.get("parts")),
            max_size=upload.max_size,
            owner=self._access.owner(request),
        )
        link = await self._storage.aio.download_link(upload.handle)
        return _json(
            {
                "location": link.url.partition("?")[0],
                "key": self._storage.key_of_handle(upload.handle),
                "bucket": multipart.bucket,
                "handle": upload.handle,
            }
        )

    async def abort(self, request: Request, upload_id: str) -> Response:
        """Abort a multipart upload."""
        upload = await self._open_token(request, upload_id)
        await self._storage.aio.run(self._storage.multipart.abort, upload.handle, upload.id)
        return _json({})

    # What the endpoints share.

    async def _begin(self, request: Request, filename: object, given: object) -> UploadRequest:
        if not isinstance(filename, str):
            raise Error("filename must be a string", kind=Kind.ILL_FORMED)
        return await self._access.begin(
            request, "link", self._storage, filename, content_type=stated_type(given)
        )

    async def _open_token(self, request: Request, token: str) -> _Upload:
        """Return the upload of a token. Errors: `DENIED` for a user who did not begin it."""
        claims = self._storage.tokens.read(PURPOSE, token)
        upload = _Upload(claims["handle"], claims["id"], claims["max"])
        await self._access.check_upload(request, "link", self._storage, upload.handle)
        if request.query_params.get("key") != self._storage.key_of_handle(upload.handle):
            raise Error("key is not the key of the upload", kind=Kind.DENIED)
        return upload

    def _part_link(self, request: Request, upload: _Upload, number: str) -> PresignedLink:
        if not _NUMBER.fullmatch(number):
            raise Error("partNumber must be an integer", show(number), kind=Kind.ILL_FORMED)
        if self._storage.multipart.is_relayed:
            begun = UploadRequest(name=None, handle=upload.handle, max_size=upload.max_size)
            expires = self._storage.link_expires
            return self._relay.link(
                request, begun, "part", expires=expires, upload_id=upload.id, number=int(number)
            )
        return self._storage.multipart.link(upload.handle, upload.id, int(number))


def _read_parts(given: Any) -> list[tuple[int, str]]:
    try:
        return [(part["PartNumber"], part["ETag"]) for part in given]
    except (TypeError, KeyError, IndexError):
        raise Error(
            "parts must be objects with PartNumber and ETag", kind=Kind.ILL_FORMED
        ) from None


def _seconds_left(link: PresignedLink) -> int:
    left = link.expires_at - datetime.datetime.now(datetime.UTC)
    return max(1, int(left.total_seconds()))


def _json(content: object) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})
