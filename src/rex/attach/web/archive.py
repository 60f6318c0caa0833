"""The response with a ZIP archive of attachments, and the requests for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from rex.attach.content.media_type import URLENCODED_TYPE, disposition
from rex.attach.handle import parse_handle, safe_file_name
from rex.attach.http.body_headers import media_type_of
from rex.attach.http.download import SAFETY
from rex.attach.web.access import NOT_ALLOWED
from rex.attach.web.body import Body, read_json
from rex.attach.web.download import Streamed, body_message
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import Send

    from rex.attach.storage.archive import AsyncArchive
    from rex.attach.web.access import Access

__all__ = [
    "MAX_HANDLES",
    "ArchiveResponse",
    "Wanted",
    "archive_headers",
    "read_wanted",
    "select_allowed",
]

MAX_HANDLES = 1000
"""The largest number of handles in a request, so that a client cannot occupy the service."""
MAX_BODY_BYTES = 512 * 1024
DEFAULT_NAME = "attachments.zip"

_REFUSALS = (401, 403, 404)


class Wanted(NamedTuple):
    """What a client asks for."""

    handles: list[str]
    """Without duplicates, at least one."""
    name: str
    """The file name of the archive."""


async def read_wanted(request: Request, *, stall_seconds: float) -> Wanted:
    """Read the handles and the name from the query, a form or JSON.

    Errors: `ILL_FORMED`; `TOO_LARGE`; those of `Body`.
    """
    if request.method != "POST":
        given = _from_pairs(request.url.query)
    elif media_type_of(request.headers) == URLENCODED_TYPE:
        body = Body(request, max_size=MAX_BODY_BYTES, stall_seconds=stall_seconds)
        read = b"".join([chunk async for chunk in body])
        given = _from_pairs(read.decode(errors="replace"))
    else:
        given = await read_json(request, stall_seconds=stall_seconds, max_size=MAX_BODY_BYTES)
    return _check(given.get("handles"), given.get("name"))


def _from_pairs(encoded: str) -> dict[str, Any]:
    try:
        pairs = parse_qs(
            encoded, keep_blank_values=True, errors="replace", max_num_fields=2 * MAX_HANDLES
        )
    except ValueError:  # parsing would occupy the event loop
        raise _too_many() from None
    return {"handles": pairs.get("handle", []), "name": pairs.get("name", [None])[-1]}


def _check(handles: Any, name: Any) -> Wanted:
    if not isinstance(handles, list) or not handles:
        raise Error("At least one handle is required", kind=Kind.ILL_FORMED)
    if len(handles) > MAX_HANDLES:
        raise _too_many()
    for handle in handles:
        parse_handle(handle)
    name = safe_file_name(name or DEFAULT_NAME)
    if not name.lower().endswith(".zip"):
        name = safe_file_name(f"{name}.zip")  # which shortens it
    return Wanted([*dict.fromkeys(handles)], name)


def _too_many() -> Error:
    reason = f"at most {MAX_HANDLES} in a request"
    return Error("Too many attachments for an archive", reason, kind=Kind.TOO_LARGE)


async def select_allowed(access: Access, request: Request, handles: Sequence[str]) -> list[str]:
    """Return the handles that the access rule allows the user of a request to download."""
    allowed = []
    for handle in handles:
        try:
            await access.check(request, "download", handle)
        except (Error, HTTPException) as refusal:
            if not _is_refusal(refusal):
                raise
        else:
            allowed.append(handle)
    return allowed


def _is_refusal(failure: Error | HTTPException) -> bool:
    """Check whether the rule refuses a handle, which is not a failure."""
    if isinstance(failure, Error):
        return failure.code == NOT_ALLOWED
    return failure.status_code in _REFUSALS


def archive_headers(archive: AsyncArchive, name: str) -> dict[str, str]:
    """Return the headers of a response with an archive."""
    return {
        "Content-Type": "application/zip",
        "Content-Length": str(archive.size),
        "Content-Disposition": disposition(name),
        "Accept-Ranges": "none",
        **SAFETY,
    }


class ArchiveResponse(Streamed):
    """A response with an archive, which is made as the client receives it."""

    def __init__(self, archive: AsyncArchive, name: str, stall_seconds: float) -> None:
        super().__init__(200, archive_headers(archive, name), stall_seconds)
        self.name = name
        self._archive = archive

    async def _stream_body(self, send: Send) -> None:
        async for chunk in self._archive:
            await self._give(send, body_message(chunk))

    async def _close(self) -> None:
        await self._archive.close()
