"""A tus client in one process with the service: it says exactly what a test wants it to say."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import httpx

from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule
from rex.attach.web.app import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach import Storage

ANYBODY = Access(access_rule("public", None))
PIECE = {"Content-Type": "application/offset+octet-stream"}
VERSION = {"Tus-Resumable": "1.0.0"}
FOLDER = "/tus/2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab"
"""An address where no upload is."""


class Client:
    """Asks the service about uploads."""

    def __init__(self, storage: Storage, access: Access = ANYBODY, **options: Any) -> None:
        self.storage = storage
        self.app: Any = attachments(storage, access, Options(**options))

    def ask(self, method: str, path: str = "/tus", **request: Any) -> httpx.Response:
        """Make a request, of version 1.0.0 unless it says another."""
        return asyncio.run(self.asked(method, path, **request))

    async def asked(
        self, method: str, path: str = "/tus", headers: Mapping[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        """Make a request in a running loop."""
        given = {**VERSION, **(headers or {})}
        given = {name: value for name, value in given.items() if value}
        transport = httpx.ASGITransport(self.app, root_path="")
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, headers=given, **rest)

    def create(self, size: int | None = None, **headers: str) -> str:
        """Begin an upload; give its path."""
        length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
        answer = self.ask("POST", headers={**length, **_named(headers)})
        assert 201 == answer.status_code, answer.text
        return answer.headers["Location"]

    def join(self, *parts: str, **headers: str) -> str:
        """Concatenate uploads; return the path of the final one."""
        listed = {"Upload-Concat": f"final;{' '.join(parts)}"}
        answer = self.ask("POST", headers={**listed, **_named(headers)})
        assert 201 == answer.status_code, answer.text
        return answer.headers["Location"]

    def patch(self, path: str, offset: int, content: Any, **headers: str) -> httpx.Response:
        """Send a piece."""
        there = {**PIECE, "Upload-Offset": str(offset), **_named(headers)}
        return self.ask("PATCH", path, headers=there, content=content)

    def offset(self, path: str) -> int:
        """Ask how far an upload is."""
        answer = self.ask("HEAD", path)
        assert (200, "no-store") == (answer.status_code, answer.headers["Cache-Control"])
        return int(answer.headers["Upload-Offset"])

    def read(self, path: str) -> bytes:
        """Give the bytes of the attachment that an upload has become."""
        answer = self.ask("GET", path.removeprefix("/tus"))
        assert 200 == answer.status_code
        return answer.content


def encoded(text: str | bytes) -> str:
    """Give base64."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
