"""The links of a storage that has no server of its own, answered by the service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from rex.attach.links.grant import Grant
from rex.attach.web.body import Body
from rex.attach.web.download import Presentation, serve
from rex.attach.web.multipart import FORM_OVERHEAD, Form
from rex.attach.web.paths import handle_of
from rex.attach.web.section import EXPOSED, preflight_headers
from rex.attach.web.upload import Measured
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from rex.attach.storage import Storage
    from rex.attach.web.multipart import FilePart

    Endpoint = Callable[[Request, str], Awaitable[Response]]

__all__ = ["Signed"]

FILE_FIELD = "file"
PINNED_FIELDS = 2

_FORM_PATH = re.compile(r"/([A-Za-z0-9_.-]+)/")
# One parameter, written as we write it: whatever is added or encoded otherwise is no link of ours.
_QUERY = re.compile(rb"token=([A-Za-z0-9_.-]+)")

_ANY_SITE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": EXPOSED,
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class Signed:
    """Uploads and downloads by links: ``/signed/<token>/`` (forms), ``/signed/<handle>?token=…``.

    The token is the permission: no access rule is asked, and pages of every site may use a link,
    as those of S3. It is part of the address, so that the service checks it before it reads a body.
    What is asked for must be what was signed, all of it and nothing else.
    """

    preflight = preflight_headers("GET, PUT, POST", headers="*")

    def __init__(self, storage: Storage, *, stall_seconds: float) -> None:
        self._storage = storage
        self._stall_seconds = stall_seconds
        self._forms: dict[str, Endpoint] = {"POST": self._post}
        # Nothing is signed for HEAD, so that it is refused: a link is for one method.
        self._attachments: dict[str, Endpoint] = {
            "GET": self._get,
            "HEAD": self._get,
            "PUT": self._put,
        }

    def cors(self, _: Request) -> dict[str, str]:
        """Let every page read the answers."""
        return _ANY_SITE

    async def answer(self, request: Request, path: str) -> Response:
        """Do what a link permits. Errors: `DENIED` for whatever is not permitted by one."""
        links = self._storage.abilities.links
        if links is None or not links.is_service:
            raise Error("There are no links here", kind=Kind.DENIED, code="no-links")
        endpoints = self._forms if _FORM_PATH.fullmatch(path) else self._attachments
        endpoint = endpoints.get(request.method)
        if endpoint is None:
            allow = ", ".join(sorted({*endpoints} - {"HEAD"}))
            return problem(405, f"Use {allow}.", "method-not-allowed", {"Allow": allow})
        return await endpoint(request, path)

    async def _get(self, request: Request, path: str) -> Response:
        permission = self._permission(request, path)
        presentation = Presentation(
            permission.disposition or "", permission.content_type, self._expires(request)
        )
        return await serve(
            request,
            self._storage,
            f"/{permission.key}",
            presentation=presentation,
            stall_seconds=self._stall_seconds,
        )

    async def _put(self, request: Request, path: str) -> Response:
        permission = self._permission(request, path)
        for name, value in (("content-type", permission.content_type), ("if-none-match", "*")):
            if request.headers.getlist(name) != [value]:
                raise Error(
                    f"The header {name} is not as it was signed",
                    kind=Kind.DENIED,
                    code="header-changed",
                )
        if "if-match" in request.headers:  # nothing can be there that it matches, nor may there be
            return problem(412, "There is nothing to match.", "precondition-failed")
        body = Body(request, max_size=self._storage.max_size, stall_seconds=self._stall_seconds)
        try:
            return await self._store(permission, body, 201)
        except Error as error:
            if error.kind is not Kind.EXISTS:
                raise
            # The condition does not hold (RFC 9110, section 13.1.2).
            return problem(412, str(error), Kind.EXISTS.value)

    async def _post(self, request: Request, path: str) -> Response:
        permission = Grant.read(self._storage.tokens, "POST", path[1:-1])
        if request.scope.get("query_string"):
            raise _other_address()
        limits = [
            each for each in (self._storage.max_size, permission.max_size) if each is not None
        ]
        body = Body(
            request,
            max_size=min(limits) + FORM_OVERHEAD if limits else None,
            stall_seconds=self._stall_seconds,
        )
        form = Form(body, ", ".join(request.headers.getlist("content-type")))
        file = await anext(form, None)
        if file is None or file.field != FILE_FIELD:
            raise Error(
                "Ill-formed form", f"its one file is called {FILE_FIELD}", kind=Kind.ILL_FORMED
            )
        signed = {"key": permission.key, "Content-Type": permission.content_type}
        if form.fields != signed or form.field_count != PINNED_FIELDS:
            raise Error("The form is not as it was signed", kind=Kind.DENIED, code="form-changed")
        return await self._store(permission, _only_file(form, file, permission.max_size), 204)

    def _permission(self, request: Request, path: str) -> Grant:
        permission = Grant.read(self._storage.tokens, request.method, _token(request))
        if handle_of(path) != f"/{permission.key}":
            raise _other_address()
        return permission

    def _expires(self, request: Request) -> float:
        """Return when the link of a request that is permitted ends."""
        return self._storage.tokens.expires(_token(request))

    async def _store(
        self, permission: Grant, content: AsyncIterator[bytes], status: int
    ) -> Response:
        handle = f"/{permission.key}"
        # A link works once, as those of S3.
        await self._storage.aio.put(
            handle, content, content_type=permission.content_type, idempotent=False
        )
        info = await self._storage.aio.info(handle)
        location = f"{(self._storage.url or '').rstrip('/')}{quote(handle)}"
        return Response(status_code=status, headers={"ETag": info.etag, "Location": location})


def _other_address() -> Error:
    return Error("The address is not as it was signed", kind=Kind.DENIED, code="address-changed")


def _token(request: Request) -> str:
    match = _QUERY.fullmatch(request.scope.get("query_string", b""))
    return match[1].decode() if match else ""


async def _only_file(form: Form, file: FilePart, max_size: int | None) -> AsyncIterator[bytes]:
    """Give the bytes of a file, and come to the end only if it is the last of its form."""
    async for chunk in Measured(file.content, max_size):
        yield chunk
    if await anext(form, None) is not None or form.field_count != PINNED_FIELDS:
        raise Error("Ill-formed form", "something comes after its file", kind=Kind.ILL_FORMED)
