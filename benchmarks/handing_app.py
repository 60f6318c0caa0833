"""The least that a program behind nginx does: answer every request with X-Accel-Redirect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def app(scope: Scope, _: Receive, send: Send) -> None:
    """Answer without any check."""
    if scope["type"] == "http":
        place = b"/_attach/" + scope["raw_path"].partition(b"/attach/")[2]
        headers = [(b"x-accel-redirect", place), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
