"""The packages' routes as one ASGI application, and error responses (RFC 9457)."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from rex.core.error import Error, Kind
from rex.core.staged_close import StagedClose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

    from rex.core.application import Rex
    from rex.core.package import Package

__all__ = [
    "HEALTH",
    "STATUSES",
    "AccessLog",
    "answer_error",
    "application",
    "import_reference",
    "make_app",
    "path_of",
    "problem",
    "refuse_start",
]

HEALTH = "/health"

STATUSES = {
    Kind.NOT_FOUND: 404,
    Kind.ILL_FORMED: 400,
    Kind.EXISTS: 409,
    Kind.CONFLICT: 409,
    Kind.BUSY: 423,
    Kind.DENIED: 403,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 422,
    Kind.CONFIGURATION: 503,
    Kind.UNAVAILABLE: 503,
    Kind.ABSENT: 503,
    Kind.EMPTY: 503,
    Kind.CORRUPT: 500,
    Kind.INTERNAL: 500,
}
"""Status of an error response by error kind (RFC 9110, section 15).

`UNSUPPORTED` is 422, not 501: an operation that a storage lacks must not alert the operator.
"""

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
    421: "Misdirected Request",
    422: "Unprocessable Content",
    423: "Locked",
    460: "Checksum Mismatch",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

# RFC 3986, section 3.2: a host and a port, without the user.
_HOST = re.compile(rb"[0-9A-Za-z._~!$&'()*+,;=%:\[\]-]*")

log = logging.getLogger("rex.web")


def application(rex: Rex) -> ASGIApp:
    """Create the ASGI application of all packages that have routes.

    Each package is mounted under the last part of its name (``/attach``, also without a trailing
    slash); ``/health`` is the health check. `rex` is active during each request.
    """
    mounts: list[BaseRoute] = []
    for package in rex.packages:
        if package.routes is not None:
            path = path_of(package)
            active = _Active(rex, import_reference(package.routes)(rex))
            mounts += [Mount(path, app=active), Route(path, _AtRoot(active))]
    return make_app([Route(HEALTH, _health), *mounts], _lifespan(rex))


def refuse_start(error: Error) -> ASGIApp:
    """Create an ASGI application that fails the server's start-up with this error."""

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": str(error)})

    return app


def make_app(routes: Sequence[BaseRoute], lifespan: Lifespan[Starlette] | None = None) -> ASGIApp:
    """Create an ASGI application of routes that rejects ambiguous requests and answers errors."""
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_Unambiguous)],
        exception_handlers={404: _not_found, 405: _not_allowed, Exception: answer_error},
        lifespan=lifespan,
    )
    # A redirect would send clients to the host in the request.
    app.router.redirect_slashes = False
    return StagedClose(app)


def import_reference(reference: str) -> Callable[..., Any]:
    """Import a function that a package names as ``module:function``."""
    module, _, attribute = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def path_of(package: Package) -> str:
    """Return the path under which a package's routes are mounted."""
    return f"/{package.name.rpartition('.')[2]}"


