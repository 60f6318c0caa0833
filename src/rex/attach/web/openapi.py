"""The service described for programs (OpenAPI 3.1), served at ``/openapi.json``."""

from __future__ import annotations

from typing import Any, TypeAlias

from rex.core.version import __version__

__all__ = ["describe"]

Schema: TypeAlias = dict[str, Any]

PROBLEM = "application/problem+json"
OFFSET_TYPE = "application/offset+octet-stream"

_HANDLE = "/{year}/{month}/{day}/{id}/{name}"

_TEXT: Schema = {"type": "string"}
_SIZE: Schema = {"type": "integer", "minimum": 0}
_BYTES: Schema = {"type": "string", "format": "binary"}


def describe(root: str) -> Schema:
    """Give the description of a service that is mounted at the path `root`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rex.attach",
            "version": __version__,
            "description": "Attachments over HTTP: upload, serve, list, remove, link.",
        },
        "servers": [{"url": root or "/"}],
        "security": [{}, {"bearer": []}],
        "paths": {**_ATTACHMENTS, **_LINKS, **_TUS, **_MULTIPART, **_ITSELF},
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *optional: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _content(schema: Schema, content_type: str = "application/json") -> Schema:
    return {content_type: {"schema": schema}}


def _answer(description: str, schema: Schema | None = None) -> Schema:
    return {"description": description} | ({"content": _content(schema)} if schema else {})


def _operation(
    summary: str,
    answers: Schema,
    *,
    parameters: tuple[Schema, ...] = (),
    body: Schema | None = None,
) -> Schema:
    """Describe a request; whatever else is answered is a problem."""
    described: Schema = {
        "summary": summary,
        "responses": {
            **answers,
            "default": {
                "description": "What is wrong (RFC 9457)",
                "content": _content(_ref("Problem"), PROBLEM),
            },
        },
    }
    if parameters:
        described["parameters"] = list(parameters)
    if body is not None:
        described["requestBody"] = {"content": body, "required": True}
    return described


def _query(name: str, schema: Schema, *, required: bool = False, about: str = "") -> Schema:
    return _parameter("query", name, schema, required=required, about=about)


def _header(name: str, schema: Schema, *, required: bool = False, about: str = "") -> Schema:
    return _parameter("header", name, schema, required=required, about=about)


def _parameter(place: str, name: str, schema: Schema, *, required: bool, about: str) -> Schema:
    described = {"in": place, "name": name, "schema": schema, "required": required}
    return described | ({"description": about} if about else {})


def _path(name: str, pattern: str | None = None) -> Schema:
    schema = {"type": "string", "pattern": pattern} if pattern else _TEXT
    return _parameter("path", name, schema, required=True, about="")


_SCHEMAS = {
    "Problem": _object(
        {
            "type": {**_TEXT, "description": "the code of the failure (docs/errors.md)"},
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "kind": {**_TEXT, "description": "what sort of failure it is, for programs"},
        }
    ),
    "Attachment": _object(
        {"handle": _TEXT, "name": _TEXT, "size": _SIZE, "content_type": _TEXT, "url": _TEXT}
    ),
    "Link": _object(
        {
            "method": {"enum": ["GET", "PUT", "POST"]},
            "url": _TEXT,
            "headers": _map(_TEXT),
            "fields": _map(_TEXT),
            "expires_at": {"type": "string", "format": "date-time"},
        }
    ),
}

_IN_PATH = (
    _path("year", "^[0-9]{4}$"),
    _path("month", "^(0[1-9]|1[0-2])$"),
    _path("day", "^([0-2][0-9]|3[01])$"),
    _path("id", "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
    _path("name"),
)
_DOWNLOADED = {
    "200": {"description": "The bytes", "content": _content(_BYTES, "*/*")},
    "206": {"description": "A part", "content": _content(_BYTES, "*/*")},
    "304": _answer("Not modified"),
}
_HANDLE_QUERY = _query("key", _TEXT, required=True, about="as it was answered at the beginning")

_ATTACHMENTS: Schema = {
    "/": {
        "post": _operation(
            "Store one file, or the files of a form",
            {
                "201": _answer(
                    "Stored; with one file, Location tells where",
                    _object({"attachments": _list(_ref("Attachment"))}),
                )
            },
            parameters=(_query("name", _TEXT, about="of the file, where the body is its bytes"),),
            body={
                **_content(_BYTES, "application/octet-stream"),
                **_content(_object({"file": _BYTES}), "multipart/form-data"),
            },
        ),
        "get": _operation(
            "List the handles, a page at a time",
            {
                "200": _answer(
                    "A page, and where the next one is",
                    _object(
                        {
                            "attachments": _list(_object({"handle": _TEXT, "url": _TEXT})),
                            "next": {"type": ["string", "null"]},
                        }
                    ),
                )
            },
            parameters=(
                _query("day", {"type": "string", "format": "date"}),
                _query("after", _TEXT, about="a handle"),
                _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}),
            ),
        ),
    },
    _HANDLE: {
        "parameters": list(_IN_PATH),
        "get": _operation(
            "Download, or with ?link get a link to download",
            {
                **_DOWNLOADED,
                "200": {
                    "description": "The bytes, or the link",
                    "content": {**_content(_BYTES, "*/*"), **_content(_ref("Link"))},
                },
                "307": _answer("To a download link"),
            },
            parameters=(
                _query("link", _TEXT, about="give a link instead"),
                _header("Range", _TEXT),
                _header("If-None-Match", _TEXT),
                _header("If-Range", _TEXT),
            ),
        ),
        "head": _operation("Tell what a download would be", {"200": _answer("The headers")}),
        "delete": _operation(
            "Remove",
            {"204": _answer("Removed"), "412": _answer("It is another one")},
            parameters=(_header("If-Match", _TEXT), _header("If-None-Match", _TEXT)),
        ),
    },
}

_WANTED = _object(
    {
        "name": _TEXT,
        "size": {**_SIZE, "description": "the most bytes that may be sent"},
        "content_type": _TEXT,
        "method": {"enum": ["PUT", "POST"]},
    },
    *("size", "content_type", "method"),
)

_LINKS: Schema = {
    "/links": {
        "post": _operation(
            "Reserve a handle, and permit its upload",
            {
                "201": _answer(
                    "The handle and the link", _object({"handle": _TEXT, "link": _ref("Link")})
                )
            },
            body=_content(_WANTED),
        )
    },
    "/signed/{token}/": {
        "parameters": [_path("token")],
        "post": _operation(
            "Upload with a link of this service: a form",
            {"204": _answer("Stored")},
            body=_content(
                _object({"key": _TEXT, "Content-Type": _TEXT, "file": _BYTES}),
                "multipart/form-data",
            ),
        ),
    },
    f"/signed{_HANDLE}": {
        "parameters": [*_IN_PATH, _query("token", _TEXT, required=True)],
        "get": _operation("Download with a link of this service", _DOWNLOADED),
        "put": _operation(
            "Upload with a link of this service: the bytes",
            {"201": _answer("Stored")},
            parameters=(_header("If-None-Match", {"const": "*"}, required=True),),
            body=_content(_BYTES, "*/*"),
        ),
    },
}

_TUS_VERSION = _header("Tus-Resumable", {"enum": ["1.0.0"]}, required=True)
_OFFSET = {"type": "string", "pattern": "^[0-9]{1,18}$"}
_CHECKSUM = _header("Upload-Checksum", _TEXT, about="an algorithm and the digest in base64")

_TUS: Schema = {
    "/tus/": {
        "options": _operation("Tell what of tus there is", {"204": _answer("See the headers")}),
        "post": _operation(
            "Begin an upload that can be taken up again (tus 1.0)",
            {"201": _answer("Location tells where it goes on")},
            parameters=(
                _TUS_VERSION,
                _header("Upload-Length", _OFFSET),
                _header("Upload-Defer-Length", {"enum": ["1"]}),
                _header("Upload-Metadata", _TEXT),
                _header("Upload-Concat", _TEXT),
                _CHECKSUM,
            ),
        ),
    },
    f"/tus{_HANDLE}": {
        "parameters": list(_IN_PATH),
        "get": _operation(
            "Download what a complete upload has become, as at its handle",
            {**_DOWNLOADED, "307": _answer("To a download link")},
        ),
        "head": _operation(
            "Tell how far one is", {"200": _answer("See the headers")}, parameters=(_TUS_VERSION,)
        ),
        "patch": _operation(
            "Go on with an upload",
            {"204": _answer("Upload-Offset tells how far it is")},
            parameters=(
                _TUS_VERSION,
                _header("Upload-Offset", _OFFSET, required=True),
                _header("Upload-Length", _OFFSET),
                _CHECKSUM,
            ),
            body=_content(_BYTES, OFFSET_TYPE),
        ),
        "delete": _operation(
            "Give an upload up", {"204": _answer("Given up")}, parameters=(_TUS_VERSION,)
        ),
    },
}

_PARTS = _object({"parts": _list(_object({"PartNumber": {"type": "integer"}, "ETag": _TEXT}))})
_BEGUN = _object({"key": _TEXT, "uploadId": _TEXT, "bucket": _TEXT})
_PART_LINK = _object({"url": _TEXT, "expires": {"type": "integer"}})

_MULTIPART: Schema = {
    "/s3/params": {
        "get": _operation(
            "Permit an upload to the server, as Uppy asks for it",
            {
                "200": _answer(
                    "The form to send",
                    _object({"method": _TEXT, "url": _TEXT, "fields": _map(_TEXT)}),
                )
            },
            parameters=(_query("filename", _TEXT, required=True), _query("type", _TEXT)),
        )
    },
    "/s3/multipart": {
        "post": _operation(
            "Begin an upload in parts",
            {"200": _answer("What the next requests need", _BEGUN)},
            body=_content(
                _object(
                    {"filename": _TEXT, "type": _TEXT, "metadata": _map({})}, "type", "metadata"
                )
            ),
        )
    },
    "/s3/multipart/{uploadId}": {
        "parameters": [_path("uploadId"), _HANDLE_QUERY],
        "get": _operation("List the parts", {"200": _answer("The parts", _list(_map({})))}),
        "delete": _operation("Give the upload up", {"200": _answer("Given up", _map({}))}),
    },
    "/s3/multipart/{uploadId}/batch": {
        "parameters": [_path("uploadId"), _HANDLE_QUERY],
        "get": _operation(
            "Permit the upload of several parts",
            {"200": _answer("Their addresses", _object({"presignedUrls": _map(_TEXT)}))},
            parameters=(_query("partNumbers", _TEXT, required=True, about="separated by commas"),),
        ),
    },
    "/s3/multipart/{uploadId}/{part}": {
        "parameters": [_path("uploadId"), _path("part"), _HANDLE_QUERY],
        "get": _operation(
            "Permit the upload of a part", {"200": _answer("Its address", _PART_LINK)}
        ),
    },
    "/s3/multipart/{uploadId}/complete": {
        "parameters": [_path("uploadId"), _HANDLE_QUERY],
        "post": _operation(
            "Make the attachment of its parts",
            {"200": _answer("Where it is", _object({"location": _TEXT, "key": _TEXT}))},
            body=_content(_PARTS),
        ),
    },
    "/sign": {
        "post": _operation(
            "Sign a request to the server, as Uppy's signRequest asks for it",
            {
                "200": _answer(
                    "The signed request",
                    _object(
                        {"url": _TEXT, "key": _TEXT, "headers": _map(_TEXT), "fields": _map(_TEXT)},
                        *("key", "headers", "fields"),
                    ),
                )
            },
            body=_content(
                _object(
                    {
                        "method": {"enum": ["GET", "PUT", "POST", "DELETE"]},
                        "key": _TEXT,
                        "uploadId": _TEXT,
                        "partNumber": {"type": "integer"},
                        "contentType": _TEXT,
                        "expiresIn": {"type": "integer"},
                    },
                    *("uploadId", "partNumber", "contentType", "expiresIn"),
                )
            ),
        )
    },
    f"/sign{_HANDLE}": {
        "parameters": [*_IN_PATH, _query("token", _TEXT, required=True)],
        "put": _operation(
            "Upload, as signed: the bytes", {"200": _answer("Stored")}, body=_content(_BYTES, "*/*")
        ),
        "post": _operation(
            "Begin an upload in parts, or complete it with S3's XML, as signed",
            {"200": {"description": "S3's answer", "content": _content(_TEXT, "application/xml")}},
        ),
    },
}

_ITSELF: Schema = {
    "/openapi.json": {
        "get": _operation("This description", {"200": _answer("This description", _map({}))})
    }
}
