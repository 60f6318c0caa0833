"""The server side of the demo page; the service of `rex.attach` transfers the files."""

from __future__ import annotations

import asyncio
import itertools
import re
import string
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from rex.attach import get_storage
from rex.attach.handle import parse_handle
from rex.attach.web import access_of, upload
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
SERVICE = "/attach"  # of the package `rex.attach`
PAGE_SIZE = 50
STORED = '<!doctype html><title>Stored</title><p>Files stored. <a href="./">Upload more</a>'


def routes(rex: Rex) -> Starlette:
    """Create the routes of the package `rex.attach_demo`.

    Errors: `CONFIGURATION` if the page was not built, as in an installation from the sources.
    """
    if not SCRIPT.exists():
        raise Error(
            "The demo page has no script (static/uppy.js); build it with `make page` in a git "
            "checkout, or install a release",
            kind=Kind.CONFIGURATION,
            code="missing-page",
        )
    page = _Page(rex)
    app = Starlette(
        routes=[
            Route("/", page.show),
            Route("/", page.take, methods=["POST"]),
            Route("/files", page.files),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, partial(_guard, _policy(page.server)))],
        exception_handlers={Error: answer_error},
    )
    app.router.redirect_slashes = False  # a redirect would go to the host in the request
    return app


class _Page:
    def __init__(self, rex: Rex) -> None:
        self._storage = get_storage()
        self._access = access_of(rex)
        self._template = string.Template((HERE / "index.html").read_text("utf-8"))
        self.server = _server_of(self._storage)
        # Attachments never change, so their metadata is valid until they are removed. A real
        # application would keep its handles in a database.
        self._known: dict[str, Info] = {}

    async def show(self, request: Request) -> Response:
        """Return the page."""
        await self._access.check(request, "list")
        size = self._storage.max_size
        limit = "No size limit." if size is None else f"Maximum file size: {size:,} bytes."
        multipart = self._storage.abilities.multipart
        data = {
            "service": self._service(request),
            # Without links for parts, as on Azure, the service receives files by tus.
            "server": "" if multipart is None or multipart.is_relayed else self.server or "",
            "max_size": size or "",
        }
        return HTMLResponse(self._template.substitute(data, limit=limit))

    async def take(self, request: Request) -> Response:
        """Store the files of a form from a browser without JavaScript; return links to them."""
        await self._access.check(request, "upload")
        stored = await upload(request, self._storage, max_size=self._storage.max_size)
        link = f'<li><a href="{self._service(request)}%s">%s</a>'
        links = "".join(link % (quote(info.handle), escape(info.name)) for info in stored)
        return HTMLResponse(f"{STORED}<ul>{links}</ul>", 201)

    def _service(self, request: Request) -> str:
        """Return the path at which the browser reaches the service, beside the page."""
        if self._storage.url is not None:
            return urlsplit(self._storage.url).path.rstrip("/")
        root: str = request.scope["root_path"]
        return quote(root.rpartition("/")[0]) + SERVICE

    async def files(self, request: Request) -> Response:
        """Return the `limit` newest files whose name contains ``q``, and their total number."""
        await self._access.check(request, "list")
        limit = request.query_params.get("limit", "")
        size = int(limit) if re.fullmatch("[0-9]{1,5}", limit) else PAGE_SIZE
        files, total = await self._newest(request.query_params.get("q", ""), size)
        return JSONResponse({"files": [file.as_dict() for file in files], "total": total})

    async def _newest(self, wanted: str, limit: int) -> tuple[list[Info], int]:
        """Return the newest files with a name, and their number; read metadata only as needed."""
        handles = [handle async for handle in self._storage.aio.list()]
        self._known = {handle: self._known[handle] for handle in handles if handle in self._known}
        parsed = [(parse_handle(handle), handle) for handle in reversed(handles)]
        wanted = normalize("NFC", wanted).casefold()  # file names are NFC too
        found = [pair for pair in parsed if wanted in pair[0].name.casefold()]
        files: list[Info] = []
        for _, of_day in itertools.groupby(found, lambda pair: pair[0].day):
            infos = await asyncio.gather(*(self._info(handle) for _, handle in of_day))
            files += sorted(filter(None, infos), key=lambda file: file.modified, reverse=True)
            if len(files) >= limit:
                break
        return files[:limit], len(found)

    async def _info(self, handle: str) -> Info | None:
        if handle not in self._known:
            try:
                self._known[handle] = await self._storage.aio.info(handle)
            except Error as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise
                return None  # removed in the meantime
        return self._known[handle]


async def _guard(policy: str, request: Request, answer: RequestResponseEndpoint) -> Response:
    """Add security headers; redirect to the trailing slash, which relative URLs need."""
    path, root = request.scope["path"], request.scope["root_path"]
    # A relative address is right behind a proxy, too.
    beside = f"{quote(root.rpartition('/')[2])}/"
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
