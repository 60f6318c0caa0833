"""The claim of an upload that is in the storage already when a form refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.django.columns import attachment_columns, databases_of
from rex.attach.django.requests import current_request, owner_of_request, users_of
from rex.attach.django.stored import StoredUpload
from rex.attach.django.tokens import Upload
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.django.storage import AttachmentStorage

__all__ = ["UploadToken", "claim", "is_attached"]


class UploadToken(str):
    """The token of an upload, as a form sent it; nothing of it is verified."""

    __slots__ = ()


def claim(
    token: str, *, storage: AttachmentStorage, field: str, max_size: int | None, own: str = ""
) -> StoredUpload:
    """Return the upload of a token to the user of the current request; notify the application.

    The metadata, such as the size in bytes, is the server's. `own` is the name that the row has
    already. The hooks ``on_complete`` and ``on_stored`` are called as for any upload.

    Errors: `DENIED` as `Upload.read`; `EXISTS` if any row has the upload already; `NOT_FOUND` if
    the bytes never came; `TOO_LARGE`; `REFUSED` and `INTERNAL` by a hook.
    """
    request = current_request()
    upload = Upload.read(token, field, users_of(request))
    if upload.handle[1:] != own and is_attached(storage, upload.handle):
        raise Error("The upload is attached already", kind=Kind.EXISTS, code="already-attached")
    info = storage.rex.info(upload.handle)
    limits = [limit for limit in (upload.max_size, max_size) if limit is not None]
    if limits and info.size > min(limits):
        raise Error("Attachment is too large", f"{info.size} bytes", kind=Kind.TOO_LARGE)
    if storage.rex.hooks.notifies:
        owner = None if request is None else owner_of_request(request)
        storage.rex.notify(upload.handle, owner=owner)
    return StoredUpload(storage, info)


def is_attached(storage: AttachmentStorage, handle: str) -> bool:
    """Return whether any row of the attachment columns has a handle, or a name for it."""
    names = storage.names_of(handle)
    return any(
        next(column.rows_with(names, using), None) is not None
        for column in attachment_columns()
        for using in databases_of(column.model)
    )
