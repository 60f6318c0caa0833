"""Storage for the files that an application's users upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.lazy import importer

if TYPE_CHECKING:
    from rex.attach.content.reader import Reader
    from rex.attach.info import Info
    from rex.attach.links.link import PresignedLink
    from rex.attach.opening import get_storage, open_storage
    from rex.attach.storage import Storage
    from rex.attach.storage.hooks import StoredUpload, UploadRequest
else:  # a type checker would accept any name
    __getattr__ = importer(
        __name__,
        {
            "Info": "rex.attach.info",
            "PresignedLink": "rex.attach.links.link",
            "Reader": "rex.attach.content.reader",
            "Storage": "rex.attach.storage",
            "StoredUpload": "rex.attach.storage.hooks",
            "UploadRequest": "rex.attach.storage.hooks",
            "get_storage": "rex.attach.opening",
            "open_storage": "rex.attach.opening",
        },
    )

__all__ = [
    "Info",
    "PresignedLink",
    "Reader",
    "Storage",
    "StoredUpload",
    "UploadRequest",
    "get_storage",
    "open_storage",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
