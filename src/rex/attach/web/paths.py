"""Raw request paths, before percent-decoding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from rex.attach.handle import parse_handle
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

__all__ = ["handle_of", "raw_path", "root_of", "url_of"]

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
    """Return the path at which the service is mounted, percent-encoded."""
    return quote(request.scope.get("root_path", ""))


def url_of(request: Request, handle: str) -> str:
    """Return the path at which the service serves an attachment."""
    return root_of(request) + quote(handle, "/")
