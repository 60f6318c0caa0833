"""A route of the service, and the handlers of the routes below one prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import unquote

from rex.attach.backend.abilities import require
from rex.attach.web.paths import handle_of
from rex.attach.web.transfers import Transfers
from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.storage import Storage
    from rex.attach.web.access import Access, Action

    Handler = Callable[..., Awaitable[Response]]

__all__ = ["Options", "Route", "Section", "Service"]

_PATTERNS = {"handle": "/.*", "token": "[A-Za-z0-9_.-]+"}
"""The patterns of path parameters; others are one segment, which may be empty."""


class Options(NamedTuple):
    """How the service behaves."""

    redirect: bool = False
    """Redirect downloads to download links, where the storage creates links."""
    stall_seconds: float = 30
    """The time after which a stalled client is disconnected, in seconds."""
    events_key: Secret | None = None
    """The key with which the server authenticates its event notifications; None: no route."""


@dataclass(frozen=True)
class Route:
    """An entry in the table of routes."""

    methods: str
    """Separated by spaces."""
    path: str
    """Below the mount; `{handle}` is a handle, which begins with a slash."""
    handler: Handler
    """A method of the section, called with the request and the parameters of the path."""
    action: Action | None
    """Checked with the access rule before the handler runs; None: public, or a token decides."""
    answers: Mapping[str, Any]
    """The OpenAPI responses by status, other than problems."""
    needs: str = field(default="", kw_only=True)
    """The ability that the storage must have, or its property: ``links.is_served``."""
    query: str = field(default="", kw_only=True)
    """The parameter of the query that selects this route among those of its method and path."""
    option: str = field(default="", kw_only=True)
    """The option of the service that must be set."""
    parameters: tuple[Any, ...] = field(default=(), kw_only=True)
    """The OpenAPI parameters besides those of the path."""
    body: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """The OpenAPI content of the request, by media type."""

    @property
    def summary(self) -> str:
        """The description of the route: the first line of its handler's documentation."""
        return (self.handler.__doc__ or "").partition("\n")[0].rstrip(".")


@dataclass(frozen=True)
class Service:
    """The storage, access control and options that all handlers share."""

    storage: Storage
    access: Access
    options: Options
    sections: Mapping[type[Section], Sequence[Route]]

    @cached_property
    def transfers(self) -> Transfers:
        """The resumable uploads, which several sections continue."""
        return Transfers(self)

    @property
    def routes(self) -> list[Route]:
        """The routes that exist here."""
        return [each for routes in self.sections.values() for each in routes if self.has(each)]

    def has(self, route: Route) -> bool:
        """Check whether a route exists, by the options and the storage's abilities."""
        found: Any = self.is_enabled(route)
        if found and route.needs:
            found = self.storage.abilities
            for name in route.needs.split("."):
                found = found and getattr(found, name)
        return bool(found)

    def is_enabled(self, route: Route) -> bool:
        """Check whether the option of a route is set, if it needs one."""
        return not route.option or bool(getattr(self.options, route.option))

    def require(self, route: Route) -> None:
        """Check that a route exists.

        Errors: `UNSUPPORTED` with the code of the ability; `DENIED` where a token would decide.
        """
        if not self.has(route):
            try:
                require(None, route.needs.partition(".")[0])
            except Error as error:
                if route.action is not None:
                    raise
                raise Error(error.message, kind=Kind.DENIED, code=error.code) from None


class Section:
    """The handlers of the routes below a prefix."""

    prefix: ClassVar[str] = ""
    allowed_headers: ClassVar[str] = "*, Authorization"
    """The request headers that a preflight allows."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.routes = service.sections[type(self)]
        self._storage = service.storage
        self._access = service.access
        self._stall_seconds = service.options.stall_seconds

    @cached_property
    def paths(self) -> list[tuple[re.Pattern[str], list[Route]]]:
        """The routes of the section by path; a path with fewer parameters comes first."""
        found: dict[str, list[Route]] = {}
        for route in self.routes:
            found.setdefault(route.path, []).append(route)
        ordered = sorted(found, key=lambda path: ("{handle}" in path, path.count("{")))
        return [(self._compile(path), found[path]) for path in ordered]

    def _compile(self, path: str) -> re.Pattern[str]:
        """Compile a path with parameters; the root of a section may lack its last slash."""
        if path.rstrip("/") == self.prefix:
            return re.compile(re.escape(self.prefix) + "/?")
        return re.compile(
            re.sub(
                r"\\{(\w+)\\}",
                lambda found: f"(?P<{found[1]}>{_PATTERNS.get(found[1], '[^/]*')})",
                re.escape(path),
            )
        )

    def find(self, path: str) -> tuple[list[Route], dict[str, str]]:
        """Return the routes of a raw path, and its decoded parameters.

        Errors: `NOT_FOUND` for a malformed handle.
        """
        for pattern, routes in self.paths:
            if (match := pattern.fullmatch(path)) is not None:
                return routes, {
                    name: handle_of(value) if name == "handle" else unquote(value)
                    for name, value in match.groupdict().items()
                }
        return [], {}

    def method(self, request: Request) -> str:
        """Return the method of a request."""
        return request.method

    def cors(self, request: Request) -> dict[str, str]:
        """Return the CORS headers of every response to a request."""
        return self._access.cors(request)

    def preflight(self) -> dict[str, str]:
        """Return the headers that answer a preflight request.

        They cover all routes, so that a page can read why a route does not exist here.
        """
        methods = " ".join(route.methods for route in self.routes).split()
        return {
            "Access-Control-Allow-Methods": ", ".join(dict.fromkeys(methods)),
            "Access-Control-Allow-Headers": self.allowed_headers,
            "Access-Control-Max-Age": "600",
        }

    async def respond(self, _: Request, answer: Awaitable[Response]) -> Response:
        """Await the response of a handler; a section may answer its errors in its own way."""
        return await answer
