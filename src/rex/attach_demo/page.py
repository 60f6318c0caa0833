"""The server side of the demo page; the service of `rex.attach` transfers the files."""

from __future__ import annotations

import asyncio
import re
import string
from functools import partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from rex.attach import get_storage
from rex.attach.handle import parse_handle, show
from rex.attach.web import access_of, upload
from rex.attach.web.body import read_json
from rex.attach_demo import DATABASE
from rex.core import Error, Kind
from rex.core.web import answer_error

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach import Info, Storage
    from rex.core import Rex

__all__ = ["routes"]

HERE = Path(__file__).parent
SCRIPT = HERE / "static" / "uppy.js"
PAGE_SIZE = 50
SORTS = ("date", "-date", "name", "-name", "size", "-size")
MAX_AT_ONCE = 100
STORED = '<!doctype html><title>Stored</title><p>Files stored. <a href="./">Upload more</a>'


def routes(rex: Rex) -> Starlette:
    """Create the routes of the package `rex.attach_demo`.

    Errors: `CONFIGURATION` if the page was not built, as in an installation from the sources, if
    SQLAlchemy is not installed, or if the database cannot be opened.
    """
    if not SCRIPT.exists():
        raise Error(
            "The demo page has no script (static/uppy.js); build it with `make page` in a git "
            "checkout, or install a release",
            kind=Kind.CONFIGURATION,
            code="missing-page",
        )
    if find_spec("sqlalchemy") is None:
        reason = "The demo page needs SQLAlchemy: pip install 'rex-attach[demo]'"
        raise Error(reason, kind=Kind.CONFIGURATION, code="missing-package")
    page = _Page(rex)
    app = Starlette(
        routes=[
            Route("/", page.show),
            Route("/", page.take, methods=["POST"]),
            Route("/files", page.files),
            Route("/files", page.claim, methods=["POST"]),
            Route("/files", page.remove, methods=["DELETE"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, partial(_guard, _policy(page.server)))],
        exception_handlers={Error: answer_error},
    )
    app.router.redirect_slashes = False  # a redirect would go to the host in the request
    return app


class _Page:
    def __init__(self, rex: Rex) -> None:
        from rex.attach_demo.files import Files

        self._storage = get_storage()
        self._access = access_of(rex)
        self._template = string.Template((HERE / "index.html").read_text("utf-8"))
        self.server = _server_of(self._storage)
        place = getattr(self._storage, "directory", None)
        default = f"{place}.db" if place else "attachments.db"
        self._files = Files(rex.settings[DATABASE] or default, self._storage)
        url = self._storage.url
        # A relative address is right behind a proxy, too.
        self._service = "../attach" if url is None else urlsplit(url).path.rstrip("/")

    async def show(self, request: Request) -> Response:
        """Return the page."""
        await self._access.check(request, "list")
        size = self._storage.max_size
        limit = "No size limit." if size is None else f"Maximum file size: {size:,} bytes."
        multipart = self._storage.abilities.multipart
        data = {
            "service": self._service,
            # Without links for parts, as on Azure, the service receives files by tus.
            "server": "" if multipart is None or multipart.is_relayed else self.server or "",
            "max_size": size or "",
        }
        return HTMLResponse(self._template.substitute(data, limit=limit))

    async def take(self, request: Request) -> Response:
        """Store the files of a form from a browser without JavaScript; return links to them."""
        await self._access.check(request, "upload")
        owner, limit = self._access.owner(request), self._storage.max_size
        stored = await upload(request, self._storage, max_size=limit, owner=owner)
        infos = [await self._storage.aio.info(each.handle) for each in stored]
        await run_in_threadpool(self._files.record, infos)
        links = [
            f'<li><a href="{escape(self._service)}{quote(info.handle)}">{escape(info.name)}</a>'
            for info in infos
        ]
        return HTMLResponse(f"{STORED}<ul>{''.join(links)}</ul>", 201)

    async def files(self, request: Request) -> Response:
        """Return the first `limit` files whose name contains ``q``, and their total number."""
        await self._access.check(request, "list")
        given = request.query_params
        limit, order = given.get("limit", ""), given.get("sort") or "-date"
        size = int(limit) if re.fullmatch("[0-9]{1,5}", limit) else PAGE_SIZE
        if order not in SORTS:
            reason = f"sort must be one of {', '.join(SORTS)}"
            raise Error(reason, show(order), kind=Kind.ILL_FORMED)
        files, total = await run_in_threadpool(self._files.find, given.get("q", ""), order, size)
        for file in files:
            file["modified"] = f"{file['modified'].isoformat()}Z"
        return JSONResponse({"files": files, "total": total})

    async def claim(self, request: Request) -> Response:
        """Add finished uploads to the list, each by its receipt or its handle."""
        await self._access.check(request, "upload")
        owner = self._access.owner(request)
        claims = await _read_strings(request, "claims")
        results = await asyncio.gather(*(self._claim(claimed, owner) for claimed in claims))
        claimed = [result for result in results if not isinstance(result, Error)]
        await run_in_threadpool(self._files.record, claimed)
        refused = [
            {"claim": claim, "kind": result.kind.value, "detail": result.message}
            for claim, result in zip(claims, results, strict=True)
            if isinstance(result, Error)
        ]
        return JSONResponse({"refused": refused})

    async def _claim(self, claimed: str, owner: object) -> Info | Error:
        try:
            if owner is None and claimed.startswith("/") and not parse_handle(claimed).is_marked:
                # Without users, uploads belong to no user, and those by tus have no receipt.
                claimed = await self._storage.aio.receipt(claimed)
            return await self._storage.aio.claim(claimed, owner=owner)
        except Error as error:
            return error

    async def remove(self, request: Request) -> Response:
        """Remove files from the list and from the storage."""
        handles = await _read_strings(request, "handles")
        for handle in handles:
            parse_handle(handle)
            await self._access.check(request, "remove", handle)
        removed = await run_in_threadpool(self._files.remove, handles)
        return JSONResponse({"removed": removed})


async def _read_strings(request: Request, name: str) -> list[str]:
    """Return the strings that a JSON body has under a name."""
    given = (await read_json(request, stall_seconds=30)).get(name)
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise Error(f"{name} must be a list of strings", kind=Kind.ILL_FORMED)
    if len(given) > MAX_AT_ONCE:
        raise Error(f"{name} must have at most {MAX_AT_ONCE} items", kind=Kind.TOO_LARGE)
    return given


async def _guard(policy: str, request: Request, answer: RequestResponseEndpoint) -> Response:
    """Add security headers; redirect to the trailing slash, which relative URLs need."""
    path, root = request.scope["path"], request.scope["root_path"]
    beside = f"{quote(root.rpartition('/')[2])}/"  # relative, as the address of the service
    response = RedirectResponse(beside) if path == root else await answer(request)
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    return response


def _policy(server: str | None) -> str:
    """Return a policy that allows only the page's own origin and the file server (CSP level 3)."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; frame-src blob:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ) + "".join(f"; {kind}-src 'self' blob: {server or ''}" for kind in ("connect", "img", "media"))


def _server_of(storage: Storage) -> str | None:
    """Return the origin of the server that links lead to, or None for the service."""
    links = storage.abilities.links
    if links is None or links.is_service or not links.signs_uploads:
        return None
    url = urlsplit(storage.download_link(storage.reserve("any")).url)
    return f"{url.scheme}://{url.netloc}"
