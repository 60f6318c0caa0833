"""Uploads in one request: all files are stored, or none."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.requests import Request  # noqa: TC002 - resolved at run time
from starlette.responses import JSONResponse

from rex.attach.content.media_type import DEFAULT_TYPE, URLENCODED_TYPE, content_type_for, essence
from rex.attach.handle import parse_handle
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.storage.arguments import choose_limit
from rex.attach.storage.hooks import UploadRequest
from rex.attach.web.body import Body
from rex.attach.web.form_names import message_file_name
from rex.attach.web.multipart import (
    FORM_OVERHEAD,
    FORM_TYPE,
    MAX_FILES,
    FilePart,
    Form,
    parameters_of,
)
from rex.attach.web.paths import url_of
from rex.attach.web.tus_headers import metadata_of
from rex.core import Error, Kind
from rex.core.log import get_logger

__all__ = [
    "Begin",
    "Measured",
    "Uploaded",
    "name_of",
    "stored_response",
    "take_back",
    "upload",
]

Begin: TypeAlias = Callable[..., Awaitable[UploadRequest]]
"""`Storage.begin` as a coroutine function of name and ``content_type``."""

HOW_TO_SEND = (
    "send the bytes with ?name= or a Content-Disposition, and their own Content-Type, "
    "or files as multipart/form-data"
)


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
    request: Request,
    storage: Storage,
    *,
    max_size: int | None,
    stall_seconds: float = 30,
    owner: object = None,
    begin: Begin | None = None,
    fields: dict[str, str] | None = None,
) -> list[Uploaded]:
    """Store the files of a request; return them in order, at least one.

    The body is the content of one file, named by the query parameter ``name``, or a form
    (multipart/form-data) with at most 100 files; its other fields are added to `fields`, if given.
    Each file may have `max_size` bytes. The media type is that of the client, unless that is
    ``application/octet-stream`` or, in a form, malformed: then the name decides. `owner` is the
    user who uploads; `begin` replaces `Storage.begin`, to check each new handle.

    The hooks run once all files are stored. If this function raises or is
    cancelled, none of the files remains in the storage, unless the application may know them.

    Errors: `ILL_FORMED`, `TOO_LARGE`; `UNSUPPORTED` for a Content-Encoding; `UNAVAILABLE` if the
    client sends nothing for `stall_seconds` or disconnects (see `Body`); those of `Storage.add`.
    """
    begin = begin or functools.partial(storage.aio.begin, owner=owner)
    stored: list[Uploaded] = []
    try:
        files = _files(request, max_size, stall_seconds)
        async for file in files:
            begun = await begin(file.name, content_type=_type_of(file))
            owner = begun.owner
            stored.append(await _store(storage, begun, file, max_size))
        if fields is not None and isinstance(files, Form):
            fields.update(files.fields)
        if not stored:
            raise Error("The form has no file", HOW_TO_SEND, kind=Kind.ILL_FORMED)  # noqa: TRY301 - as any error
    except BaseException:
        await take_back(storage, [each.handle for each in stored])
        raise
    if storage.hooks.notifies:
        await storage.aio.notify(*(one.handle for one in stored), owner=owner, is_new=True)
    return stored


def _files(request: Request, max_size: int | None, stall_seconds: float) -> AsyncIterator[FilePart]:
    """Return the files of a request, by its content type."""
    given = request.headers.getlist("content-type")
    if len(given) > 1:
        raise Error("Content-Type must occur once", kind=Kind.ILL_FORMED)
    content_type = given[0].strip() if given else ""
    media_type = essence(content_type)
    if media_type == FORM_TYPE:
        whole = None if max_size is None else MAX_FILES * max_size + FORM_OVERHEAD
        return Form(Body(request, max_size=whole, stall_seconds=stall_seconds), content_type)
    if media_type.startswith("multipart/"):
        raise Error(f"{media_type} is not supported", HOW_TO_SEND, kind=Kind.ILL_FORMED)
    name = name_of(request)
    if media_type == URLENCODED_TYPE:  # no file has this type
        content_type = ""
    body = Body(request, max_size=max_size, stall_seconds=stall_seconds)
    return _one(FilePart(name, content_type or None, body))


async def _one(file: FilePart) -> AsyncIterator[FilePart]:
    yield file


def name_of(request: Request, *, is_resumable: bool = False) -> str:
    """Return the file name of a body.

    It is the query parameter ``name``, percent-encoded UTF-8 (URL Standard, section 5.1), or else
    the file name in Content-Disposition (RFC 6266), or in the Upload-Metadata of a resumable
    upload, which tus clients send with every protocol.

    Errors: `ILL_FORMED` without a name.
    """
    query: bytes = request.scope.get("query_string", b"")
    given = parse_qsl(query.decode(errors="replace"), keep_blank_values=True, errors="replace")
    names = [value for parameter, value in given if parameter == "name"]
    if not names:
        _, parameters = parameters_of(request.headers.get("content-disposition", ""))
        names = list(filter(None, [message_file_name(parameters)]))
    if not names and is_resumable:
        metadata = metadata_of(request.headers.get("upload-metadata", ""))
        names = [metadata[key] for key in ("filename", "name") if key in metadata][:1]
    if len(names) != 1:
        raise Error("An upload needs one file name", HOW_TO_SEND, kind=Kind.ILL_FORMED)
    return names[0]


def stored_response(request: Request, stored: Sequence[Uploaded]) -> JSONResponse:
    """Return the response to an upload of some files; Location is the URL of a single file."""
    files = [{**dataclasses.asdict(each), "url": url_of(request, each.handle)} for each in stored]
    headers = {"Location": files[0]["url"]} if len(files) == 1 else {}
    return JSONResponse({"attachments": files}, 201, headers)


def _type_of(file: FilePart) -> str | None:
    """Return the media type that the client gave to a file, unless it says nothing."""
    given = file.content_type
    is_default = given is not None and essence(given) == DEFAULT_TYPE
    return None if is_default else given


async def _store(
    storage: Storage, begun: UploadRequest, file: FilePart, max_size: int | None
) -> Uploaded:
    content = Measured(file.content, choose_limit(max_size, begun.max_size))
    handle = await storage.aio.add(begun, content, notify=False)
    name = parse_handle(handle).name
    return Uploaded(handle, name, content.size, content_type_for(name, begun.content_type))


async def take_back(storage: Storage, handles: Iterable[str]) -> None:
    """Remove the files of an upload that failed, also if the current task is cancelled."""
    # In separate tasks, which outlive the current one.
    await asyncio.shield(asyncio.gather(*(_take_back(storage, handle) for handle in handles)))


async def _take_back(storage: Storage, handle: str) -> None:
    try:
        await storage.aio.remove(handle, notify=False)
    except Error as failure:
        # The client reads the error of the request.
        get_logger("rex.attach").error("upload not removed: %s", failure)


class Measured(AsyncIterator[bytes]):
    """The bytes of an upload, counted."""

    def __init__(self, chunks: AsyncIterator[bytes], max_size: int | None) -> None:
        self._chunks = chunks
        self._max_size = max_size
        self.size = 0

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self.size += len(chunk)
        if self._max_size is not None and self.size > self._max_size:
            raise Error(
                "Attachment is too large", f"more than {self._max_size} bytes", kind=Kind.TOO_LARGE
            )
        return chunk
