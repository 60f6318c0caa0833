"""Requests that the service sends to S3 or Azure on behalf of a browser.

A link to S3 pins the type, the disposition and the condition by headers that the client must send.
@uppy/aws-s3 before 6.2 does not send them, and no version sends the type of a multipart upload
before the request. So these requests go to the service, which does what the link would allow; the
parts go to S3. On Azure, which has no links for parts, all requests go to the service.
"""

from __future__ import annotations

import datetime
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from starlette.responses import Response

from rex.attach.content.media_type import content_type_for
from rex.attach.links.link import PresignedLink, link_seconds
from rex.attach.storage.arguments import choose_limit
from rex.attach.storage.multipart import check_part_number
from rex.attach.web.body import Body
from rex.attach.web.paths import origin_of, root_of
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rex.attach.storage import Storage
    from rex.attach.storage.hooks import UploadRequest
    from rex.attach.web.access import Access

    Claims = dict[str, Any]

__all__ = ["SignRelay", "stated_type"]

PURPOSE = "sign"
UPLOAD = "sign-upload"
MAX_COMPLETE_BYTES = 1024 * 1024

# The one parameter, exactly as it was signed.
_QUERY = re.compile(rb"token=([A-Za-z0-9_.-]+)")

# What Uppy sends; any other XML is refused, so no XML parser is exposed.
_PART = r"<Part><PartNumber>([0-9]{1,5})</PartNumber><ETag>([^<>]{1,256})</ETag></Part>"
_QUOTE = {'"': "&quot;"}
_COMPLETE = re.compile(rf"<CompleteMultipartUpload>((?:{_PART})*)</CompleteMultipartUpload>")


