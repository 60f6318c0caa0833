"""An upload: the files that one request brings are stored, all of them or none."""

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
    "send the bytes with ?name=, the name of the file, and their own Content-Type, "
    "or files as multipart/form-data"
)

UNTOLD_TYPE = "application/x-www-form-urlencoded"
"""What curl calls every body of which it was not told what it is; no file is of this type."""

PIECE_BYTES = 512
"""Smaller pieces are put together on their way: each costs the storage a turn of a thread."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What is known of an attachment that has just been stored."""

    handle: str
    """Its permanent name."""
    name: str
    """The name of the file."""
    size: int
    """In bytes."""
    content_type: str
    """What to serve it as (RFC 9110, section 8.3)."""


async def upload(
    request: Request, storage: Storage, *, max_size: int | None, stall_seconds: float = 30
) -> list[Uploaded]:
    """Store what a request brings; give what was stored, at least one, in the order it came.

    The body is the content of one file, called what the query parameter ``name`` says, or a form
    (multipart/form-data) with at most 100 files; its other fields are ignored. Each file may have
    `max_size` bytes. The type that the client sent counts, unless that is
    ``application/octet-stream`` or, in a form, ill-formed: then the name decides.

    When this raises or is cancelled, nothing that the request brought is left in the storage.

    Errors: `ILL_FORMED`, `TOO_LARGE`; `UNSUPPORTED` for a Content-Encoding; `UNAVAILABLE` when the
    client sends nothing for `stall_seconds` or goes away (see `Body`); whatever the storage raises.
    """
    stored: list[Uploaded] = []
    try:
        await _store_all(_files(request, max_size, stall_seconds), storage, max_size, stored)
    except BaseException:
        await take_back(storage, stored)
        raise
    return stored


async def take_back(storage: Storage, stored: Iterable[Uploaded]) -> None:
    """Remove what a request has stored, also when the task of the request is cancelled."""
    # In tasks of their own, which the end of this one does not end.
    await asyncio.shield(asyncio.gather(*(_take_back(storage, one.handle) for one in stored)))


def _files(request: Request, max_size: int | None, stall_seconds: float) -> AsyncIterator[FilePart]:
    """Give the files that a request brings, judged by its content type."""
    given = request.headers.getlist("content-type")
    if len(given) > 1:
        raise Error("Content-Type is given twice", kind=Kind.ILL_FORMED)
    content_type = given[0].strip() if given else ""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM_TYPE:
        whole = None if max_size is None else MAX_FILES * max_size + FORM_OVERHEAD
        return Form(Body(request, max_size=whole, stall_seconds=stall_seconds), content_type)
    if media_type.startswith("multipart/"):
        raise Error(f"An upload cannot be {media_type}", HOW_TO_SEND, kind=Kind.ILL_FORMED)
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
        raise Error("An upload needs one name", HOW_TO_SEND, kind=Kind.ILL_FORMED)
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
        raise Error("The form holds no file", HOW_TO_SEND, kind=Kind.ILL_FORMED)


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
        # What made us take it back is what the client is told.
        logging.getLogger("rex.attach").error("left behind: %s", failure)  # noqa: TRY400 - told in full


class Measured(AsyncIterator[bytes]):
    """Bytes on their way into the storage, counted, in pieces that are worth their while."""

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
