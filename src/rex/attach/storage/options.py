"""The options that every backend has."""

from __future__ import annotations

from typing import Literal, TypedDict

from rex.core import Secret  # noqa: TC001 - resolved at run time

__all__ = ["StorageOptions", "UploadMethod"]

UploadMethod = Literal["POST", "PUT"]


class StorageOptions(TypedDict, total=False):
    """Options of every backend."""

    max_size: int | None
    """The largest size of an attachment, in bytes; None for no limit."""
    link_expires: float
    """The lifetime of a link, in seconds."""
    upload_expires: float
    """The lifetime of a resumable upload, in seconds."""
    max_uploads: int | None
    """The number of unfinished uploads that an owner may have; None for no limit."""
    url: str | None
    """The address at which clients reach the service, for service links."""
    secret: Secret | str | None
    """The secret that signs tokens; default: the backend's own."""
