"""Uploads in one request: all files are stored, or none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import Request  # noqa: TC002 - resolved at run time

from rex.attach.content.media_type import DEFAULT_TYPE, content_type_for
from rex.attach.handle import parse_handle
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.body import Body
from rex.attach.web.multipart import FORM_OVERHEAD, FORM_TYPE, MAX_FILES, FilePart, Form
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Measured", "Uploaded", "take_back", "upload"]

HOW_TO_SEND = (
    "send the bytes with ?name=, the file name, and their own Content-Type, "
    "or files as multipart/form-data"
)

UNTOLD_TYPE = "application/x-www-form-urlencoded"
"""The type that curl sends by default; no file has this type."""

PIECE_BYTES = 512
"""Smaller chunks are joined: each one costs the storage a thread switch."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The metadata of a new attachment."""

    handle: str
    """The permanent name."""
    name: str
    """The name of the file."""
    size: int
    """In bytes."""
    content_type: str
    """The media type (RFC 9110, section 8.3)."""


async def upload(
    request: Request, storage: Storage, *, max_size: int | None, stall_seconds: float = 30
) -> list[Uploaded]:
    """Store the files of a request; return them in order, at least one.

    The body is the content of one file, named by the query parameter ``name``, or a form
    (multipart/form-data) with at most 100 files; other fields are ignored. Each file may have
    `max_size` bytes. The media type is that of the client, unless that is
    ``application/octet-stream`` or, in a form, malformed: then the name decides.

    If this function raises or is cancelled, none of the files remains in the storage.

    Errors: `ILL_FORMED`, `TOO_LARGE`; `UNSUPPORTED` for a Content-Encoding; `UNAVAILABLE` if the
    client sends nothing for `stall_seconds` or disconnects (see `Body`); those of `Storage.add`.
    """
    stored: list[Uploaded] = []
    try:
        await _store_all(_files(request, max_size, stall_seconds), storage, max_size, stored)
    except BaseException:
        await take_back(storage, stored)
        raise
    return stored


async def take_back(storage: Storage, stored: Iterable[Uploaded]) -> None:
    """Remove the attachments of a request, also if its task is cancelled."""
    # In separate tasks, which outlive the current one.
    await asyncio.shield(asyncio.gather(*(_take_back(storage, one.handle) for one in stored)))


def _files(request: Request, max_size: int | None, stall_seconds: float) -> AsyncIterator[FilePart]:
    """Return the files of a request, by its content type."""
    given = request.headers.getlist("content-type")
    if len(given) > 1:
        raise Error("Content-Type must occur once", kind=Kind.ILL_FORMED)
    content_type = given[0].strip() if given else ""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM_TYPE:
        whole = None if max_size is None else MAX_FILES * max_size + FORM_OVERHEAD
        return Form(Body(request, max_size=whole, stall_seconds=stall_seconds), content_type)
    if media_type.startswith("multipart/"):
        raise Error(f"{media_type} is not supported", HOW_TO_SEND, kind=Kind.ILL_FORMED)
    name = _name(request)
    if media_type == UNTOLD_TYPE:
        content_type = ""
    body = Body(request, max_size=max_size, stall_seconds=stall_seconds)
    return _one(FilePart(name, content_type or None, body))


async def _one(file: FilePart) -> AsyncIterator[FilePart]:
    yield file


def _name(request: Request) -> str:
    """Read the query parameter ``name``, percent-encoded UTF-8 (URL Standard, section 5.1)."""
    query: bytes = request.scope.get("query_string", b"")
    given = parse_qsl(query.decode(errors="replace"), keep_blank_values=True, errors="replace")
    names = [value for parameter, value in given if parameter == "name"]
    if len(names) != 1:
        raise Error("An upload needs one query parameter name", HOW_TO_SEND, kind=Kind.ILL_FORMED)
    return names[0]


async def _store_all(
    files: AsyncIterator[FilePart],
    storage: Storage,
    max_size: int | None,
    stored: list[Uploaded],
) -> None:
    async for file in files:
        stored.append(await _store(storage, file, max_size))  # noqa: PERF401 - known at once
    if not stored:
        raise Error("The form has no file", HOW_TO_SEND, kind=Kind.ILL_FORMED)


async def _store(storage: Storage, file: FilePart, max_size: int | None) -> Uploaded:
    given = file.content_type
    if given is not None and given.partition(";")[0].strip().lower() == DEFAULT_TYPE:
        given = None
    content = Measured(file.content, max_size)
    handle = await storage.aio.add(file.name, content, content_type=given)
    name = parse_handle(handle).name
    return Uploaded(handle, name, content.size, content_type_for(name, given))


async def _take_back(storage: Storage, handle: str) -> None:
    try:
        await storage.aio.remove(handle)
    except Error as failure:
        # The client reads the error of the request.
        logging.getLogger("rex.attach").error("upload not removed: %s", failure)  # noqa: TRY400 - the message is complete


class Measured(AsyncIterator[bytes]):
    """The bytes of an upload, counted, in chunks of a minimum size."""

    def __init__(self, chunks: AsyncIterator[bytes], max_size: int | None) -> None:
        self._chunks = chunks
        self._max_size = max_size
        self.size = 0

    async def __anext__(self) -> bytes:
        first = await self._next()
        if len(first) >= PIECE_BYTES:
            return first
        pieces = bytearray(first)
        while len(pieces) < PIECE_BYTES:
            try:
                pieces += await self._next()
            except StopAsyncIteration:
                break
        return bytes(pieces)

    async def _next(self) -> bytes:
        chunk = await anext(self._chunks)
        self.size += len(chunk)
        if self._max_size is not None and self.size > self._max_size:
            raise Error(
                "Attachment is too large", f"more than {self._max_size} bytes", kind=Kind.TOO_LARGE
            )
        return chunk
