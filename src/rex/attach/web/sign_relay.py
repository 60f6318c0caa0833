"""Requests that the service sends to S3 on behalf of a browser.

A link to S3 pins the type, the disposition and the condition by headers that the client must send.
@uppy/aws-s3 before 6.2 does not send them, and no version sends the type of a multipart upload
before the request. So these requests go to the service, which does what the link would allow; the
parts go to S3.
"""

from __future__ import annotations

import datetime
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from starlette.responses import Response

from rex.attach.links.link import PresignedLink, link_seconds
from rex.attach.web.body import Body
from rex.attach.web.companion import media_type_of
from rex.attach.web.paths import root_of
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rex.attach.storage import Storage

    Claims = dict[str, Any]

__all__ = ["SignRelay"]

PURPOSE = "sign"
MAX_COMPLETE_BYTES = 1024 * 1024

# The one parameter, exactly as it was signed.
_QUERY = re.compile(rb"token=([A-Za-z0-9_.-]+)")

# What Uppy sends; any other XML is refused, so no XML parser is exposed.
_PART = r"<Part><PartNumber>([0-9]{1,5})</PartNumber><ETag>([^<>]{1,256})</ETag></Part>"
_COMPLETE = re.compile(rf"<CompleteMultipartUpload>((?:{_PART})*)</CompleteMultipartUpload>")


class SignRelay:
    """Answers ``/sign/<handle>?token=…`` as S3 would; the token carries the grant."""

    def __init__(self, storage: Storage, *, stall_seconds: float) -> None:
        self._storage = storage
        self._stall_seconds = stall_seconds
        self._steps: dict[tuple[str, str], Callable[[Request, Claims], Awaitable[Response]]] = {
            ("PUT", "put"): self._put,
            ("POST", "create"): self._create,
            ("POST", "complete"): self._complete,
        }

    def link(
        self, request: Request, handle: str, step: str, *, expires: float, upload_id: str = ""
    ) -> PresignedLink:
        """Return the link of a step: ``put``, ``create`` or ``complete``.

        Errors: `ILL_FORMED` for `expires` (seconds).
        """
        ends = time.time() + link_seconds(expires)
        claims = {"handle": handle, "step": step, "id": upload_id}
        token = self._storage.tokens.sign(PURPOSE, claims, expires=ends)
        return PresignedLink(
            method="PUT" if step == "put" else "POST",
            url=f"{self._base(request)}/sign{quote(handle, '/')}?token={token}",
            headers={},
            fields={},
            expires_at=datetime.datetime.fromtimestamp(ends, datetime.UTC),
        )

    async def answer(self, request: Request, handle: str) -> Response:
        """Do what a link allows. Errors: `DENIED` for any other request."""
        match = _QUERY.fullmatch(request.scope.get("query_string", b""))
        claims = self._storage.tokens.read(PURPOSE, match[1].decode() if match else "")
        step = self._steps.get((request.method, claims["step"]))
        if step is None or handle != claims["handle"]:
            raise Error(
                "Request differs from the signed one",
                kind=Kind.DENIED,
                code="address-changed",
            )
        return await step(request, claims)

    async def _put(self, request: Request, claims: Claims) -> Response:
        """Store the body; a repetition is 412, as with ``If-None-Match: *``."""
        body = Body(request, max_size=self._storage.max_size, stall_seconds=self._stall_seconds)
        handle, aio = claims["handle"], self._storage.aio
        try:
            await aio.put(handle, body, content_type=_content_type(request), idempotent=False)
        except Error as error:
            if error.kind is not Kind.EXISTS:
                raise
            return problem(412, str(error), Kind.EXISTS.value)
        info = await aio.info(handle)
        return Response(status_code=200, headers={"ETag": info.etag})

    async def _create(self, request: Request, claims: Claims) -> Response:
        """Begin a multipart upload, with the type that the browser sends."""
        handle, multipart = claims["handle"], self._storage.multipart
        upload_id = await self._storage.aio.run(multipart.create, handle, _content_type(request))
        return _xml(
            "InitiateMultipartUploadResult",
            Bucket=multipart.bucket,
            Key=multipart.key(handle),
            UploadId=upload_id,
        )

    async def _complete(self, request: Request, claims: Claims) -> Response:
        """Complete a multipart upload with the parts that the browser lists."""
        body = Body(request, max_size=MAX_COMPLETE_BYTES, stall_seconds=self._stall_seconds)
        read = b"".join([chunk async for chunk in body]).decode(errors="replace")
        named = _COMPLETE.fullmatch(read.strip())
        if named is None:
            raise Error("The body must be a CompleteMultipartUpload", kind=Kind.ILL_FORMED)
        parts = [(int(number), etag) for number, etag in re.findall(_PART, named[1])]
        handle, multipart, aio = claims["handle"], self._storage.multipart, self._storage.aio
        await aio.run(multipart.complete, handle, claims["id"], parts)
        link = await aio.download_link(handle)
        return _xml(
            "CompleteMultipartUploadResult",
            Location=link.url.partition("?")[0],
            Bucket=multipart.bucket,
            Key=multipart.key(handle),
        )

    def _base(self, request: Request) -> str:
        """Return the absolute URL of the service, which Uppy needs.

        Without ``attach_url``, the URL is that of the request. A same-origin request has the
        scheme in Origin, since a proxy may have changed it.
        """
        if self._storage.url is not None:
            return self._storage.url.rstrip("/")
        origin = request.headers.get("origin")
        if origin is None or request.headers.get("sec-fetch-site") != "same-origin":
            origin = f"{request.url.scheme}://{request.url.netloc}"
        return origin + root_of(request)


def _content_type(request: Request) -> str | None:
    """Return the type that the browser sends, or None if the file name decides."""
    return media_type_of(request.headers.get("content-type"))


def _xml(name: str, **elements: str) -> Response:
    inner = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in elements.items())
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inner}</{name}>'
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(content, 200, headers, media_type="application/xml")
