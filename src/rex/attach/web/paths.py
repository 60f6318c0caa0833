"""Paths of requests before percent-decoding, and the addresses that clients use.

A proxy may serve the service at another address than the one at which it is mounted: at
``attach_url``. Every address in a response comes from `root_of`, `url_of` and `origin_of`.
"""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from rex.attach.handle import parse_handle
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

__all__ = [
    "SERVICE_URL",
    "absolute",
    "below",
    "handle_of",
    "origin_of",
    "own_origins",
    "raw_path",
    "root_of",
    "url_of",
]

SERVICE_URL = "rex.attach.url"
"""Scope key of ``attach_url``, an absolute URL or a path; absent if it is not set."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_PLAIN = re.compile("[/0-9A-Za-z_-]*")
"""The characters that no client encodes in a path."""


def raw_path(scope: Scope) -> str:
    """Return the path below the mount, still percent-encoded."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path: str = raw.partition(b"?")[0].decode("ascii", "replace")
    root = scope.get("root_path", "")
    if _PLAIN.fullmatch(root) and path.startswith(f"{root}/"):  # the usual case
        return path[len(root) :]
    mount = "/".join(path.split("/")[: root.count("/") + 1])
    # Some clients do not encode all the characters that `quote` encodes.
    encoded = re.sub("%..", lambda match: match[0].upper(), quote(mount, safe="/%"))
    return path.removeprefix(mount) if encoded == quote(root) else path


def handle_of(path: str) -> str:
    """Return the handle in a path, decoded by segment, so that encoded slashes add no segments.

    Errors: `NOT_FOUND` if the path is not a handle; the reason is not revealed.
    """
    try:
        if "%" in path:
            parts = [unquote_to_bytes(part).decode() for part in path.split("/")]
            if any("/" in part for part in parts):
                raise ValueError  # noqa: TRY301 - as for a path that cannot be decoded
            path = "/".join(parts)
        parse_handle(path)
    except (ValueError, Error):
        raise Error("Attachment not found", kind=Kind.NOT_FOUND) from None
    return path


def root_of(request: Request) -> str:
    """Return the path at which clients reach the service, percent-encoded."""
    url: str | None = request.scope.get(SERVICE_URL)
    if url is None:
        return quote(request.scope.get("root_path", ""))
    return urlsplit(url).path.rstrip("/")


def url_of(request: Request, handle: str) -> str:
    """Return the path at which clients reach an attachment, percent-encoded."""
    return root_of(request) + quote(handle, "/")


def below(root: str, path: str) -> str:
    """Return a raw path below a root; the client may have encoded the root differently."""
    segments = path.split("/")
    depth = root.count("/") + 1
    mount = "/".join(segments[:depth])
    return path[len(mount) :] if unquote(mount) == unquote(root) else path


def origin_of(request: Request) -> str:
    """Return the origin under which the client reaches the service (RFC 6454).

    Without an absolute ``attach_url``, a same-origin request has it in Origin: a proxy may have
    changed the scheme.
    """
    if (public := _public_origin(request.scope.get(SERVICE_URL))) is not None:
        return public
    origin = request.headers.get("origin")
    if origin is not None and request.headers.get("sec-fetch-site") == "same-origin":
        return origin
    return _request_origin(request)


def own_origins(request: Request, url: str | None = None) -> list[str]:
    """Return the origins of the service: that of the request, and that of ``attach_url``.

    `url` is ``attach_url`` where the application is not in the request.
    """
    public = _public_origin(request.scope.get(SERVICE_URL, url))
    return list(dict.fromkeys(filter(None, (_request_origin(request), public))))


def absolute(request: Request, url: str) -> str:
    """Return an absolute URL; the host of a path is that of the request."""
    return origin_of(request) + url if url.startswith("/") else url


def _request_origin(request: Request) -> str:
    return _origin(request.scope.get("scheme", "http"), request.headers.get("host", ""))


def _public_origin(url: str | None) -> str | None:
    if url is None or url.startswith("/"):
        return None
    parts = urlsplit(url)
    return _origin(parts.scheme, parts.netloc)


@functools.lru_cache(maxsize=64)
def _origin(scheme: str, host: str) -> str:
    """Return an origin as browsers write it: in lower case, without the default port."""
    name = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, " "))
    if not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("idna").decode()
    return f"{scheme}://{name}"
