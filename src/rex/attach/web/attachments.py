"""The routes of attachments: upload, download, list, remove, link."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from rex.attach.handle import parse_handle
from rex.attach.http.body_headers import media_type_of
from rex.attach.http.conditions import CONDITIONS, NOT_EXPECTED, Verdict, judge, pick_headers
from rex.attach.storage.arguments import choose_limit
from rex.attach.web.archive import (
    ArchiveResponse,
    archive_headers,
    read_wanted,
    select_allowed,
)
from rex.attach.web.body import content_length_of, read_json
from rex.attach.web.download import serve
from rex.attach.web.interim import can_send_interim
from rex.attach.web.multipart import FORM_TYPE
from rex.attach.web.next_page import parse_next, redirect_to
from rex.attach.web.openapi import describe
from rex.attach.web.paths import root_of, url_of
from rex.attach.web.receipts import receipt_of
from rex.attach.web.section import Section
from rex.attach.web.upload import stored_response, upload
from rex.attach.web.upload_fields import UploadFields
from rex.attach.web.upload_resources import UploadResources
from rex.core import Error, Kind, typed
from rex.core.web import problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from rex.attach.web.section import Service

__all__ = ["Attachments", "Downloads"]

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
DETAILS_AT_ONCE = 16
"""Half of the threads of `storage.aio`: others must not wait for a page."""


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

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._uploads = UploadResources(service)

    @property
    def _is_resumable(self) -> bool:
        return self._storage.abilities.resumable is not None

    def preflight(self) -> dict[str, str]:
        """Return the headers that answer a preflight request, with those of OPTIONS."""
        limits = self._uploads.limits() if self._is_resumable else {}
        return {**super().preflight(), **limits}

    async def options(self, request: Request) -> Response:
        """Report the limits of resumable uploads (IETF)."""
        return await self._uploads.options(request)

    async def upload(self, request: Request) -> Response:
        """Store one file, or the files of a form; begin a resumable upload (IETF)."""
        fields = UploadFields.of(request)
        if fields.complete is None or not self._is_resumable:
            return await self._upload(request)
        return await self._uploads.respond(request, self._upload_declared(request, fields))

    async def _upload_declared(self, request: Request, fields: UploadFields) -> Response:
        """Store what a client of resumable uploads sends, with or without an upload resource."""
        length = content_length_of(request.headers)
        if media_type_of(request.headers) != FORM_TYPE:
            if not (fields.complete and self._is_conventional(request, fields, length)):
                return await self._uploads.create(request, fields)
            fields.length_with(0, length, ends=True)
        # The client would learn the URL only from the last response.
        response = await self._upload(request)
        response.headers.update(fields.completeness(complete=True))
        return response

    def _is_conventional(self, request: Request, fields: UploadFields, length: int | None) -> bool:
        """Return whether an upload resource would be of no use for a whole file.

        Older versions expect the fields of one in the response.
        """
        can_announce = fields.takes_interim and can_send_interim(request)
        return fields.is_open and length is not None and not can_announce

    async def _upload(self, request: Request) -> Response:
        next_page = parse_next(request)
        stored = await upload(
            request,
            self._storage,
            max_size=self._storage.max_size,
            stall_seconds=self._stall_seconds,
            begin=functools.partial(self._access.begin, request, "upload", self._storage),
        )
        if next_page is not None:
            return redirect_to(next_page, [each.handle for each in stored])
        return stored_response(request, stored)

    async def list_page(self, request: Request) -> Response:
        """List the handles, a page at a time."""
        query = request.query_params
        limit = _parse_limit(query.get("limit"))
        day, after = query.get("day") or None, query.get("after") or None
        has_details = _parse_details(query.get("details"))
        handles: list[str] = []
        async for handle in self._storage.aio.list(day=day, after=after):
            handles.append(handle)
            if len(handles) > limit:
                break
        page = [
            {"handle": handle, "url": url_of(request, handle), "name": parse_handle(handle).name}
            for handle in handles[:limit]
        ]
        if has_details:
            page = await self._add_details(page)
        next_url = None
        if len(handles) > limit:
            given = {"day": day, "limit": str(limit), "details": "1" if has_details else None}
            given["after"] = handles[limit - 1]
            encoded = urlencode({name: value for name, value in given.items() if value is not None})
            next_url = f"{root_of(request)}/?{encoded}"
        return JSONResponse({"attachments": page, "next": next_url})

    async def _add_details(self, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a page with more metadata, without attachments that no longer exist."""
        slots = asyncio.Semaphore(DETAILS_AT_ONCE)

        async def read(listed: dict[str, Any]) -> dict[str, Any] | None:
            try:
                async with slots:
                    info = (await self._storage.aio.info(listed["handle"])).as_dict()
            except Error as error:
                if error.kind is Kind.NOT_FOUND:
                    return None
                raise
            return listed | {name: info[name] for name in ("size", "content_type", "modified")}

        return [found for found in await asyncio.gather(*map(read, page)) if found is not None]

    async def zip(self, request: Request) -> Response:
        """Download many attachments as a ZIP archive.

        An attachment that the user may not download is like one that does not exist: its handle is
        in the manifest.
        """
        wanted = await read_wanted(request, stall_seconds=self._stall_seconds)
        allowed = await select_allowed(self._access, request, wanted.handles)
        archive = await self._storage.aio.zip(allowed, missing={*wanted.handles} - {*allowed})
        if archive.found and request.method != "HEAD":
            return ArchiveResponse(archive, wanted.name, self._stall_seconds)
        await archive.close()
        if not archive.found:
            raise Error("Attachment not found", kind=Kind.NOT_FOUND)
        return Response(None, 200, archive_headers(archive, wanted.name))

    async def remove(self, request: Request, handle: str) -> Response:
        """Remove an attachment."""
        conditions = pick_headers(request.scope["headers"], CONDITIONS)
        if conditions:
            info = await self._storage.aio.info(handle)
            if judge(conditions, info.etag, info.modified, is_read=False) is not Verdict.PROCEED:
                return problem(412, NOT_EXPECTED, "precondition-failed")
        await self._storage.aio.remove(handle)
        return Response(status_code=204)

    async def claim(self, request: Request) -> Response:
        """Claim an uploaded attachment, by its receipt, its handle or its key on the server."""
        wanted = await read_json(request, stall_seconds=self._stall_seconds)
        claimed: Any = wanted.get("receipt", wanted.get("handle"))  # the storage checks its type
        if claimed is None and "key" in wanted:
            claimed = self._storage.handle_of_key(wanted["key"])
        info = await self._storage.aio.claim(claimed, owner=self._access.owner(request))
        content = {**info.as_dict(), "url": url_of(request, info.handle)}
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

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
        content_type = wanted.get("content_type")
        begun = await self._access.begin(
            request, "link", self._storage, name, content_type=content_type
        )
        handle = begun.handle
        limit = choose_limit(None if size is None else typed.size.read(size), begun.max_size)
        # Only a form can limit the size.
        link = await self._storage.aio.upload_link(
            handle,
            method=method if limit is None else "POST",
            max_size=limit,
            content_type=begun.content_type,
        )
        receipt = await receipt_of(self._storage, dataclasses.replace(begun, max_size=limit))
        content = {"handle": handle, "link": link.as_dict(), **receipt}
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


def _parse_details(given: str | None) -> bool:
    try:
        return typed.boolean.read(given or "0")
    except ValueError:
        raise Error("details must be 1 or 0", kind=Kind.ILL_FORMED) from None


def _check_size(size: object, limit: int | None) -> None:
    try:
        asked = typed.size.read(size)
    except ValueError:
        raise Error("size must be a number of bytes", kind=Kind.ILL_FORMED) from None
    if limit is not None and asked > limit:
        raise Error("Attachment is too large", f"more than {limit} bytes", kind=Kind.TOO_LARGE)
