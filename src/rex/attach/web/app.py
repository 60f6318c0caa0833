"""The service's routes: upload, serve, list, remove, link."""

from __future__ import annotations

import dataclasses
import re
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send  # noqa: TC002 - resolved at run time

from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.access import Access  # noqa: TC001 - resolved at run time
from rex.attach.web.body import read_json
from rex.attach.web.companion import Companion
from rex.attach.web.conditions import CONDITIONS, NOT_EXPECTED, Verdict, judge, pick_headers
from rex.attach.web.download import serve
from rex.attach.web.errors import answer_failure
from rex.attach.web.openapi import describe
from rex.attach.web.paths import handle_of, raw_path, root_of, url_of
from rex.attach.web.section import preflight_headers
from rex.attach.web.service_links import Signed
from rex.attach.web.sign import Sign
from rex.attach.web.tus import Tus
from rex.attach.web.upload import take_back, upload
from rex.core import Error, Kind, typed
from rex.core.staged_close import StagedClose
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rex.attach.web.section import Section

    Endpoint = Callable[[Request], Awaitable[Response]]

__all__ = ["Options", "attachments"]

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


class Options(NamedTuple):
    """How the service behaves."""

    redirect: bool = False
    """Answer a download with a redirect to a download link, where the storage makes links."""
    stall_seconds: float = 30
    """How long to wait for a client that neither sends nor takes anything."""


def attachments(storage: Storage, access: Access, options: Options | None = None) -> ASGIApp:
    """Make the ASGI application over a storage; mount it wherever you like.

    | request | answer |
    |---|---|
    | ``POST /`` | 201: a form with files, or a body with ``?name=``, is stored |
    | ``GET /?day=&after=&limit=`` | a page of handles |
    | ``POST /links`` | 201: a handle, and a link to upload it |
    | ``GET /<handle>``, ``HEAD`` | the bytes, or a redirect |
    | ``GET /<handle>?link`` | a download link |
    | ``DELETE /<handle>`` | 204 |

    Whether a request is allowed is asked before anything else. Errors are problems in JSON
    (RFC 9457), with the `kind` of the error.
    """
    return StagedClose(_Service(storage, access, options or Options()))


