"""Interim responses (RFC 9110, section 15.2), where the server of the application can send them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = ["INTERIM", "can_send_interim", "interim_head", "send_interim"]

INTERIM = "rex.attach.interim"
"""The ASGI extension with a function of status and headers: `wsgi` has it on some servers.

ASGI itself has an extension for status 103 only.
"""

_PHRASES = {104: "Upload Resumption Supported"}


def interim_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return an interim response of HTTP/1.1 (RFC 9112, section 2.1)."""
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def can_send_interim(request: Request) -> bool:
    """Return whether the server can send interim responses."""
    return INTERIM in request.scope.get("extensions", {})


async def send_interim(request: Request, status: int, headers: Mapping[str, str]) -> bool:
    """Send an interim response; return False if the server cannot."""
    send = request.scope.get("extensions", {}).get(INTERIM)
    return send is not None and bool(send(status, headers))
