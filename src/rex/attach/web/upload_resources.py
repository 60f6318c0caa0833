"""Resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload, 12; also 01 to 11)."""

from __future__ import annotations

import datetime
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from rex.attach.handle import parse_handle
from rex.attach.http.body_headers import (
    PARTIAL_TYPE,
    check_whole,
    media_type_of,
    read_digests,
)
from rex.attach.storage.arguments import choose_limit
from rex.attach.web.body import STOPPED_SENDING, Body, content_length_of
from rex.attach.web.checksum import ChecksumError, NoRoomError, receive_verified
from rex.attach.web.errors import answer_failure
from rex.attach.web.interim import can_send_interim, send_interim
from rex.attach.web.paths import root_of
from rex.attach.web.section import Section
from rex.attach.web.upload import Uploaded, name_of, stored_response
from rex.attach.web.upload_fields import (
    UploadFields,
    content_type_of,
    inconsistent,
    limits_of,
)
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request

    from rex.attach.storage.hooks import UploadRequest
    from rex.attach.storage.resumable import Upload
    from rex.attach.web.section import Service

__all__ = ["UploadResources"]

RETRY_SECONDS = 1

_PROBLEMS = "https://iana.org/assignments/http-problem-types#"
_TITLES = {
    "mismatching-upload-offset": "Mismatching Upload Offset",
    "inconsistent-upload-length": "Inconsistent Upload Length Values",
    "completed-upload": "Upload Is Completed",
}
_CLOSE = {"Connection": "close"}