class SignRelay:
    """Answers ``/sign/<handle>?token=…`` as S3 would; the token carries the grant."""

    def __init__(self, storage: Storage, access: Access, *, stall_seconds: float) -> None:
        self._storage = storage
        self._access = access
        self._stall_seconds = stall_seconds
        self._steps: dict[tuple[str, str], Callable[[Request, Claims], Awaitable[Response]]] = {
            ("PUT", "put"): self._put,
            ("POST", "create"): self._create,
            ("POST", "complete"): self._complete,
            ("PUT", "part"): self._part,
            ("GET", "parts"): self._parts,
            ("DELETE", "abort"): self._abort,
        }

    def link(
        self,
        request: Request,
        begun: UploadRequest,
        step: str,
        *,
        expires: float,
        upload_id: str = "",
        number: Any = None,
    ) -> PresignedLink:
        """Return the link of a step: ``put``, ``create``, ``part``, …; `number` is that of a part.

        Errors: `ILL_FORMED` for `expires` (seconds), and for the number.
        """
        if step == "part":
            check_part_number(number)
        ends = time.time() + link_seconds(expires)
        handle, limit = begun.handle, begun.max_size
        claims = {
            "handle": handle,
            "step": step,
            "id": upload_id,
            "max": limit,
            "type": begun.content_type,
            **({} if number is None else {"number": number}),
        }
        token = self._storage.tokens.sign(PURPOSE, claims, expires=ends)
        return PresignedLink(
            method=next(method for method, each in self._steps if each == step),
            url=f"{self._base(request)}/sign{quote(handle, '/')}?token={token}",
            headers={},
            fields={},
            expires_at=datetime.datetime.fromtimestamp(ends, datetime.UTC),
        )

    def read_id(self, handle: str, given: str) -> tuple[str, int | None]:
        """Return the server's id and the size limit of a multipart upload by the browser's id.

        With ``on_begin``, the browser's id is a token that carries both. Errors: `DENIED`.
        """
        if not self._storage.hooks.begins:
            return given, None
        claims = self._storage.tokens.read(UPLOAD, given)
        if claims["handle"] != handle:
            raise Error("key is not the key of the upload", kind=Kind.DENIED)
        return claims["id"], claims["max"]

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
        limit = choose_limit(claims["max"], self._storage.max_size)
        body = Body(request, max_size=limit, stall_seconds=self._stall_seconds)
        handle, aio = claims["handle"], self._storage.aio
        # A client repeats an upload whose bytes were stored and whose hooks failed.
        idempotent = self._storage.hooks.notifies
        try:
            await aio.put(
                handle,
                body,
                content_type=_content_type(request, claims),
                owner=await self._access.find_owner(request, self._storage, handle),
                idempotent=idempotent,
            )
        except Error as error:
            if error.kind is not Kind.EXISTS:
                raise
            return problem(412, str(error), Kind.EXISTS.value)
        info = await aio.info(handle)
        return Response(status_code=200, headers={"ETag": info.etag})

    async def _create(self, request: Request, claims: Claims) -> Response:
        """Begin a multipart upload, with the type that the browser sends."""
        handle, multipart = claims["handle"], self._storage.multipart
        media_type = _content_type(request, claims)
        upload_id = await self._storage.aio.run(multipart.create, handle, media_type)
        if self._storage.hooks.begins:
            carried = {"handle": handle, "id": upload_id, "max": claims["max"]}
            expires = time.time() + self._storage.upload_expires
            upload_id = self._storage.tokens.sign(UPLOAD, carried, expires=expires)
        return _xml(
            "InitiateMultipartUploadResult",
            Bucket=multipart.bucket,
            Key=self._storage.key_of_handle(handle),
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
        await aio.run_long(
            multipart.complete,
            handle,
            claims["id"],
            parts,
            max_size=claims["max"],
            owner=await self._access.find_owner(request, self._storage, handle),
        )
        link = await aio.download_link(handle)
        return _xml(
            "CompleteMultipartUploadResult",
            Location=link.url.partition("?")[0],
            Bucket=multipart.bucket,
            Key=self._storage.key_of_handle(handle),
        )

    async def _part(self, request: Request, claims: Claims) -> Response:
        """Store a part where there are no links for parts."""
        limit = choose_limit(claims["max"], self._storage.max_size)
        body = Body(request, max_size=limit, stall_seconds=self._stall_seconds)
        part = await self._storage.aio.put_part(
            claims["handle"], claims["id"], claims["number"], body
        )
        return Response(status_code=200, headers={"ETag": part.etag})

    async def _parts(self, _: Request, claims: Claims) -> Response:
        """List the parts that are stored."""
        handle, multipart = claims["handle"], self._storage.multipart
        found = await self._storage.aio.run(lambda: [*multipart.parts(handle, claims["id"])])
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag, _QUOTE)}</ETag>"
            f"<Size>{part.size}</Size></Part>"
            for part in found
        )
        key = escape(self._storage.key_of_handle(handle))
        return _answer(
            "ListPartsResult",
            f"<Bucket>{escape(multipart.bucket)}</Bucket><Key>{key}</Key>{listed}",
        )

    async def _abort(self, _: Request, claims: Claims) -> Response:
        """Abort a multipart upload."""
        aio = self._storage.aio
        await aio.run(self._storage.multipart.abort, claims["handle"], claims["id"])
        return Response(status_code=204)

    @staticmethod
    def _base(request: Request) -> str:
        """Return the absolute URL of the service, which Uppy needs."""
        return origin_of(request) + root_of(request)


def stated_type(given: object) -> str | None:
    """Return the content type that a browser sent for a file, or None if it is not valid."""
    try:
        return content_type_for("", given) if isinstance(given, str) else None
    except Error:
        return None


def _content_type(request: Request, claims: Claims) -> str | None:
    """Return the type of the link, or that which the browser sends; None: the file name decides."""
    return claims.get("type") or stated_type(request.headers.get("content-type"))


def _xml(name: str, **elements: str) -> Response:
    return _answer(name, _elements(elements))


def _elements(texts: dict[str, str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in texts.items())


def _answer(name: str, inner: str) -> Response:
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inner}</{name}>'
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(content, 200, headers, media_type="application/xml")