class AccessLog:
    """ASGI middleware that logs requests without their queries.

    The path is logged percent-encoded, as sent, so that it stays on one line. Long path segments
    are cut: they may be tokens, which end with their signature.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = logging.getLogger("rex.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, ended, status = time.perf_counter(), None, 0

        async def send_and_note(message: Message) -> None:
            nonlocal status, ended
            status = message.get("status", status)
            await send(message)
            ended = time.perf_counter()

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            path = scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace")
            shown = ascii(path.partition(b"?")[0].decode("latin-1"))[1:-1]
            shown = re.sub(r"([^/]{64})[^/]+", r"\1...", shown)
            client = (scope.get("client") or ("-",))[0]
            # Up to the end of the response: discarding the rest of the request comes after it.
            spent = ((ended or time.perf_counter()) - began) * 1000
            self._log.info('%s "%s %s" %d %.1f ms', client, scope["method"], shown, status, spent)


def problem(
    status: int,
    detail: str,
    kind: str,
    headers: dict[str, str] | None = None,
    *,
    code: str = "",
) -> JSONResponse:
    """Return a problem document (RFC 9457).

    Its `type` is the error code, or the kind if there is no code (docs/errors.md).
    """
    content = {
        "type": code or kind,
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


_WORDS = {
    Kind.NOT_FOUND: "Not found.",
    Kind.ILL_FORMED: "The request is ill-formed.",
    Kind.EXISTS: "Already exists.",
    Kind.CONFLICT: "The request conflicts with the current state.",
    Kind.BUSY: "Another request is using this resource; try again later.",
    Kind.TOO_LARGE: "The content is too large.",
    Kind.UNSUPPORTED: "The service does not support this.",
    Kind.UNAVAILABLE: "The service is unavailable; try again later.",
    Kind.CORRUPT: "The stored content is damaged.",
}
"""Generic texts for clients, by kind, for errors of the service or of a server behind it."""


async def answer_error(_: Request, failure: Exception) -> Response:
    """Return the response for an exception, without internals of the service.

    A client gets the text of an error about its own request. An error of the service, or one with
    a cause behind it, may name a host, a path or a setting: the client gets a generic text and the
    kind, not the code, and the original text goes to the log.
    """
    if not isinstance(failure, Error):
        log.error("unexpected %s", type(failure).__name__, exc_info=failure)
        return problem(500, "Internal server error.", Kind.INTERNAL.value)
    status, kind = STATUSES[failure.kind], failure.kind
    is_ours = status >= 500  # noqa: PLR2004 - RFC 9110, section 15.6
    is_own = not is_ours and failure.__cause__ is None
    if is_own and kind is not Kind.UNSUPPORTED:
        return problem(status, str(failure), kind.value, code=failure.code)
    log.log(logging.ERROR if is_ours else logging.INFO, "%s", failure)
    # The payload, which says what would make it possible, is for the operator.
    words = failure.message if is_own else _WORDS.get(kind, "Internal server error.")
    return problem(status, words, kind.value, code=failure.code if is_own else "")


class _Unambiguous:
    """ASGI middleware that rejects requests which a proxy might read differently."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = _ambiguity(scope) if scope["type"] == "http" else None
        app = self._app
        if reason is not None:
            app = problem(400, reason, Kind.ILL_FORMED.value, {"Connection": "close"})
        await app(scope, receive, send)


def _ambiguity(scope: Scope) -> str | None:
    """Return the error in a request's Host or Transfer-Encoding, or None if both are right.

    The rules are those of RFC 9112, sections 3.2 and 6.1.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    # Some servers replace a missing host by an empty one. An empty host is invalid as well
    # (RFC 9110, section 4.2.1); only HTTP/1.0 allows a request without a host.
    if not any(hosts) and scope.get("http_version") not in ("1.0", "1"):
        return "The Host header is missing."
    if len(hosts) > 1 or not all(map(_HOST.fullmatch, hosts)):
        return "The Host header must be one valid host."
    codings = [value.lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    return "Transfer-Encoding must be chunked." if codings not in ([], [b"chunked"]) else None


class _AtRoot:
    """ASGI middleware that answers the root of a mount without its trailing slash."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as with the trailing slash."""
        await self._app({**scope, "root_path": scope["path"]}, receive, send)


class _Active:
    """ASGI middleware that activates a `Rex` during each request."""

    def __init__(self, rex: Rex, app: ASGIApp) -> None:
        self._rex = rex
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._rex:
            await self._app(scope, receive, send)


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
    return problem(404, "Not found.", Kind.NOT_FOUND.value)


async def _not_allowed(_: Request, __: Exception) -> Response:
    detail = "The method must be GET or HEAD."
    return problem(405, detail, "method-not-allowed", {"Allow": "GET, HEAD"})
