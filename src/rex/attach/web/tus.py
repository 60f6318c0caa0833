"""The tus protocol, version 1.0: uploads that can be taken up again (tus.io/protocols)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import tempfile
from contextlib import suppress
from email.utils import format_datetime
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from rex.attach.content_type import DEFAULT_TYPE, content_type_for
from rex.attach.handle import shown
from rex.attach.uploads import MAX_NOTE_LENGTH
from rex.attach.web.body import STOPPED_SENDING, Body
from rex.attach.web.body_headers import check_whole, given_digests
from rex.attach.web.failing import answer_failure
from rex.attach.web.paths import handle_of, root_of, url_of
from rex.attach.web.section import GuardedSection, allowing
from rex.core import Error, Kind
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from rex.attach.storage import Storage
    from rex.attach.uploads import Upload
    from rex.attach.web.access import Access

__all__ = ["Tus"]

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "termination",
    "expiration",
    "checksum",
    "concatenation",
)
MAX_PARTS = 1000
INTERRUPT_SECONDS = 10
MAX_CHECKED_BYTES = 1024**3
"""Of a piece with a checksum, which is kept in a file until it is known to be right."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[!-+\--~]+")  # ASCII without blanks and commas


class Tus(GuardedSection):
    """The uploads of a storage, one at each path ``/tus/<handle>``.

    A handle is reserved when an upload begins, so that the address of an upload tells the handle
    that the attachment has as soon as it is complete. What has arrived when a connection breaks
    is kept. A new request for an upload ends one that still runs: its client has given it up.
    """

    preflight: Mapping[str, str] = {
        **allowing("POST, HEAD, PATCH, OPTIONS, GET, DELETE"),
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
    }

    def __init__(self, storage: Storage, access: Access, *, stall_seconds: float) -> None:
        super().__init__(storage, access, stall_seconds=stall_seconds)
        self._running: dict[str, asyncio.Task[Upload]] = {}

    async def answer(self, request: Request, path: str) -> Response:
        """Answer one request of the protocol."""
        try:
            response = await self._answer(request, path)
        except _ChecksumError:
            response = problem(460, "What came is not what was sent.", "checksum-mismatch")
        except Error as failure:
            if failure.message == STOPPED_SENDING:
                # What clients take as a reason to ask for the offset and go on.
                headers = {"Connection": "close"}
                response = problem(409, failure.message, Kind.CONFLICT.value, headers)
            else:
                response = await answer_failure(request, failure, self._access)
        response.headers["Tus-Resumable"] = VERSION
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _answer(self, request: Request, path: str) -> Response:
        method = request.method
        if method == "POST":
            method = request.headers.get("x-http-method-override", method).upper()
        if method == "OPTIONS":
            return self._describe()
        endpoints = self._endpoints(request, path)
        if method not in endpoints:
            await self._access.check(request, "upload")
            allow = ", ".join(sorted([*endpoints, "OPTIONS"]))
            return problem(405, f"Use {allow}.", "method-not-allowed", {"Allow": allow})
        if request.headers.get("tus-resumable") != VERSION:
            await self._access.check(request, "upload")
            headers = {"Tus-Version": VERSION}
            return problem(412, f"This is tus {VERSION}.", "precondition-failed", headers)
        return await endpoints[method]()

    def _endpoints(
        self, request: Request, path: str
    ) -> dict[str, Callable[[], Awaitable[Response]]]:
        if path in ("", "/"):
            return {"POST": lambda: self._create(request)}
        handle = handle_of(path)
        return {
            "HEAD": lambda: self._tell(request, handle),
            "PATCH": lambda: self._append(request, handle),
            "DELETE": lambda: self._end(request, handle),
        }

    def _describe(self) -> Response:
        headers = {
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": ",".join(EXTENSIONS),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        if self._storage.max_size is not None:
            headers["Tus-Max-Size"] = str(self._storage.max_size)
        return Response(status_code=204, headers=headers)

    async def _create(self, request: Request) -> Response:
        await self._access.check(request, "upload")
        check_whole(request.headers)
        note = request.headers.get("upload-metadata", "")
        metadata = _metadata(note)
        name = metadata.get("filename") or metadata.get("name") or ""
        content_type = _content_type(metadata, name)
        concat = request.headers.get("upload-concat", "").strip()
        if concat.startswith("final;"):
            return await self._join(request, name, content_type, concat.removeprefix("final;"))
        if concat not in ("", "partial"):
            raise Error("Upload-Concat is partial or final;…", kind=Kind.ILL_FORMED)
        upload = await self._storage.aio.uploads.create(
            name,
            size=_size(request, may_be_deferred=True),
            content_type=content_type,
            note=note,
            is_part=concat == "partial",
        )
        headers = {"Location": self._url(request, upload.handle)}
        if request.headers.get("content-type", "").strip().lower() == CONTENT_TYPE:
            upload = await self._begin(request, upload)
            headers["Upload-Offset"] = str(upload.offset)
        return Response(status_code=201, headers=headers | _state(request, upload))

    async def _begin(self, request: Request, upload: Upload) -> Upload:
        """Store what came with the creation; whoever sent it has no address yet to go on at."""
        try:
            return await self._store(request, upload, size=None)
        except BaseException:
            await asyncio.shield(self._forget(upload.handle))
            raise

    async def _forget(self, handle: str) -> None:
        """Remove what there is by now; what made us do it is what the client is told."""
        with suppress(Error):
            await self._remove(await self._storage.aio.uploads.info(handle))

    async def _join(
        self, request: Request, name: str, content_type: str | None, listed: str
    ) -> Response:
        urls = listed.split()
        if not 0 < len(urls) <= MAX_PARTS:
            raise Error(f"An upload is joined of 1 to {MAX_PARTS} parts", kind=Kind.ILL_FORMED)
        parts = [self._part(request, url) for url in urls]
        for part in parts:
            await self._access.check(request, "upload", part)
        handle = await self._storage.aio.uploads.join(name, parts, content_type=content_type)
        headers = {
            "Location": self._url(request, handle),
            "Content-Location": url_of(request, handle),
        }
        return Response(status_code=201, headers=headers)

    def _part(self, request: Request, url: str) -> str:
        """Give the handle of an upload by its address here, wherever here is."""
        try:
            path = urlsplit(url).path
        except ValueError:
            path = ""
        return handle_of(path.removeprefix(self._url(request, "")))

    async def _tell(self, request: Request, handle: str) -> Response:
        await self._access.check(request, "upload", handle)
        await self._interrupt(handle)
        upload = await self._storage.aio.uploads.info(handle)
        headers = {"Upload-Offset": str(upload.offset)}
        if upload.size is None:
            headers["Upload-Defer-Length"] = "1"
        else:
            headers["Upload-Length"] = str(upload.size)
        if upload.note:
            headers["Upload-Metadata"] = upload.note
        if upload.is_part:
            headers["Upload-Concat"] = "partial"
        return Response(status_code=200, headers=headers | _state(request, upload))

    async def _append(self, request: Request, handle: str) -> Response:
        await self._access.check(request, "upload", handle)
        if request.headers.get("content-type", "").strip().lower() != CONTENT_TYPE:
            return problem(415, f"A piece is {CONTENT_TYPE}.", "unsupported-media-type")
        offset = _number(request, "upload-offset")
        if offset is None:
            raise Error("A piece needs Upload-Offset", kind=Kind.ILL_FORMED)
        size = _size(request, may_be_deferred=False)
        await self._interrupt(handle)
        upload = await self._storage.aio.uploads.info(handle)
        if upload.offset != offset:
            raise Error(
                "The upload is at another offset",
                f"at {upload.offset}, not {offset}",
                kind=Kind.CONFLICT,
            )
        upload = await self._store(request, upload, size=size)
        headers = {"Upload-Offset": str(upload.offset)}
        return Response(status_code=204, headers=headers | _state(request, upload))

    async def _store(self, request: Request, upload: Upload, *, size: int | None) -> Upload:
        """Store the body of a request at the end of an upload; keep what came if it breaks off."""
        checksum = _checksum(request)
        most = upload.size if upload.size is not None else size
        most = self._storage.max_size if most is None else most
        body = Body(
            request,
            max_size=None if most is None else most - upload.offset,
            stall_seconds=self._stall_seconds,
        )
        if checksum is None:
            return await self._run(upload, body, size)
        body.limit(MAX_CHECKED_BYTES)
        with tempfile.TemporaryFile() as checked:
            await _receive(body, checksum, checked)
            return await self._run(upload, checked, size)

    async def _run(self, upload: Upload, content: Body | BinaryIO, size: int | None) -> Upload:
        """Append, unless another request for the upload comes: then what came so far is kept."""
        await self._interrupt(upload.handle)  # one may have begun since
        running = asyncio.ensure_future(
            self._storage.aio.uploads.append(upload.handle, upload.offset, content, size=size)
        )
        self._running[upload.handle] = running
        try:
            return await running
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Error(
                "Another request has taken the upload up", upload.handle, kind=Kind.CONFLICT
            ) from None
        finally:
            if self._running.get(upload.handle) is running:
                del self._running[upload.handle]

    async def _interrupt(self, handle: str) -> None:
        """End the requests that still send to an upload."""
        while (running := self._running.get(handle)) is not None:
            running.cancel()
            await asyncio.wait({running}, timeout=INTERRUPT_SECONDS)
            if not running.done():
                raise Error("Somebody else is working on the upload", handle, kind=Kind.BUSY)
            if self._running.get(handle) is running:
                del self._running[handle]

    async def _end(self, request: Request, handle: str) -> Response:
        await self._access.check(request, "upload", handle)
        await self._interrupt(handle)
        upload = await self._storage.aio.uploads.info(handle)
        if upload.expires_at is None:
            await self._access.check(request, "remove", handle)
        await self._remove(upload)
        return Response(status_code=204)

    async def _remove(self, upload: Upload) -> None:
        """Remove an upload, or the attachment that it has become."""
        aio = self._storage.aio
        remove = aio.remove if upload.expires_at is None else aio.uploads.remove
        await remove(upload.handle)

    def _url(self, request: Request, handle: str) -> str:
        return f"{root_of(request)}/tus{quote(handle, '/')}"


class _Checksum(NamedTuple):
    algorithm: str
    digest: bytes


class _ChecksumError(Exception):
    """What came is not what was sent."""


async def _receive(body: Body, checksum: _Checksum, file: BinaryIO) -> None:
    """Write a body to a file, from its start to its end, if it has the checksum."""
    found = hashlib.new(checksum.algorithm, usedforsecurity=False)
    async for chunk in body:
        found.update(chunk)
        try:
            await asyncio.to_thread(file.write, chunk)
        except OSError as failure:
            raise Error(
                "There is no room to check what comes", failure.strerror, kind=Kind.UNAVAILABLE
            ) from failure
    if not hmac.compare_digest(found.digest(), checksum.digest):
        raise _ChecksumError
    file.seek(0)


def _checksum(request: Request) -> _Checksum | None:
    given = request.headers.get("upload-checksum")
    if given is None:
        # What came is kept where it breaks off, so a digest is compared before anything is.
        digests = given_digests(request.headers).items()
        return next((_Checksum(name, values[0]) for name, values in digests), None)
    algorithm, _, digest = given.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Error(f"A checksum is one of {', '.join(ALGORITHMS)}", kind=Kind.ILL_FORMED)
    return _Checksum(algorithm, _decoded(digest, "Upload-Checksum"))


def _state(request: Request, upload: Upload) -> dict[str, str]:
    """Tell when an upload will be given up, or where the attachment is that it has become."""
    if upload.expires_at is None:
        return {"Content-Location": url_of(request, upload.handle)}
    return {"Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}


def _size(request: Request, *, may_be_deferred: bool) -> int | None:
    size = _number(request, "upload-length")
    deferred = request.headers.get("upload-defer-length")
    if may_be_deferred and (deferred not in (None, "1") or (size is None) == (deferred is None)):
        raise Error("An upload needs Upload-Length or Upload-Defer-Length: 1", kind=Kind.ILL_FORMED)
    return size


def _number(request: Request, header: str) -> int | None:
    given = request.headers.getlist(header)
    if not given:
        return None
    if len(given) > 1 or not _NUMBER.fullmatch(given[0]):
        raise Error("Ill-formed header", f"{header}: {shown(given[0])}", kind=Kind.ILL_FORMED)
    return int(given[0])


def _metadata(header: str) -> dict[str, str]:
    """Read Upload-Metadata; what is no UTF-8 is replaced."""
    if len(header) > MAX_NOTE_LENGTH or not header.isascii():
        raise Error(f"Upload-Metadata is ASCII, at most {MAX_NOTE_LENGTH}", kind=Kind.ILL_FORMED)
    metadata = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in metadata:
            raise Error("Ill-formed Upload-Metadata", shown(pair), kind=Kind.ILL_FORMED)
        metadata[key] = _decoded(value.strip(), "Upload-Metadata").decode(errors="replace")
    return metadata


def _decoded(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Error(f"Ill-formed {header}: it is in base64", kind=Kind.ILL_FORMED) from None


def _content_type(metadata: Mapping[str, str], name: str) -> str | None:
    """Give the type that the client told, unless it says nothing or is none."""
    given = metadata.get("filetype") or metadata.get("type") or DEFAULT_TYPE
    try:
        content_type = content_type_for(name, given)
    except Error:
        return None
    return None if content_type.partition(";")[0].strip().lower() == DEFAULT_TYPE else content_type
