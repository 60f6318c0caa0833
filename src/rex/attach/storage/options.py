"""The options that every backend has."""

from __future__ import annotations

from typing import Literal, TypedDict

from rex.attach.links.cloudfront import CloudFront  # noqa: TC001 - resolved at run time
from rex.attach.storage.hooks import (  # noqa: TC001 - resolved at run time
    BeginHook,
    RemovedHook,
    UploadHook,
)
from rex.core.function import Function  # noqa: TC001 - as above
from rex.core.secret import AnySecret  # noqa: TC001 - resolved at run time

__all__ = ["StorageOptions", "UploadMethod"]

UploadMethod = Literal["POST", "PUT"]


class StorageOptions(TypedDict, total=False):
    """Options of every backend."""

    max_size: int | None
    """The largest size of an attachment, in bytes; None for no limit."""
    link_expires: float
    """The lifetime of a link, in seconds."""
    link_window: float | None
    """The time in which download links stay the same, in seconds; None for new links each time."""
    upload_expires: float
    """The lifetime of a resumable upload, in seconds."""
    max_uploads: int | None
    """The number of unfinished uploads that an owner may have; None for no limit."""
    url: str | None
    """The address at which clients reach the service, for service links."""
    sendfile: str | None
    """The proxy's internal location, or ``x-sendfile``, if a proxy sends the downloads."""
    cdn: CloudFront | None
    """The CDN to which download links lead; None for the server of the backend."""
    public_url: str | None
    """The address below which all attachments can be read without a signature."""
    secret: AnySecret | None
    """The secret that signs tokens; default: the backend's own."""
    on_begin: BeginHook | Function | None
    """Called when an upload begins; may refuse or change it."""
    on_complete: UploadHook | Function | None
    """Called once all bytes are stored; may refuse the upload."""
    on_stored: UploadHook | Function | None
    """Called before the client is acknowledged; records the attachment."""
    on_removed: RemovedHook | Function | None
    """Called with the handle before an attachment is removed."""
