"""The page of the requests that the service answers, each with a command for curl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rex.attach.web.routes import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach.web.openapi import Schema
    from rex.attach.web.section import Route

__all__ = ["TITLES", "requests_reference"]

REQUESTS = """\
# Requests

<!-- Generated from the code by `make reference`. Do not edit. -->

Every request of [the service](http.md), as its OpenAPI description (`/attach/openapi.json`) has it.
The commands need variables: the address of the service and the handle of an attachment, as here;
and, where they are used, the `TOKEN`, `KEY`, `UPLOAD_ID` or `RECEIPT` of an earlier response.

```console
$ ATTACH=http://127.0.0.1:8000/attach
$ HANDLE=/2026/11/29/5f5e1d5e-8c5c-4a26-9d0e-1f7b0a4b6c11/scan.png
```

With `attach_access=bearer`, add `-H 'Authorization: Bearer KEY'`. An error is a
[problem document](errors.md): `curl` prints it.
"""

TITLES = {
    "Attachments": "Attachments",
    "Signed": "Service links",
    "Tus": "Resumable uploads (tus)",
    "UploadResources": "Resumable uploads (IETF)",
    "Companion": "Uppy with Companion",
    "Sign": "Uppy with signRequest",
    "Events": "Events",
}
"""The titles of the sections, by their classes."""

VALUES: Mapping[str, object] = {
    "contentType": "image/png",
    "content_type": "image/png",
    "expiresIn": 900,
    "filename": "scan.png",
    "handle": "$HANDLE",
    "handles": ["$HANDLE"],
    "key": "scan.png",
    "method": "PUT",
    "name": "scan.png",
    "parts": [{"ETag": "…", "PartNumber": 1}],
    "receipt": "$RECEIPT",
    "size": 10_000_000,
    "type": "image/png",
}
"""Examples of the members of a request in JSON."""

REQUIRED: Mapping[str, str] = {
    "If-None-Match": "*",
    "Tus-Resumable": "1.0.0",
    "Upload-Complete": "?1",
    "Upload-Offset": "0",
    "filename": "scan.png",
    "handle": "$HANDLE",
    "key": "$KEY",
    "partNumbers": "1,2,3",
    "token": "$TOKEN",
}
"""Examples of parameters that a request must have."""

ALSO: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/"): ("-F file=@scan.png",),
    ("POST", "/tus/"): ("-H 'Upload-Length: 5'", "-H 'Upload-Metadata: filename c2Nhbi5wbmc='"),
    ("POST", "/signed/{token}/"): ("-F key=$KEY", "-F file=@scan.png"),
    ("POST", "/events"): ("-H 'Authorization: Bearer EVENTS-KEY'", "--json @event.json"),
}
"""What a command needs besides, or in place of the body that the description has."""


def requests_reference() -> str:
    """Return the page."""
    sections = [section(TITLES[each.__name__], routes) for each, routes in SECTIONS.items()]
    return REQUESTS + "".join(sections)


def section(title: str, routes: Any) -> str:
    """Return the requests of a section."""
    return f"\n## {title}\n" + "".join(request(route) for route in routes)


def request(route: Route) -> str:
    """Return what there is to know about a request."""
    methods = route.methods.replace(" ", ", ")
    query = f"?{route.query}" if route.query else ""
    path = route.path.replace("{handle}", "/{handle}")
    about = f"{route.summary}."
    if route.option:
        about += f" Only with [`attach_{route.option}`](settings.md#attach_{route.option})."
    lines = [f"\n### {methods} /attach{path}{query}\n", about, ""]
    lines += ["```console", f"$ {command(route)}", "```", ""]
    rows = [*parameters(route)]
    if rows:
        lines += ["| parameter | in | |", "|---|---|---|", *rows, ""]
    rows = [f"| {status} | {each['description']} |" for status, each in route.answers.items()]
    return "\n".join([*lines, "| response | |", "|---|---|", *rows, ""])


def parameters(route: Route) -> Iterator[str]:
    """Yield a row of the table for each parameter, and for each member of a body in JSON."""
    for each in route.parameters:
        about = "; ".join(filter(None, (each.get("description"), _values(each["schema"]))))
        required = " (required)" if each["required"] else ""
        yield f"| `{each['name']}` | {each['in']}{required} | {about} |"
    schema = (route.body or {}).get("application/json", {}).get("schema", {})
    for name, member in schema.get("properties", {}).items():
        required = " (required)" if name in schema.get("required", ()) else ""
        about = "; ".join(filter(None, (member.get("description"), _values(member))))
        yield f"| `{name}` | JSON{required} | {about} |"


def _values(schema: Schema) -> str:
    """Return what a value may be, in words."""
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"{low} to {high}" if high else "an integer"
    return {"date": "a date"}.get(schema.get("format", ""), "")


def command(route: Route) -> str:
    """Return a command for curl."""
    method = route.methods.partition(" ")[0]
    place = route.path.replace("{handle}", "$HANDLE").replace("{token}", "$TOKEN")
    place = place.replace("{upload_id}", "$UPLOAD_ID").replace("{part}", "1")
    needed = [(each["in"], each["name"]) for each in route.parameters if each["required"]]
    query = [f"{name}={REQUIRED[name]}" for where, name in needed if where == "query"]
    headers = [f"-H '{name}: {REQUIRED[name]}'" for where, name in needed if where == "header"]
    address = f"$ATTACH{place}" + "?" * bool(query or route.query)
    address += "&".join(filter(None, (route.query, *query)))
    data = ALSO.get((method, route.path), body(route.body or {}))
    verb = {"GET": [], "HEAD": ["-I"]}.get(method, [f"-X {method}"])
    if method == "POST" and any(each.startswith(("-F", "--")) for each in data):
        verb = []  # curl chooses it
    return " ".join(["curl", *verb, *headers, *data, f'"{address}"'])


def body(media_types: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of curl for the body of a request."""
    for media_type, content in media_types.items():
        if media_type == "application/json":
            members = content["schema"].get("properties", {})
            required = content["schema"].get("required") or [*members][:1]
            given = {name: VALUES[name] for name in members if name in required}
            text = json.dumps(given, ensure_ascii=False)
            if "$" in text:  # which bash replaces between double quotes only
                return ('--json "{}"'.format(text.replace('"', '\\"')),)
            return (f"--json '{text}'",)
        if media_type == "*/*":
            return ("--data-binary @scan.png",)
        return (f"-H 'Content-Type: {media_type}'", "--data-binary @scan.png")
    return ()
