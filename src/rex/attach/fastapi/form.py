"""The files of a form, stored while they arrive, as a dependency of an endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rex.attach.info import Info
from rex.attach.storage.arguments import choose_limit
from rex.attach.web.openapi import BYTES, list_of, object_of
from rex.attach.web.upload import take_back, upload
from rex.core import Error

if TYPE_CHECKING:
    from starlette.requests import Request

    from rex.attach.storage import Storage

__all__ = ["FORM_BODY", "Files", "receive_files"]

FORM_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {"multipart/form-data": {"schema": object_of(file=list_of(BYTES))}},
        "required": True,
    }
}
"""What describes the body of an endpoint with `Attachments.upload`: its ``openapi_extra``."""


class Files(list[Info]):
    """The files of a form, in its order, and its other fields."""

    fields: dict[str, str]
    """The fields that are not files, by name; the last of those with the same name."""

    def __init__(self, files: list[Info], fields: dict[str, str]) -> None:
        super().__init__(files)
        self.fields = fields


async def receive_files(
    request: Request,
    storage: Storage,
    *,
    max_size: int | None,
    stall_seconds: float,
    owner: object,
) -> Files:
    """Store the files of a request; return their metadata. Errors: those of `upload`."""
    if getattr(request, "_stream_consumed", False):
        raise Error(
            "The body was read before the upload",
            "an endpoint with Attachments.upload must not declare Form, File or Body parameters; "
            "Files.fields has the other fields",
        )
    fields: dict[str, str] = {}
    limit = choose_limit(max_size, storage.max_size)
    stored = await upload(
        request,
        storage,
        max_size=limit,
        stall_seconds=stall_seconds,
        owner=owner,
        fields=fields,
    )
    handles = [each.handle for each in stored]
    try:
        return Files(await asyncio.gather(*map(storage.aio.info, handles)), fields)
    except BaseException:
        if not storage.hooks.notifies:  # otherwise the application may know them
            await take_back(storage, handles)
        raise
