"""Uppy's uploads to S3 as its server, Companion, answers them: the routes ``/s3/…``."""

from __future__ import annotations

import datetime
import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from starlette.responses import JSONResponse

from rex.attach.content.media_type import content_type_for
from rex.attach.handle import show
from rex.attach.web.body import read_json
from rex.attach.web.errors import answer_failure
from rex.attach.web.section import GuardedSection, preflight_headers
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.links.link import PresignedLink

    Endpoint = Callable[[Request], Awaitable[Response]]

__all__ = ["Companion", "media_type_of"]

PURPOSE = "s3-multipart"
MAX_COMPLETE_BYTES = 1024 * 1024
MAX_BATCH = 1000

_NUMBER = re.compile(r"[0-9]{1,5}")


class _Upload(NamedTuple):
    """An upload in parts, as the token in its address tells it."""

    handle: str
    id: str
    max_size: int | None


class Companion(GuardedSection):
    """Links for the parts of an upload, to a browser that has no key of the server.

    What the browser takes for the id of an upload is a token, signed over its handle, the server's
    id, the largest size and the time by which it has to be completed.
    """

    preflight = preflight_headers("GET, POST, DELETE")

    async def answer(self, request: Request, path: str) -> Response:
        """Answer one request; what Uppy shows of an error is its ``message``."""
        try:
            return await self._answer(request, path)
        except Error as failure:
            response = await answer_failure(request, failure, self._access)
            content = json.loads(bytes(response.body))
            response.body = response.render({**content, "message": content["detail"]})
            response.headers["Content-Length"] = str(len(response.body))
            return response

    async def _answer(self, request: Request, path: str) -> Response:
        endpoints = self._endpoints([unquote(part) for part in path.split("/")[1:]])
        endpoint = endpoints.get(request.method)
        if endpoint is not None:
            return await endpoint(request)
        await self._access.check(request, "link")
        if not endpoints:
            raise Error("There is nothing here", kind=Kind.NOT_FOUND)
        allow = ", ".join(sorted(endpoints))
        return problem(405, f"Use {allow}.", "method-not-allowed", {"Allow": allow})

    def _endpoints(self, parts: list[str]) -> dict[str, Endpoint]:
        endpoints: dict[str, Endpoint] = {}
        match parts:
            case ["params"]:
                endpoints["GET"] = self._params
            case ["multipart"]:
                endpoints["POST"] = self._create
            case ["multipart", token]:
                endpoints["GET"] = partial(self._list, token)
                endpoints["DELETE"] = partial(self._abort, token)
            case ["multipart", token, "batch"]:
                endpoints["GET"] = partial(self._sign_parts, token)
            case ["multipart", token, "complete"]:
                endpoints["POST"] = partial(self._complete, token)
            case ["multipart", token, number]:
                endpoints["GET"] = partial(self._sign_part, token, number)
        return endpoints

    # An upload in one piece.

    async def _params(self, request: Request) -> Response:
        await self._access.check(request, "link")
        handle = await self._reserve(request, request.query_params.get("filename"))
        link = await self._storage.aio.upload_link(
            handle, content_type=media_type_of(request.query_params.get("type"))
        )
        return _json(
            {
                "method": link.method,
                "url": link.url,
                "fields": dict(link.fields),
                "expires": _seconds_left(link),
                "handle": handle,
            }
        )

    # An upload in parts.

    async def _create(self, request: Request) -> Response:
        await self._access.check(request, "link")
        multipart = self._storage.multipart
        wanted = await read_json(request, stall_seconds=self._stall_seconds)
        handle = await self._reserve(request, wanted.get("filename"))
        upload_id = await self._storage.aio.run(
            multipart.create, handle, media_type_of(wanted.get("type"))
        )
        claims = {
            "handle": handle,
            "id": upload_id,
            "max": self._storage.max_size,
        }
        expires = time.time() + self._storage.upload_expires
        return _json(
            {
                "key": multipart.key(handle),
                "uploadId": self._storage.tokens.sign(PURPOSE, claims, expires=expires),
                "bucket": multipart.bucket,
                "handle": handle,
            }
        )

    async def _list(self, token: str, request: Request) -> Response:
        upload = await self._open_token(token, request)

        def parts() -> list[dict[str, object]]:
            return [
                {"PartNumber": part.number, "Size": part.size, "ETag": part.etag}
                for part in self._storage.multipart.parts(upload.handle, upload.id)
            ]

        return _json(await self._storage.aio.run(parts))

    async def _sign_part(self, token: str, number: str, request: Request) -> Response:
        upload = await self._open_token(token, request)
        link = await self._part_link(upload, number)
        return _json({"url": link.url, "expires": _seconds_left(link)})

    async def _sign_parts(self, token: str, request: Request) -> Response:
        upload = await self._open_token(token, request)
        numbers = request.query_params.get("partNumbers", "").split(",")
        if len(numbers) > MAX_BATCH:
            raise Error(f"Ask for at most {MAX_BATCH} parts at once", kind=Kind.ILL_FORMED)
        urls = {number: (await self._part_link(upload, number)).url for number in numbers}
        return _json({"presignedUrls": urls})

    async def _complete(self, token: str, request: Request) -> Response:
        upload = await self._open_token(token, request)
        wanted = await read_json(
            request, stall_seconds=self._stall_seconds, max_size=MAX_COMPLETE_BYTES
        )
        multipart = self._storage.multipart
        await self._storage.aio.run(
            multipart.complete,
            upload.handle,
            upload.id,
            _read_parts(wanted.get("parts")),
            max_size=upload.max_size,
        )
        link = await self._storage.aio.download_link(upload.handle)
        return _json(
            {
                "location": link.url.partition("?")[0],
                "key": multipart.key(upload.handle),
                "bucket": multipart.bucket,
                "handle": upload.handle,
            }
        )

    async def _abort(self, token: str, request: Request) -> Response:
        upload = await self._open_token(token, request)
        await self._storage.aio.run(self._storage.multipart.abort, upload.handle, upload.id)
        return _json({})

    # What the endpoints share.

    async def _reserve(self, request: Request, filename: object) -> str:
        if not isinstance(filename, str):
            raise Error("Ill-formed request: filename is a text", kind=Kind.ILL_FORMED)
        handle = await self._storage.aio.reserve(filename, owner=self._access.owner(request))
        await self._access.check(request, "link", handle)
        return handle

    async def _open_token(self, token: str, request: Request) -> _Upload:
        """Return the upload of a token. Errors: `DENIED` for another user than who began it."""
        await self._access.check(request, "link")
        multipart = self._storage.multipart
        claims = self._storage.tokens.read(PURPOSE, token)
        upload = _Upload(claims["handle"], claims["id"], claims["max"])
        await self._access.check_upload(request, "link", self._storage, upload.handle)
        if request.query_params.get("key") != multipart.key(upload.handle):
            raise Error("The key is not that of the upload", kind=Kind.DENIED)
        return upload

    async def _part_link(self, upload: _Upload, number: str) -> PresignedLink:
        if not _NUMBER.fullmatch(number):
            raise Error("The number of a part is a number", show(number), kind=Kind.ILL_FORMED)
        return await self._storage.aio.run(
            self._storage.multipart.link, upload.handle, upload.id, int(number)
        )


def media_type_of(given: object) -> str | None:
    """Give the content type that a browser tells of a file; None where it knows none."""
    try:
        return content_type_for("", given) if isinstance(given, str) else None
    except Error:
        return None


def _read_parts(given: Any) -> list[tuple[int, str]]:
    try:
        return [(part["PartNumber"], part["ETag"]) for part in given]
    except (TypeError, KeyError, IndexError):
        raise Error(
            "Ill-formed request: parts are objects with PartNumber and ETag", kind=Kind.ILL_FORMED
        ) from None


def _seconds_left(link: PresignedLink) -> int:
    left = link.expires_at - datetime.datetime.now(datetime.UTC)
    return max(1, int(left.total_seconds()))


def _json(content: object) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})
