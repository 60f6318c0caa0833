"""Responses that are made while they are sent."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - resolved at run time
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask  # noqa: TC002 - resolved at run time
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.download import serve
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["AttachmentResponse", "Delegated"]


class AttachmentResponse(Response):
    """The response of an endpoint that serves an attachment to GET or HEAD (RFC 9110).

    It answers byte ranges and conditions; it streams, so that an attachment of any size needs
    little memory, and disconnects a client that receives less than 128 KiB in `stall_seconds`.
    With `inline`, a browser may display the attachment if its type cannot carry a script. With
    `redirect`, a GET is redirected to a download link, where the storage creates links. `headers`
    are added to those of the attachment, and replace those of the same name.

    The access rule is not checked: the endpoint decides.

    Errors, raised before anything is sent: `HTTPException` with 404 for what is not the handle of
    an attachment in `storage`; those of `Storage.open`.
    """

    def __init__(
        self,
        storage: Storage,
        handle: str,
        *,
        inline: bool = True,
        redirect: bool = False,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        stall_seconds: float = 30,
    ) -> None:
        super().__init__(headers=headers, background=background)
        del self.headers["content-length"]
        self._storage = storage
        self._handle = handle
        self._inline = inline
        self._redirect = redirect
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the attachment."""
        try:
            response = await self._respond(Request(scope, receive))
        except Error as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.ILL_FORMED):
                raise
            raise HTTPException(404, "Attachment not found") from error
        replaced = {name for name, _ in self.raw_headers}
        kept = [header for header in response.raw_headers if header[0] not in replaced]
        response.raw_headers = [*kept, *self.raw_headers]
        await response(scope, receive, send)
        if self.background is not None:
            await self.background()

    async def _respond(self, request: Request) -> Response:
        links = self._storage.abilities.links
        if self._redirect and links and links.signs_downloads and request.method == "GET":
            await self._storage.aio.info(self._handle)  # signing does not check that it exists
            link = await self._storage.aio.download_link(self._handle, inline=self._inline)
            return Response(None, 307, {"Location": link.url, "Cache-Control": "no-store"})
        return await serve(
            request,
            self._storage,
            self._handle,
            inline=self._inline,
            stall_seconds=self._stall_seconds,
        )


class Delegated(Response):
    """The response of an endpoint that leaves everything to an ASGI application."""

    def __init__(self, app: ASGIApp, added: Mapping[str, object]) -> None:
        """Call `app` with these entries added to the scope."""
        super().__init__()
        self._app = app
        self._added = added

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        await self._app({**scope, **self._added}, receive, send)
        if self.background is not None:  # of a dependency
            await self.background()
