"""One link per request for a browser that uses the S3 API: Uppy's option ``signRequest``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from rex.attach.handle import show
from rex.attach.web.body import read_json
from rex.attach.web.companion import media_type_of
from rex.attach.web.section import Section
from rex.attach.web.sign_relay import SignRelay
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.links.link import PresignedLink
    from rex.attach.storage import UploadMethod
    from rex.attach.web.section import Service

__all__ = ["Sign"]


class Sign(Section):
    """Links for the requests that the browser is about to make.

    The storage chooses the key when an upload begins. The requests that follow name that key and
    the id that the server gave to the browser. Links to the server are for the parts of a multipart
    upload, and for whole files of a client that sends the headers of a link. The requests that
    begin and complete a multipart upload go to the service (`SignRelay`), as does a whole file
    where there is no link.
    """

    prefix = "/sign"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._relay = SignRelay(self._storage, stall_seconds=self._stall_seconds)

    async def put(self, request: Request, handle: str) -> Response:
        """Upload with a link from /sign."""
        return await self._relay.answer(request, handle)

    async def post(self, request: Request, handle: str) -> Response:
        """Begin or complete a multipart upload with a link from /sign."""
        return await self._relay.answer(request, handle)

    async def sign(self, request: Request) -> Response:
        """Sign a request to S3 (Uppy's signRequest)."""
        wanted = await read_json(request, stall_seconds=self._stall_seconds)
        if not isinstance(wanted.get("key"), str):
            raise Error("key must be a string", kind=Kind.ILL_FORMED)
        if wanted.get("uploadId") is None:
            owner = self._access.owner(request)
            handle = await self._storage.aio.reserve(wanted["key"], owner=owner)
            await self._access.check(request, "link", handle)
            sign = self._first(request, wanted, handle)
        else:
            handle = self._handle_of_upload(wanted["key"])
            await self._access.check_upload(request, "link", self._storage, handle)
            sign = self._next(request, wanted, handle)
        link = await self._storage.aio.run(sign)
        content = {
            "url": link.url,
            "headers": dict(link.headers),
            # Uppy sends a form if `fields` exists.
            **({"fields": dict(link.fields)} if link.fields else {}),
            "key": self._key(handle),
            "handle": handle,
        }
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    def _handle_of_upload(self, key: str) -> str:
        """Return the handle of a multipart upload by the key from the response that began it."""
        try:
            return self._storage.multipart.handle(key)
        except Error as error:
            if error.kind is not Kind.ILL_FORMED:
                raise
            raise Error(
                "key must be the key from the response that began the upload",
                f"{show(key)}; @uppy/aws-s3 sends that from version 6.1 on",
                kind=Kind.ILL_FORMED,
            ) from None

    def _first(
        self, request: Request, wanted: dict[str, Any], handle: str
    ) -> Callable[[], PresignedLink]:
        """Return a function that signs the request that begins an upload."""
        expires = self._expires(wanted)
        relayed = partial(self._relay.link, request, handle, expires=expires)
        if wanted.get("method") == "PUT":
            # Clients that send contentType also send the headers of a link (@uppy/aws-s3 6.3).
            if wanted.get("contentType") is None:
                return partial(relayed, "put")
            content_type = media_type_of(wanted["contentType"])
            return partial(self._whole, handle, content_type, expires, partial(relayed, "put"))
        if wanted.get("method") == "POST":
            self._storage.multipart.key(handle)  # raises where the storage lacks the ability
            return partial(relayed, "create")
        raise Error("method must be PUT or POST to begin an upload", kind=Kind.ILL_FORMED)

    def _whole(
        self,
        handle: str,
        content_type: str | None,
        expires: float,
        otherwise: Callable[[], PresignedLink],
    ) -> PresignedLink:
        """Return a link for a whole file, to the server if the storage creates upload links."""
        # Only a form can limit the size.
        method: UploadMethod = "PUT" if self._storage.max_size is None else "POST"
        links = self._storage.abilities.links
        if links is None or not links.signs_uploads:
            return otherwise()
        return self._storage.upload_link(
            handle, method=method, content_type=content_type, expires=expires
        )

    def _next(
        self, request: Request, wanted: dict[str, Any], handle: str
    ) -> Callable[[], PresignedLink]:
        """Return a function that signs a later request of a multipart upload."""
        multipart, upload_id = self._storage.multipart, wanted["uploadId"]
        if not isinstance(upload_id, str):
            raise Error("uploadId must be a string", kind=Kind.ILL_FORMED)
        expires = self._expires(wanted)
        match wanted.get("method"):
            case "PUT":
                number: Any = wanted.get("partNumber")
                return partial(multipart.link, handle, upload_id, number, expires=expires)
            case "GET":
                return partial(multipart.parts_link, handle, upload_id, expires=expires)
            case "POST":
                relayed = partial(self._relay.link, request, handle, "complete", expires=expires)
                return partial(relayed, upload_id=upload_id)
            case "DELETE":
                return partial(multipart.abort_link, handle, upload_id, expires=expires)
        raise Error("method must be PUT, GET, POST or DELETE", kind=Kind.ILL_FORMED)

    def _expires(self, wanted: dict[str, Any]) -> float:
        """Return the requested lifetime in seconds, limited to that of links."""
        asked = wanted.get("expiresIn")
        if asked is None:
            return self._storage.link_expires
        if not isinstance(asked, int | float) or isinstance(asked, bool):
            raise Error("expiresIn must be a number of seconds", kind=Kind.ILL_FORMED)
        return min(asked, self._storage.link_expires)

    def _key(self, handle: str) -> str:
        """Return the key of an attachment for the browser."""
        if self._storage.abilities.multipart is None:
            return handle[1:]
        return self._storage.multipart.key(handle)
