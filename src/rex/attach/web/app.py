"""The ASGI application: finds the route of a request, checks access, and runs its handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send  # noqa: TC002 - resolved at run time

from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.access import Access  # noqa: TC001 - resolved at run time
from rex.attach.web.errors import answer_failure
from rex.attach.web.paths import SERVICE_URL, raw_path
from rex.attach.web.routes import SECTIONS
from rex.attach.web.section import Options, Service
from rex.core import Error, Kind
from rex.core.staged_close import StagedClose
from rex.core.web import problem

if TYPE_CHECKING:
    from rex.attach.web.section import Route, Section

__all__ = ["Options", "attachments"]


def attachments(storage: Storage, access: Access, options: Options | None = None) -> ASGIApp:
    """Return the ASGI application over a storage, to be mounted at any path.

    Its routes are in `rex.attach.web.routes`. The access rule is checked before anything else.
    Errors are problem documents in JSON (RFC 9457), with the `kind` of the error.
    """
    return StagedClose(_App(Service(storage, access, options or Options(), SECTIONS)))


class _App:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._access = service.access
        url = service.storage.url
        self._known = {} if url is None else {SERVICE_URL: url}
        # The paths of a section that is not enabled are like any other unknown path.
        self._sections = {
            section.prefix: section(service)
            for section, routes in service.sections.items()
            if any(map(service.is_enabled, routes))
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, **self._known}
        request = Request(scope, receive)
        path = raw_path(scope)
        root = self._sections[""]
        section = self._sections.get(f"/{path[1:].partition('/')[0]}", root)
        cors = section.cors(request)
        try:
            self._access.check_host(request)
            if request.method == "OPTIONS" and "Access-Control-Allow-Origin" in cors:
                response = Response(status_code=204, headers=section.preflight())
            else:
                response = await section.respond(request, self._answer(request, section, path))
        except Exception as failure:  # noqa: BLE001 - every error has a response
            response = await answer_failure(request, failure, self._access)
        # The response depends on the user.
        response.headers.setdefault("Cache-Control", "no-store")
        for name, value in cors.items():
            if name == "Vary":
                response.headers.add_vary_header(value)
            else:
                response.headers[name] = value
        if request.method == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    async def _answer(self, request: Request, section: Section, path: str) -> Response:
        routes, parameters = section.find(path)
        if not routes:
            await self._check(request, section.routes[0], None)
            raise Error("Not found", kind=Kind.NOT_FOUND)
        method, exists = section.method(request), self._service.has
        # A route that needs an option gives way to the one without it.
        candidates = [
            route
            for route in routes
            if method in route.methods.split()
            and (not route.query or route.query in request.query_params)
            and (not route.option or exists(route))
        ]
        chosen = max(candidates, key=lambda each: (each.query, each.option), default=None)
        route = chosen or next(filter(exists, routes), routes[0])
        await self._check(request, route, parameters.get("handle"))
        self._service.require(route)
        if chosen is None:
            names = {name for each in filter(exists, routes) for name in each.methods.split()}
            allow = ", ".join(sorted(names))
            return problem(405, f"Use {allow}.", "method-not-allowed", {"Allow": allow})
        return await route.handler(section, request, **parameters)

    async def _check(self, request: Request, route: Route, handle: str | None) -> None:
        if route.action is not None:
            await self._access.check(request, route.action, handle)
