"""The packages' routes as one ASGI application, and how an error is answered over HTTP."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rex.core.application import Rex
    from rex.core.package import Package

__all__ = ["STATUSES", "AccessLog", "answer_error", "application", "problem"]

STATUSES = {
    Kind.NOT_FOUND: 404,
    Kind.ILL_FORMED: 400,
    Kind.EXISTS: 409,
    Kind.CONFLICT: 409,
    Kind.BUSY: 423,
    Kind.DENIED: 403,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 501,
    Kind.CONFIGURATION: 503,
    Kind.UNAVAILABLE: 503,
    Kind.CORRUPT: 500,
    Kind.INTERNAL: 500,
}
"""The status that an error is answered with, by its kind (RFC 9110, section 15)."""

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    423: "Locked",
    460: "Checksum Mismatch",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

log = logging.getLogger("rex.web")


def application(rex: Rex) -> ASGIApp:
    """Make the ASGI application of all packages that have routes.

    Each is mounted under the last part of its name (``/attach``); ``/health`` answers that the
    application is there. The application is active while a request is answered.
    """
    mounts = [
        Mount(f"/{package.name.rpartition('.')[2]}", app=_Active(rex, _routes(package)(rex)))
        for package in rex.packages
        if package.routes is not None
    ]
    app = Starlette(
        routes=[Route("/health", _health), *mounts],
        exception_handlers={404: _not_found, Exception: answer_error},
        lifespan=_lifespan(rex),
    )
    # It would send clients to whatever host the request names.
    app.router.redirect_slashes = False
    return app


class AccessLog:
    """An ASGI application whose requests are logged, without their queries.

    The path is logged as it was sent, still encoded, so that it is one line.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = logging.getLogger("rex.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            path = scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace")
            shown = ascii(path.partition(b"?")[0].decode("latin-1"))[1:-1]
            client = (scope.get("client") or ("-",))[0]
            spent = (time.perf_counter() - began) * 1000
            self._log.info('%s "%s %s" %d %.1f ms', client, scope["method"], shown, status, spent)


def problem(
    status: int, detail: str, kind: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Answer with a problem that programs can read (RFC 9457)."""
    content = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "kind": kind,
    }
    return JSONResponse(
        content,
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )


async def answer_error(_: Request, failure: Exception) -> Response:
    """Answer with what an `Error` says, or with nothing about any other exception but a log."""
    if not isinstance(failure, Error):
        log.error("unexpected %s", type(failure).__name__, exc_info=failure)
        return problem(500, "Something went wrong here.", Kind.INTERNAL.value)
    status = STATUSES[failure.kind]
    if status >= 500:  # noqa: PLR2004 - from here on it is the server's own trouble
        log.error("%s", failure)
        return problem(status, failure.message, failure.kind.value)
    return problem(status, str(failure), failure.kind.value)


class _Active:
    """An ASGI application that is answered with a `Rex` active."""

    def __init__(self, rex: Rex, app: ASGIApp) -> None:
        self._rex = rex
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._rex:
            await self._app(scope, receive, send)


def _routes(package: Package) -> Callable[[Rex], ASGIApp]:
    module, _, attribute = str(package.routes).partition(":")
    make: Callable[[Rex], ASGIApp] = getattr(importlib.import_module(module), attribute)
    return make


def _lifespan(
    rex: Rex,
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        rex.close()

    return lifespan


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


async def _not_found(_: Request, __: Exception) -> Response:
    return problem(404, "There is nothing here.", Kind.NOT_FOUND.value)
