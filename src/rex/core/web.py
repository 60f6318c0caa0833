"""The packages' routes as one ASGI application, and error responses (RFC 9457)."""

from __future__ import annotations

import contextlib
import importlib
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from rex.core.error import Error, Kind
from rex.core.log import get_logger
from rex.core.middleware import RexMiddleware
from rex.core.problem import make_problem, problem_of
from rex.core.staged_close import StagedClose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

    from rex.core.application import Rex
    from rex.core.package import Package
    from rex.core.problem import Problem

__all__ = [
    "HEALTH",
    "AccessLog",
    "answer_error",
    "application",
    "below_root",
    "import_reference",
    "make_app",
    "path_of",
    "problem",
    "refuse_start",
]

HEALTH = "/health"

# RFC 3986, section 3.2: a host and a port, without the user.
_HOST = re.compile(rb"[0-9A-Za-z._~!$&'()*+,;=%:\[\]-]*")

log = get_logger("rex.web")


def application(rex: Rex) -> ASGIApp:
    """Create the ASGI application of all packages that have routes.

    Each package is mounted under the last part of its name (``/attach``, also without a trailing
    slash); ``/health`` is the health check. `rex` is active during each request.
    """
    mounts: list[BaseRoute] = []
    for package in rex.packages:
        if package.routes is not None:
            path = path_of(package)
            active = RexMiddleware(import_reference(package.routes)(rex), rex)
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


def below_root(scope: Scope) -> str:
    """Return the path of a request below its root path, decoded."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path[len(root) :] if path.startswith(f"{root}/") else path


class AccessLog:
    """ASGI middleware that logs requests without their queries.

    The path is logged percent-encoded, as sent, so that it stays on one line. Long path segments
    are cut: they may be tokens, which end with their signature.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = get_logger("rex.access")

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
            client = (scope.get("client") or ("",))[0] or "-"  # a Unix socket has no address
            # Up to the end of the response: discarding the rest of the request comes after it.
            spent = ((ended or time.perf_counter()) - began) * 1000
            line, seen = '%s "%s %s" %d %.1f ms', (client, scope["method"], shown, status, spent)
            names = ("client", "method", "path", "status", "milliseconds")
            self._log.info(line, *seen, extra=dict(zip(names, seen, strict=True)))


def problem(
    status: int,
    detail: str,
    kind: str,
    headers: dict[str, str] | None = None,
    *,
    code: str = "",
) -> Response:
    """Return the response of a problem document (`make_problem`)."""
    return _response(make_problem(status, detail, kind, headers, code=code))


async def answer_error(_: Request, failure: Exception) -> Response:
    """Return the response for an exception, without internals of the service (`problem_of`)."""
    return _response(problem_of(failure))


def _response(made: Problem) -> Response:
    return Response(made.content, made.status, made.headers)


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


def _lifespan(
    rex: Rex,
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with rex:
            yield

    return lifespan


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


async def _not_found(_: Request, __: Exception) -> Response:
    return problem(404, "Not found.", Kind.NOT_FOUND.value)


async def _not_allowed(_: Request, __: Exception) -> Response:
    detail = "The method must be GET or HEAD."
    return problem(405, detail, "method-not-allowed", {"Allow": "GET, HEAD"})
