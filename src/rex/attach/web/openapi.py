"""OpenAPI 3.1: the description of the service, and the schemas that the table of routes uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from rex.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rex.attach.web.section import Route

__all__ = [
    "BYTES",
    "INTEGER",
    "SCHEMAS",
    "SIZE",
    "TEXT",
    "Schema",
    "answer",
    "describe",
    "header",
    "json_body",
    "list_of",
    "map_of",
    "object_of",
    "query",
    "ref",
]

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
JSON = "application/json"
SIZE: Schema = {**INTEGER, "minimum": 0}
BYTES: Schema = {"type": "string", "format": "binary"}


def describe(root: str, routes: Iterable[Route]) -> Schema:
    """Describe routes of a service that is mounted at the path `root`."""
    paths: Schema = {}
    for route in routes:
        item = paths.setdefault(route.path.replace("{handle}", _HANDLE), {})
        for method in route.methods.lower().split():
            # Routes that differ by a parameter of the query are one operation here.
            item[method] = _merge(item.get(method, {}), _operation(route, method))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rex.attach",
            "version": __version__,
            "description": "Attachments over HTTP: upload, serve, list, remove, link.",
        },
        "servers": [{"url": root or "/"}],
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, method: str) -> Schema:
    answers = route.answers
    if method == "head":
        answers = {status: {"description": each["description"]} for status, each in answers.items()}
    found: Schema = {
        "summary": route.summary,
        "parameters": [*_path_parameters(route.path), *route.parameters],
        "responses": {**answers, "default": _PROBLEM},
    }
    if route.query:
        found["parameters"].append(query(route.query, TEXT, about=route.summary))
    if route.body is not None:
        found["requestBody"] = {"content": route.body, "required": True}
    return found


def _merge(first: Schema, second: Schema) -> Schema:
    """Merge descriptions; the first one's value counts where there is no other way."""
    merged = second | first
    for name in first.keys() & second.keys():
        if isinstance(first[name], dict):
            merged[name] = _merge(first[name], second[name])
        elif isinstance(first[name], list):
            merged[name] = first[name] + [each for each in second[name] if each not in first[name]]
    return merged


def _path_parameters(path: str) -> list[Schema]:
    names = re.findall(r"{(\w+)}", path.replace("{handle}", _HANDLE))
    return [
        _parameter("path", name, TEXT | _PATTERNS.get(name, {}), required=True) for name in names
    ]


def answer(
    status: int,
    description: str,
    schema: Schema | None = None,
    media_type: str = "application/json",
) -> Schema:
    """Return a response by its status; one without a schema has no body."""
    content = {} if schema is None else {"content": {media_type: {"schema": schema}}}
    return {str(status): {"description": description, **content}}


def json_body(*texts: str, **others: Schema) -> Schema:
    """Return the content of a request: an object in JSON."""
    return {JSON: {"schema": object_of(*texts, **others)}}


def ref(name: str) -> Schema:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(*texts: str, **others: Schema) -> Schema:
    """Return the schema of an object; a name that ends with ``?`` is optional."""
    members = dict.fromkeys(texts, TEXT) | others
    return {
        "type": "object",
        "properties": {name.rstrip("?"): schema for name, schema in members.items()},
        "required": [name for name in members if not name.endswith("?")],
    }


def list_of(items: Schema) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def map_of(values: Schema) -> Schema:
    """Return the schema of an object with any names."""
    return {"type": "object", "additionalProperties": values}


def query(name: str, schema: Schema, *, required: bool = False, about: str = "") -> Schema:
    """Return a parameter of the query."""
    return _parameter("query", name, schema, required=required, about=about)


def header(name: str, schema: Schema, *, required: bool = False, about: str = "") -> Schema:
    """Return a request header."""
    return _parameter("header", name, schema, required=required, about=about)


def _parameter(place: str, name: str, schema: Schema, *, required: bool, about: str = "") -> Schema:
    described = {"in": place, "name": name, "schema": schema, "required": required}
    return described | ({"description": about} if about else {})


_HANDLE = "/{year}/{month}/{day}/{id}/{name}"
_PATTERNS = {
    "year": {"pattern": "^[0-9]{4}$"},
    "month": {"pattern": "^(0[1-9]|1[0-2])$"},
    "day": {"pattern": "^([0-2][0-9]|3[01])$"},
    "id": {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"},
}
SCHEMAS = {
    "Problem": object_of(
        *("title", "detail"),
        type={**TEXT, "description": "the error code (docs/reference/errors.md)"},
        status=INTEGER,
        kind={**TEXT, "description": "the kind of the error"},
    ),
    "Attachment": object_of("handle", "name", "content_type", "url", size=SIZE),
    "Link": object_of(
        "url",
        method={"enum": ["GET", "PUT", "POST"]},
        headers=map_of(TEXT),
        fields=map_of(TEXT),
        expires_at={**TEXT, "format": "date-time"},
    ),
}
_PROBLEM = {
    "description": "The error (RFC 9457)",
    "content": {"application/problem+json": {"schema": ref("Problem")}},
}
"""Every response that a route does not list."""