class UploadResources(Section):
    """Uploads that a POST to the root began, each at ``/uploads/<handle>``.

    A handle is reserved when an upload begins. Once the upload is complete, its attachment answers
    here, as long as it exists.
    """

    prefix = "/uploads"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._transfers = service.transfers

    def preflight(self) -> dict[str, str]:
        """Return the headers that answer a preflight request, with those of OPTIONS."""
        return {**super().preflight(), **self.limits()}

    def limits(self) -> dict[str, str]:
        """Return the header that announces the limits of new uploads."""
        return {"Upload-Limit": limits_of(self._storage.max_size)}

    async def respond(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Await the response of a handler; answer errors as the protocol demands."""
        try:
            response = await answer
        except ChecksumError:
            detail = "The content does not match Content-Digest."
            response = problem(400, detail, Kind.ILL_FORMED.value, code="digest-mismatch")
        except NoRoomError:
            detail = "The service verifies too much content at once; try again later."
            headers = {"Retry-After": str(RETRY_SECONDS), **_CLOSE}
            response = problem(503, detail, Kind.UNAVAILABLE.value, headers)
        except Error as failure:
            response = await self._refuse(request, failure)
        response.headers.setdefault("Cache-Control", "no-store")
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            for name, value in UploadFields.of(request).completeness(complete=False).items():
                response.headers.setdefault(name, value)
        return response

    async def _refuse(self, request: Request, failure: Error) -> Response:
        if failure.code == "length-mismatch":
            response = _iana_problem("inconsistent-upload-length", 400, str(failure), failure.kind)
        elif failure.code == STOPPED_SENDING:
            # A client resumes after a status of 5xx, not of 4xx.
            response = problem(503, failure.message, failure.kind.value, _CLOSE, code=failure.code)
        else:
            response = await answer_failure(request, failure, self._access)
        if failure.kind is Kind.BUSY:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        if failure.kind is Kind.TOO_LARGE:
            response.headers.update(self.limits())
        if failure.kind is Kind.REFUSED:  # all has arrived: resuming would not help
            response.headers.update(UploadFields.of(request).completeness(complete=True))
        return response

    async def options(self, _: Request, **__: str) -> Response:
        """Report the limits of resumable uploads (IETF)."""
        return Response(status_code=204, headers={"Accept-Patch": PARTIAL_TYPE, **self.limits()})

    async def create(self, request: Request, fields: UploadFields) -> Response:
        """Begin a resumable upload, with the first of its bytes or all of them."""
        check_whole(request.headers, is_part=True)
        fields.check_version()
        content_length = content_length_of(request.headers)
        length = fields.length_with(0, content_length, ends=fields.complete)
        begun = await self._access.begin(
            request,
            "upload",
            self._storage,
            name_of(request, is_resumable=True),
            content_type=content_type_of(request),
            size=length,
        )
        can_announce = fields.takes_interim and can_send_interim(request)
        if fields.complete and content_length is not None and not can_announce:
            return self._stored(request, fields, await self._store_whole(request, begun), {})
        is_open = fields.is_open or bool(fields.complete)
        upload = await self._storage.aio.uploads.create(begun, size=length, is_open=is_open)
        headers = {"Location": self._url(request, upload.handle)}
        limits = {"Upload-Limit": self._limits(upload)}
        is_known = fields.takes_interim and await send_interim(
            request, 104, {**fields.named_version(), **headers, **limits}
        )
        if upload.is_complete or (not fields.complete and content_length == 0):
            return self._stored(request, fields, upload, headers)
        try:
            upload = await self._store(
                request, upload, length, ends=fields.complete or None, is_only=bool(fields.complete)
            )
        except BaseException as error:
            # The client cannot resume an upload whose URL it does not know, or of other bytes.
            is_wrong = isinstance(error, Error) and error.code == "digest-mismatch"
            if not is_known or is_wrong:
                await self._transfers.forget(upload.handle)
            raise
        return self._stored(request, fields, upload, headers)

    async def _store_whole(self, request: Request, begun: UploadRequest) -> Upload:
        """Store a whole file whose client cannot resume it: without a record, all or nothing."""
        limit = choose_limit(begun.max_size, self._storage.max_size)
        body = Body(
            request,
            max_size=limit,
            stall_seconds=self._stall_seconds,
            is_part=True,
            is_only=True,
        )
        return await self._storage.aio.uploads.store(begun, body)

    async def head(self, request: Request, handle: str) -> Response:
        """Return the offset of a resumable upload (IETF)."""
        upload = await self._find(request, handle)
        state = self._state(UploadFields.of(request), upload)
        return Response(status_code=204, headers={**state, "Cache-Control": "no-store"})

    async def append(self, request: Request, handle: str) -> Response:
        """Continue a resumable upload (IETF)."""
        fields = UploadFields.of(request)
        fields.check_version()
        if fields.needs_type and media_type_of(request.headers) != PARTIAL_TYPE:
            detail, accepted = (
                f"Content-Type must be {PARTIAL_TYPE}.",
                {"Accept-Patch": PARTIAL_TYPE},
            )
            return problem(415, detail, "unsupported-media-type", accepted)
        if fields.offset is None:
            raise Error("Upload-Offset is required: bytes, 0 or more", kind=Kind.ILL_FORMED)
        ends = fields.ends
        upload = await self._find(request, handle)
        if upload.offset != fields.offset:
            return self._mismatch(fields, upload)
        if upload.expires_at is None:
            return await self._replay(request, fields, upload, ends=ends)
        content_length = content_length_of(request.headers)
        if upload.size is not None and fields.length in (None, upload.size):
            end = upload.offset + (content_length or 0)
            await self._check_end(upload, upload.size, end)
        size = fields.length_with(upload.offset, content_length, ends=ends)
        try:
            upload = await self._store(request, upload, size, ends=ends)
        except Error as error:
            if error.code != "offset-mismatch":
                raise
            return self._mismatch(fields, await self._find(request, handle))
        return self._stored(request, fields, upload, {})

    async def terminate(self, request: Request, handle: str) -> Response:
        """Cancel a resumable upload, or remove the attachment that it has become (IETF)."""
        await self._transfers.terminate(request, handle)
        return Response(status_code=204)

    async def _find(self, request: Request, handle: str) -> Upload:
        upload = await self._transfers.find(request, handle)
        if upload.partial:
            raise Error("A partial upload of tus has no resource here", kind=Kind.NOT_FOUND)
        return upload

    async def _store(
        self,
        request: Request,
        upload: Upload,
        size: int | None,
        *,
        ends: bool | None,
        is_only: bool = False,
    ) -> Upload:
        """Append the body of a request; keep what arrived if the request breaks off."""
        owner = self._access.owner(request)
        body = self._transfers.body(request, upload, size=size, is_part=True, is_only=is_only)
        digests = read_digests(request.headers, is_part=True).items()
        try:
            # Interrupted content is kept, so a digest is verified before anything is stored.
            for algorithm, values in digests:
                async with receive_verified(body, algorithm, values[0]) as content:
                    return await self._transfers.append(
                        upload, content, size=size, owner=owner, complete=ends
                    )
            return await self._transfers.append(upload, body, size=size, owner=owner, complete=ends)
        except Error as error:
            known = upload.size if upload.size is not None else size
            if error.kind is Kind.TOO_LARGE and known is not None:  # there are other limits
                await self._check_end(upload, known, upload.offset + body.size)
            raise

    async def _check_end(self, upload: Upload, length: int, end: int) -> None:
        """Invalidate an upload whose content goes beyond its length. Errors: `CONFLICT`."""
        if end > length:
            await self._storage.aio.uploads.remove(upload.handle)
            raise inconsistent("the content is beyond the length, and the upload has been removed")

    async def _replay(
        self, request: Request, fields: UploadFields, upload: Upload, *, ends: bool | None
    ) -> Response:
        """Return the last response again, which the client may not have received."""
        try:
            body = self._transfers.body(request, upload, size=upload.size, is_part=True)
            is_empty = await anext(body, None) is None
        except Error as error:
            if error.kind is not Kind.TOO_LARGE:
                raise
            is_empty = False
        if is_empty and ends is not False:
            return self._stored(request, fields, upload, {})
        detail = "The upload is complete, and cannot be appended to."
        return _iana_problem("completed-upload", 400, detail, Kind.CONFLICT)

    def _mismatch(self, fields: UploadFields, upload: Upload) -> Response:
        detail = f"Upload-Offset is {fields.offset}, but {upload.offset} bytes are stored."
        offsets = {"expected-offset": upload.offset, "provided-offset": fields.offset}
        response = _iana_problem(
            "mismatching-upload-offset", 409, detail, Kind.CONFLICT, members=offsets
        )
        response.headers["Upload-Offset"] = str(upload.offset)
        return response

    def _stored(
        self, request: Request, fields: UploadFields, upload: Upload, headers: dict[str, str]
    ) -> Response:
        """Return the response to content that was stored: of the upload, or of its attachment."""
        state = self._state(fields, upload)
        if not upload.is_complete:
            return Response(status_code=201 if headers else 204, headers={**headers, **state})
        name = parse_handle(upload.handle).name
        stored = Uploaded(upload.handle, name, upload.offset, upload.content_type)
        response = stored_response(request, [stored])
        response.headers.update(state)
        return response

    def _state(self, fields: UploadFields, upload: Upload) -> dict[str, str]:
        return {**fields.state(upload), "Upload-Limit": self._limits(upload)}

    def _limits(self, upload: Upload) -> str:
        age = None
        if upload.expires_at is not None:
            left = upload.expires_at - datetime.datetime.now(datetime.UTC)
            age = max(int(left.total_seconds()), 0)
        return limits_of(choose_limit(upload.max_size, self._storage.max_size), age)

    def _url(self, request: Request, handle: str) -> str:
        return f"{root_of(request)}{self.prefix}{quote(handle, '/')}"


def _iana_problem(
    name: str, status: int, detail: str, kind: Kind, *, members: dict[str, Any] | None = None
) -> Response:
    """Return a problem document whose type an Internet-Draft registers (RFC 9457)."""
    response = problem(status, detail, kind.value)
    named = {"type": f"{_PROBLEMS}{name}", "title": _TITLES[name], **(members or {})}
    content = json.dumps({**json.loads(bytes(response.body)), **named}).encode()
    return Response(content, status, media_type="application/problem+json")
