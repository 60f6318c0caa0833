"""What the tests of Uppy's two ways to S3 share: a page of a user, and requests made at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from rex.attach import Storage

ORIGIN = "https://pages.example.org"
ANYBODY = Access(access_rule("public", None), origins=[ORIGIN])


class Page:
    """A page that a user has open: it asks the service, as that user."""

    def __init__(self, storage: Storage, user: object = None, access: Access = ANYBODY) -> None:
        service = attachments(storage, access)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await service({**scope, "user": user}, receive, send)

        self._app: ASGIApp = app

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make one request to the service."""

        async def live() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, **options)

        return asyncio.run(live())

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Make a request that is answered; give what the answer says."""
        answer = self.ask(method, path, **options)
        assert (200, "no-store") == (answer.status_code, answer.headers["Cache-Control"]), (
            answer.text
        )
        return answer.json()


def at(upload: dict[str, str], rest: str = "") -> str:
    """Give the address of an upload, as Uppy writes it."""
    token, key = quote(upload["uploadId"], safe=""), quote(upload["key"], safe="")
    return f"/s3/multipart/{token}{rest}?key={key}"
