"""Uploads in parts straight to S3: what tests send, and what they leave on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rex.attach.backends.s3.storage import S3Storage

MIB = 1024 * 1024
CONTENT = b"".join(bytes([number]) * 5 * MIB for number in (1, 2)) + b"the end"
PARTS = [CONTENT[start : start + 5 * MIB] for start in range(0, len(CONTENT), 5 * MIB)]


def abort_unfinished(storage: S3Storage) -> None:
    """End all uploads behind the prefix of a storage, whoever began them."""
    client = storage._bucket.control._client()
    listed = client.list_multipart_uploads(Bucket=storage.bucket, Prefix=storage.prefix)
    for upload in listed.get("Uploads", ()):
        storage._bucket.control.abort(upload["Key"], upload["UploadId"])
