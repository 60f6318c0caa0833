"""Service links: the links of a storage whose backend has no server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from rex.attach.http.download import Presentation
from rex.attach.links.grant import Grant
from rex.attach.web.access import EXPOSED
from rex.attach.web.body import Body
from rex.attach.web.download import serve
from rex.attach.web.multipart import FORM_OVERHEAD, Form
from rex.attach.web.section import Section
from rex.attach.web.upload import Measured
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from rex.attach.web.multipart import FilePart

__all__ = ["Signed"]

FILE_FIELD = "file"
PINNED_FIELDS = 2

# The one parameter, exactly as it was signed: other parameters or encodings are refused.
_QUERY = re.compile(rb"token=([A-Za-z0-9_.-]+)")

_ANY_SITE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": EXPOSED,
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class Signed(Section):
    """Uploads and downloads by links: ``/signed/<token>/`` (forms), ``/signed/<handle>?token=…``.

    The token is the access right, so the access rule is not checked, and pages of every site may
    use a link, as with links of S3. The token is part of the address, so that the service checks it
    before it reads a body. The request must be exactly the signed one. A link is for one method, so
    HEAD has no route.
    """

    prefix = "/signed"
    allowed_headers = "*"

    def cors(self, _: Request) -> dict[str, str]:
        """Return headers that let every page read the responses."""
        return _ANY_SITE

    async def get(self, request: Request, handle: str) -> Response:
        """Download with a service link."""
        grant = self._grant(request, handle)
        presentation = Presentation(
            grant.disposition or "", grant.content_type, self._expires(request)
        )
        return await serve(
            request,
            self._storage,
            f"/{grant.key}",
            presentation=presentation,
            stall_seconds=self._stall_seconds,
        )

    async def put(self, request: Request, handle: str) -> Response:
        """Upload with a service link."""
        grant = self._grant(request, handle)
        for name, value in (("content-type", grant.content_type), ("if-none-match", "*")):
            if request.headers.getlist(name) != [value]:
                raise Error(
                    f"The header {name} differs from the signed one",
                    kind=Kind.DENIED,
                    code="header-changed",
                )
        if "if-match" in request.headers:  # a new attachment has no entity tag to match
            return problem(412, "If-Match cannot match a new attachment.", "precondition-failed")
        body = Body(request, max_size=self._storage.max_size, stall_seconds=self._stall_seconds)
        try:
            return await self._store(request, grant, body, 201)
        except Error as error:
            if error.kind is not Kind.EXISTS:
                raise
            # The condition does not hold (RFC 9110, section 13.1.2).
            return problem(412, str(error), Kind.EXISTS.value)

    async def post(self, request: Request, token: str) -> Response:
        """Upload a form with a service link."""
        grant = Grant.read(self._storage.tokens, "POST", token)
        if request.scope.get("query_string"):
            raise _other_address()
        limits = [each for each in (self._storage.max_size, grant.max_size) if each is not None]
        body = Body(
            request,
            max_size=min(limits) + FORM_OVERHEAD if limits else None,
            stall_seconds=self._stall_seconds,
        )
        form = Form(body, ", ".join(request.headers.getlist("content-type")))
        file = await anext(form, None)
        if file is None or file.field != FILE_FIELD:
            raise Error(
                "Ill-formed form", f"the file must be the field {FILE_FIELD}", kind=Kind.ILL_FORMED
            )
        signed = {"key": grant.key, "Content-Type": grant.content_type}
        if form.fields != signed or form.field_count != PINNED_FIELDS:
            raise Error("Form differs from the signed one", kind=Kind.DENIED, code="form-changed")
        content = _only_file(form, file, grant.max_size)
        return await self._store(request, grant, content, 204)

    def _grant(self, request: Request, handle: str) -> Grant:
        grant = Grant.read(self._storage.tokens, request.method, _token(request))
        if handle != f"/{grant.key}":
            raise _other_address()
        return grant

    def _expires(self, request: Request) -> float:
        """Return when the link of a valid request expires."""
        return self._storage.tokens.expires(_token(request))

    async def _store(
        self, request: Request, grant: Grant, content: AsyncIterator[bytes], status: int
    ) -> Response:
        handle = f"/{grant.key}"
        # An upload link works once, as those of S3. But a client repeats an upload whose bytes
        # were stored and whose hooks failed.
        await self._storage.aio.put(
            handle,
            content,
            content_type=grant.content_type,
            owner=await self._access.find_owner(request, self._storage, handle),
            idempotent=self._storage.hooks.notifies,
        )
        info = await self._storage.aio.info(handle)
        location = f"{(self._storage.url or '').rstrip('/')}{quote(handle)}"
        return Response(status_code=status, headers={"ETag": info.etag, "Location": location})


def _other_address() -> Error:
    return Error("URL differs from the signed one", kind=Kind.DENIED, code="address-changed")


def _token(request: Request) -> str:
    match = _QUERY.fullmatch(request.scope.get("query_string", b""))
    return match[1].decode() if match else ""


async def _only_file(form: Form, file: FilePart, max_size: int | None) -> AsyncIterator[bytes]:
    """Yield the bytes of a file; check that it is the last part of the form."""
    async for chunk in Measured(file.content, max_size):
        yield chunk
    if await anext(form, None) is not None or form.field_count != PINNED_FIELDS:
        raise Error("Ill-formed form", "the file must be the last field", kind=Kind.ILL_FORMED)
