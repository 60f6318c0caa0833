"""Uploads in parts that a test leaves on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rex.attach.storages.s3 import S3Storage

__all__ = ["abort_unfinished"]


def abort_unfinished(storage: S3Storage) -> None:
    """End all uploads behind the prefix of a storage, whoever began them."""
    listed = storage._control._client().list_multipart_uploads(Bucket=storage.bucket)
    for upload in listed.get("Uploads", ()):
        if upload["Key"].startswith(storage.prefix):
            storage._control.abort(upload["Key"], upload["UploadId"])
