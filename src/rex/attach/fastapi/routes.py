"""The routes of the service as routes of FastAPI, which runs their dependencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from rex.attach.fastapi.dependencies import RESOLVED, Resolved
from rex.attach.fastapi.response import Delegated
from rex.attach.web.openapi import SCHEMAS, describe
from rex.attach.web.paths import raw_path
from rex.attach.web.routes import SECTIONS
from rex.core.web import below_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fastapi import APIRouter
    from starlette.requests import Request
    from starlette.types import ASGIApp, Scope

    from rex.attach.fastapi.dependencies import Dependencies
    from rex.attach.storage import Storage
    from rex.attach.web.section import Route

__all__ = ["add_routes"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REST = "/{path}"


def add_routes(
    router: APIRouter,
    existing: Iterable[Route],
    dependencies: Dependencies,
    service: Callable[[Storage], ASGIApp],
) -> None:
    """Add a route for each method and path of the service, which `service` returns for a storage.

    Only the `existing` routes are described: a storage that replaces the one of the application, as
    in a test, may have others. Requests that no route is for, as preflight requests, also go to the
    service.
    """

    def add(template: str, *methods: str, asks: bool, **options: Any) -> None:
        async def endpoint(request: Request, storage: Storage, **values: Any) -> Response:
            place = _mount(request.scope, template.format(**request.path_params))
            resolved = Resolved(storage, values)
            return Delegated(service(storage), {**place, RESOLVED: resolved})

        dependencies.declare(endpoint, *(("user", "rule") if asks else ()))
        path = template.replace("{path}", "{path:path}")
        router.add_api_route(
            path, endpoint, methods=[*methods], response_class=Response, **{**_HIDDEN, **options}
        )

    every = [route for routes in SECTIONS.values() for route in routes]
    asking = _operations(each for each in every if each.action is not None)
    described = _operations(existing)
    names = {key: each.handler.__name__ for each in every for key in _operations([each])}
    for path, method in _operations(every):
        asks, operation = (path, method) in asking, described.get((path, method))
        options = {} if operation is None else _describe(operation)
        add(path, method, asks=asks, name=f"attachments:{names[path, method]}", **options)
    for path in {section.prefix for section in SECTIONS}:
        add(path, *_METHODS, asks=True)
    add(_REST, *_METHODS, asks=True)
    add(_REST, "OPTIONS", asks=False)


_HIDDEN: Mapping[str, Any] = {"response_model": None, "include_in_schema": False}


def _operations(routes: Iterable[Route]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the descriptions of routes by path and method."""
    paths: dict[str, dict[str, Any]] = describe("", routes)["paths"]
    return {
        (path, method.upper()): operation
        for path, item in paths.items()
        for method, operation in item.items()
    }


def _describe(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a route of FastAPI with this description."""
    kept = ("parameters", "requestBody")
    return {
        "include_in_schema": True,
        "summary": operation["summary"],
        "status_code": min(int(status) for status in operation["responses"] if status.isdigit()),
        "responses": _inline(operation["responses"]),
        "openapi_extra": {name: _inline(operation[name]) for name in kept if name in operation},
    }


def _inline(described: Any) -> Any:
    """Replace references: the application may have schemas of the same names."""
    if isinstance(described, list):
        return [_inline(each) for each in described]
    if not isinstance(described, dict):
        return described
    if "$ref" in described:
        return _inline(SCHEMAS[described["$ref"].rpartition("/")[2]])
    return {name: _inline(each) for name, each in described.items()}


def _mount(scope: Scope, suffix: str) -> dict[str, Any]:
    """Return the paths in the scope of an application that is mounted before `suffix`.

    The server may have removed the root path from the path of the request, or not.
    """
    mount = below_root(scope).removesuffix(suffix)
    root = scope.get("root_path", "") + mount
    rest = raw_path(scope).split("/", mount.count("/") + 1)[mount.count("/") + 1 :]
    raw = f"{quote(root)}/{''.join(rest)}"
    return {"root_path": root, "path": root + suffix, "raw_path": raw.encode()}
