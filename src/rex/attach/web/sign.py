"""One link per request for a browser that uses the S3 API: Uppy's option ``signRequest``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from rex.attach.backend.abilities import require
from rex.attach.handle import show
from rex.attach.storage.hooks import UploadRequest
from rex.attach.web.body import read_json
from rex.attach.web.paths import absolute
from rex.attach.web.receipts import receipt_of
from rex.attach.web.section import Section
from rex.attach.web.sign_relay import SignRelay, stated_type
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.links.link import PresignedLink
    from rex.attach.storage import UploadMethod
    from rex.attach.web.section import Service

__all__ = ["Sign"]

_STEPS = {"PUT": "part", "GET": "parts", "POST": "complete", "DELETE": "abort"}
"""The steps of a multipart upload after its beginning, by the method of S3's request."""


class Sign(Section):
    """Links for the requests that the browser is about to make.

    The storage chooses the key when an upload begins. The requests that follow name that key and
    the id that the server gave to the browser. Links to the server are for the parts of a multipart
    upload, and for whole files of a client that sends the headers of a link. The requests that
    begin and complete a multipart upload go to the service (`SignRelay`), as does what has no link.
    """

    prefix = "/sign"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._relay = SignRelay(self._storage, self._access, stall_seconds=self._stall_seconds)

    async def put(self, request: Request, handle: str) -> Response:
        """Upload with a link from /sign."""
        return await self._relay.answer(request, handle)

    async def post(self, request: Request, handle: str) -> Response:
        """Begin or complete a multipart upload with a link from /sign."""
        return await self._relay.answer(request, handle)

    async def get(self, request: Request, handle: str) -> Response:
        """List the parts of a multipart upload with a link from /sign."""
        return await self._relay.answer(request, handle)

    async def delete(self, request: Request, handle: str) -> Response:
        """Abort a multipart upload with a link from /sign."""
        return await self._relay.answer(request, handle)

    async def sign(self, request: Request) -> Response:
        """Sign a request to S3 (Uppy's signRequest)."""
        wanted = await read_json(request, stall_seconds=self._stall_seconds)
        if not isinstance(wanted.get("key"), str):
            raise Error("key must be a string", kind=Kind.ILL_FORMED)
        if wanted.get("uploadId") is None:
            begun = await self._access.begin(
                request,
                "link",
                self._storage,
                wanted["key"],
                content_type=stated_type(wanted.get("contentType")),
            )
            handle, receipt = begun.handle, await receipt_of(self._storage, begun)
            sign = self._first(request, wanted, begun)
        else:
            handle = self._handle_of_upload(wanted["key"])
            await self._access.check_upload(request, "link", self._storage, handle)
            receipt, sign = {}, self._next(request, wanted, handle)
        link = await self._storage.aio.sign(sign)
        content = {
            "url": absolute(request, link.url),
            "headers": dict(link.headers),
            # Uppy sends a form if `fields` exists.
            **({"fields": dict(link.fields)} if link.fields else {}),
            "key": self._storage.key_of_handle(handle),
            "handle": handle,
            **receipt,
        }
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    def _handle_of_upload(self, key: str) -> str:
        """Return the handle of a multipart upload by the key from the response that began it."""
        try:
            return self._storage.handle_of_key(key)
        except Error:
            raise Error(
                "key must be the key from the response that began the upload",
                f"{show(key)}; @uppy/aws-s3 sends that from version 6.1 on",
                kind=Kind.ILL_FORMED,
            ) from None

    def _first(
        self, request: Request, wanted: dict[str, Any], begun: UploadRequest
    ) -> Callable[[], PresignedLink]:
        """Return a function that signs the request that begins an upload."""
        expires = self._expires(wanted)
        relayed = partial(self._relay.link, request, begun, expires=expires)
        if wanted.get("method") == "PUT":
            # Clients that send contentType also send the headers of a link (@uppy/aws-s3 6.3).
            if wanted.get("contentType") is None:
                return partial(relayed, "put")
            return partial(self._whole, begun, expires, partial(relayed, "put"))
        if wanted.get("method") == "POST":
            require(self._storage.abilities.multipart, "multipart")
            return partial(relayed, "create")
        raise Error("method must be PUT or POST to begin an upload", kind=Kind.ILL_FORMED)

    def _whole(
        self, begun: UploadRequest, expires: float, otherwise: Callable[[], PresignedLink]
    ) -> PresignedLink:
        """Return a link for a whole file, to the server if the storage creates upload links."""
        links = self._storage.abilities.links
        if links is None or not links.signs_uploads:
            return otherwise()
        # On most servers, only a form can limit the size.
        has_put = begun.max_size is None or links.limits_put
        method: UploadMethod = "PUT" if has_put else "POST"
        if method == "POST" and not links.post_links:
            return otherwise()
        return self._storage.upload_link(
            begun.handle,
            method=method,
            max_size=begun.max_size,
            content_type=begun.content_type,
            expires=expires,
        )

    def _next(
        self, request: Request, wanted: dict[str, Any], handle: str
    ) -> Callable[[], PresignedLink]:
        """Return a function that signs a later request of a multipart upload."""
        multipart, upload_id = self._storage.multipart, wanted["uploadId"]
        if not isinstance(upload_id, str):
            raise Error("uploadId must be a string", kind=Kind.ILL_FORMED)
        upload_id, limit = self._relay.read_id(handle, upload_id)
        expires, method = self._expires(wanted), wanted.get("method")
        step = _STEPS.get(method) if isinstance(method, str) else None
        if step is None:
            raise Error("method must be PUT, GET, POST or DELETE", kind=Kind.ILL_FORMED)
        number: Any = wanted.get("partNumber") if step == "part" else None
        if step == "complete" or multipart.is_relayed:
            upload = UploadRequest(name=None, handle=handle, max_size=limit)
            relayed = partial(self._relay.link, request, upload, step, expires=expires)
            return partial(relayed, upload_id=upload_id, number=number)
        if step == "part":
            return partial(multipart.link, handle, upload_id, number, expires=expires)
        sign = multipart.parts_link if step == "parts" else multipart.abort_link
        return partial(sign, handle, upload_id, expires=expires)

    def _expires(self, wanted: dict[str, Any]) -> float:
        """Return the requested lifetime in seconds, limited to that of links."""
        asked = wanted.get("expiresIn")
        if asked is None:
            return self._storage.link_expires
        if not isinstance(asked, int | float) or isinstance(asked, bool):
            raise Error("expiresIn must be a number of seconds", kind=Kind.ILL_FORMED)
        return min(asked, self._storage.link_expires)
