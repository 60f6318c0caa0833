"""Paths as they were sent, before anything in them is decoded."""

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
"""What stands in a path as it is, however a client encodes."""


def raw_path(scope: Scope) -> str:
    """Give the path below the mount as it was sent, still encoded."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path: str = raw.partition(b"?")[0].decode("ascii", "replace")
    root = scope.get("root_path", "")
    if _PLAIN.fullmatch(root) and path.startswith(f"{root}/"):  # as nearly always
        return path[len(root) :]
    mount = "/".join(path.split("/")[: root.count("/") + 1])
    # Clients leave some characters as they are that we encode.
    encoded = re.sub("%..", lambda match: match[0].upper(), quote(mount, safe="/%"))
    return path.removeprefix(mount) if encoded == quote(root) else path


def handle_of(path: str) -> str:
    """Read a handle from a path, part by part, so that nothing encoded can add one.

    Errors: `NOT_FOUND` when it is none: nobody needs to know why.
    """
    try:
        if "%" in path:
            parts = [unquote_to_bytes(part).decode() for part in path.split("/")]
            if any("/" in part for part in parts):
                raise ValueError  # noqa: TRY301 - as for what cannot be decoded
            path = "/".join(parts)
        parse_handle(path)
    except (ValueError, Error):
        raise Error("There is no such attachment", kind=Kind.NOT_FOUND) from None
    return path


def root_of(request: Request) -> str:
    """Give the path at which the service is mounted, as it stands in a URL."""
    return quote(request.scope.get("root_path", ""))


def url_of(request: Request, handle: str) -> str:
    """Give the path at which the service serves an attachment."""
    return root_of(request) + quote(handle, "/")
