"""The routes of attachments: upload, download, list, remove, link."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from rex.attach.web.body import read_json
from rex.attach.web.conditions import CONDITIONS, NOT_EXPECTED, Verdict, judge, pick_headers
from rex.attach.web.download import serve
from rex.attach.web.openapi import describe
from rex.attach.web.paths import root_of, url_of
from rex.attach.web.section import Section
from rex.attach.web.upload import take_back, upload
from rex.core import Error, Kind, typed
from rex.core.web import problem

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Attachments", "Downloads"]

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


class Downloads(Section):
    """The three responses to a GET of an attachment."""

    async def download(self, request: Request, handle: str) -> Response:
        """Download an attachment."""
        return await serve(request, self._storage, handle, stall_seconds=self._stall_seconds)

    async def redirect(self, _: Request, handle: str) -> Response:
        """Redirect to a download link."""
        link = await self._storage.aio.download_link(handle, inline=True)
        return Response(None, 307, {"Location": link.url, "Cache-Control": "no-store"})

    async def download_link(self, _: Request, handle: str) -> Response:
        """Create a download link."""
        await self._storage.aio.info(handle)  # signing does not check that it exists
        link = await self._storage.aio.download_link(handle)
        return JSONResponse(link.as_dict(), headers={"Cache-Control": "no-store"})


class Attachments(Downloads):
    """The collection of attachments, and each attachment at its handle."""

    async def upload(self, request: Request) -> Response:
        """Store one file, or the files of a form."""
        stored = await upload(
            request,
            self._storage,
            max_size=self._storage.max_size,
            stall_seconds=self._stall_seconds,
        )
        try:
            for each in stored:
                await self._access.check(request, "upload", each.handle)
        except BaseException:
            await take_back(self._storage, stored)
            raise
        files = [
            {**dataclasses.asdict(each), "url": url_of(request, each.handle)} for each in stored
        ]
        headers = {"Location": files[0]["url"]} if len(files) == 1 else {}
        return JSONResponse({"attachments": files}, 201, headers)

    async def list_page(self, request: Request) -> Response:
        """List the handles, a page at a time."""
        query = request.query_params
        limit = _parse_limit(query.get("limit"))
        day, after = query.get("day") or None, query.get("after") or None
        handles: list[str] = []
        async for handle in self._storage.aio.list(day=day, after=after):
            handles.append(handle)
            if len(handles) > limit:
                break
        page = [{"handle": handle, "url": url_of(request, handle)} for handle in handles[:limit]]
        next_url = None
        if len(handles) > limit:
            given = {"day": day, "limit": str(limit), "after": handles[limit - 1]}
            encoded = urlencode({name: value for name, value in given.items() if value is not None})
            next_url = f"{root_of(request)}/?{encoded}"
        return JSONResponse({"attachments": page, "next": next_url})

    async def remove(self, request: Request, handle: str) -> Response:
        """Remove an attachment."""
        conditions = pick_headers(request.scope["headers"], CONDITIONS)
        if conditions:
            info = await self._storage.aio.info(handle)
            if judge(conditions, info.etag, info.modified, is_read=False) is not Verdict.PROCEED:
                return problem(412, NOT_EXPECTED, "precondition-failed")
        await self._storage.aio.remove(handle)
        return Response(status_code=204)

    async def upload_link(self, request: Request) -> Response:
        """Reserve a handle and create an upload link."""
        wanted = await read_json(request, stall_seconds=self._stall_seconds)
        name, size = wanted.get("name"), wanted.get("size")
        if not isinstance(name, str):
            raise Error("name must be a string", kind=Kind.ILL_FORMED)
        if size is not None:
            _check_size(size, self._storage.max_size)
        method = wanted.get("method", "PUT")
        if method not in ("POST", "PUT"):
            raise Error("method must be POST or PUT", kind=Kind.ILL_FORMED)
        handle = await self._storage.aio.reserve(name)
        await self._access.check(request, "link", handle)
        # Only a form can limit the size.
        limited = size is not None or self._storage.max_size is not None
        link = await self._storage.aio.upload_link(
            handle,
            method="POST" if limited else method,
            max_size=None if size is None else typed.size.read(size),
            content_type=wanted.get("content_type"),
        )
        content = {"handle": handle, "link": link.as_dict()}
        return JSONResponse(content, 201, {"Cache-Control": "no-store"})

    async def describe(self, request: Request) -> Response:
        """Describe the service in OpenAPI 3.1."""
        return JSONResponse(describe(root_of(request), self._service.routes))


def _parse_limit(given: str | None) -> int:
    if given is None:
        return PAGE_SIZE
    if not re.fullmatch("[0-9]{1,4}", given) or not 1 <= int(given) <= MAX_PAGE_SIZE:
        raise Error(f"limit must be an integer from 1 to {MAX_PAGE_SIZE}", kind=Kind.ILL_FORMED)
    return int(given)


def _check_size(size: object, limit: int | None) -> None:
    try:
        asked = typed.size.read(size)
    except ValueError:
        raise Error("size must be a number of bytes", kind=Kind.ILL_FORMED) from None
    if limit is not None and asked > limit:
        raise Error("Attachment is too large", f"more than {limit} bytes", kind=Kind.TOO_LARGE)