class _Service:
    def __init__(self, storage: Storage, access: Access, options: Options) -> None:
        self._storage = storage
        self._access = access
        self._options = options
        self._collection: dict[str, Endpoint] = {
            "GET": self._list,
            "HEAD": self._list,
            "POST": self._upload,
        }
        self._links: dict[str, Endpoint] = {"POST": self._upload_link}
        self._sections: dict[str, Section] = {
            "signed": Signed(storage, stall_seconds=options.stall_seconds),
            "tus": Tus(
                storage, access, stall_seconds=options.stall_seconds, download=self._download
            ),
            "s3": Companion(storage, access, stall_seconds=options.stall_seconds),
            "sign": Sign(storage, access, stall_seconds=options.stall_seconds),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        section, path = self._section(raw_path(scope))
        allowed = section.cors(request)
        try:
            self._access.check_host(request)
            if "Access-Control-Allow-Origin" in allowed and request.method == "OPTIONS":
                response = Response(status_code=204, headers=section.preflight)
            else:
                response = await section.answer(request, path)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is answered
            response = await answer_failure(request, failure, self._access)
        # What an answer says depends on who asks.
        response.headers.setdefault("Cache-Control", "no-store")
        for name, value in allowed.items():
            if name == "Vary":
                response.headers.add_vary_header(value)
            else:
                response.headers[name] = value
        if request.method == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    def _section(self, path: str) -> tuple[Section, str]:
        """Give what answers under a path, and the rest of the path."""
        first, slash, rest = path[1:].partition("/")
        section = self._sections.get(first) if path.startswith("/") else None
        return (self, path) if section is None else (section, slash + rest)

    preflight = preflight_headers("GET, HEAD, POST, DELETE")

    def cors(self, request: Request) -> dict[str, str]:
        """Let the pages of the sites that may use the service read its answers."""
        return self._access.cors(request)

    async def answer(self, request: Request, path: str) -> Response:
        """Answer what no section does."""
        if path in ("", "/"):
            return await self._route(request, self._collection)
        if path == "/links":
            return await self._route(request, self._links)
        if path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return JSONResponse(describe(root_of(request)))
        handle = handle_of(path)
        endpoints: dict[str, Endpoint] = {
            "GET": partial(self._download, handle=handle),
            "HEAD": partial(self._download, handle=handle),
            "DELETE": partial(self._remove, handle=handle),
        }
        return await self._route(request, endpoints)

    async def _route(self, request: Request, endpoints: dict[str, Endpoint]) -> Response:
        endpoint = endpoints.get(request.method)
        if endpoint is None:
            await self._access.check(request, "list")
            allow = ", ".join(sorted(endpoints))
            return problem(405, f"Use {allow}.", "method-not-allowed", {"Allow": allow})
        return await endpoint(request)

    async def _upload(self, request: Request) -> Response:
        await self._access.check(request, "upload")
        stored = await upload(
            request,
            self._storage,
            max_size=self._storage.max_size,
            stall_seconds=self._options.stall_seconds,
        )
        try:
            for one in stored:
                await self._access.check(request, "upload", one.handle)
        except BaseException:
            await take_back(self._storage, stored)
            raise
        files = [{**dataclasses.asdict(one), "url": url_of(request, one.handle)} for one in stored]
        headers = {"Location": files[0]["url"]} if len(files) == 1 else {}
        return JSONResponse({"attachments": files}, 201, headers)

    async def _list(self, request: Request) -> Response:
        await self._access.check(request, "list")
        query = request.query_params
        limit = _limit(query.get("limit"))
        day, after = query.get("day") or None, query.get("after") or None
        handles: list[str] = []
        async for handle in self._storage.aio.list(day=day, after=after):
            handles.append(handle)
            if len(handles) > limit:
                break
        page = [{"handle": handle, "url": url_of(request, handle)} for handle in handles[:limit]]
        there = None
        if len(handles) > limit:
            asked = {"day": day, "limit": str(limit), "after": handles[limit - 1]}
            given = {name: value for name, value in asked.items() if value is not None}
            there = f"{quote(request.scope.get('root_path', ''))}/?{urlencode(given)}"
        return JSONResponse({"attachments": page, "next": there})

    async def _download(self, request: Request, handle: str) -> Response:
        if request.scope["query_string"] and "link" in request.query_params:
            await self._access.check(request, "link", handle)
            return await self._download_link(handle)
        await self._access.check(request, "download", handle)
        # A link is for one method.
        if self._options.redirect and request.method == "GET":
            with _where_supported():
                link = await self._storage.aio.download_link(handle, inline=True)
                return Response(None, 307, {"Location": link.url, "Cache-Control": "no-store"})
        return await serve(
            request, self._storage, handle, stall_seconds=self._options.stall_seconds
        )

    async def _remove(self, request: Request, handle: str) -> Response:
        await self._access.check(request, "remove", handle)
        conditions = pick_headers(request.scope["headers"], CONDITIONS)
        if conditions:
            info = await self._storage.aio.info(handle)
            if judge(conditions, info.etag, info.modified, is_read=False) is not Verdict.PROCEED:
                return problem(412, NOT_EXPECTED, "precondition-failed")
        await self._storage.aio.remove(handle)
        return Response(status_code=204)

    async def _download_link(self, handle: str) -> Response:
        await self._storage.aio.info(handle)  # a link to nothing would be found out too late
        link = await self._storage.aio.download_link(handle)
        return JSONResponse(link.as_dict(), headers={"Cache-Control": "no-store"})

    async def _upload_link(self, request: Request) -> Response:
        await self._access.check(request, "link")
        wanted = await read_json(request, stall_seconds=self._options.stall_seconds)
        name, size = wanted.get("name"), wanted.get("size")
        if not isinstance(name, str):
            raise Error("Ill-formed request: name is a text", kind=Kind.ILL_FORMED)
        if size is not None:
            _check_size(size, self._storage.max_size)
        method = wanted.get("method", "PUT")
        if method not in ("POST", "PUT"):
            raise Error("Ill-formed request: method is POST or PUT", kind=Kind.ILL_FORMED)
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


@contextmanager
def _where_supported() -> Iterator[None]:
    """Go on after it where the storage makes no links."""
    try:
        yield
    except Error as error:
        if error.kind is not Kind.UNSUPPORTED:
            raise


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_SIZE
    if not re.fullmatch("[0-9]{1,4}", given) or not 1 <= int(given) <= MAX_PAGE_SIZE:
        raise Error(f"The limit of a page is from 1 to {MAX_PAGE_SIZE}", kind=Kind.ILL_FORMED)
    return int(given)


def _check_size(size: object, limit: int | None) -> None:
    try:
        asked = typed.size.read(size)
    except ValueError:
        raise Error("Ill-formed request: size is in bytes", kind=Kind.ILL_FORMED) from None
    if limit is not None and asked > limit:
        raise Error("Attachment is too large", f"more than {limit} bytes", kind=Kind.TOO_LARGE)
