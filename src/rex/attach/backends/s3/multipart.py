"""Multipart uploads to a bucket: requests by botocore, and links by our own signer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.backend.multipart import Multipart, Part
from rex.attach.backends.objects.objects import object_headers
from rex.attach.backends.objects.parts import send_concurrently
from rex.attach.backends.s3.completion import complete, etag_of_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backends.s3.bucket import Bucket
    from rex.attach.backends.s3.control import S3Control
    from rex.attach.content.content import Content
    from rex.attach.links.link import PresignedLink

__all__ = ["S3Multipart", "send_parts"]


class S3Multipart(Multipart):
    """The multipart uploads of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._control = bucket.control
        self.bucket = bucket.name

    def create(self, key: str, content_type: str) -> str:
        """Create an upload; return its id."""
        return self._control.create_multipart(
            self._bucket.path(key), object_headers(key, content_type)
        )

    def parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Return the parts on the server, in the order of their numbers."""
        return self._control.list_parts(self._bucket.path(key), upload_id)

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        """Complete an upload, unless the key has a different object."""
        return complete(self._control, self._bucket.path(key), upload_id, parts)

    def is_made_of(self, key: str, etags: Sequence[str]) -> bool:
        """Return whether the ETag of the object is that of an object with these parts."""
        found = self._control.head(self._bucket.path(key))
        return found is not None and found.etag == etag_of_parts(etags)

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload and remove its parts."""
        self._control.abort(self._bucket.path(key), upload_id)

    def sign_create(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        """Sign CreateMultipartUpload."""
        headers = object_headers(key, content_type)
        return self._bucket.presign("POST", key, seconds, headers=headers, query={"uploads": ""})

    def sign_part(self, key: str, upload_id: str, number: int, seconds: float) -> PresignedLink:
        """Sign UploadPart; browsers send no content type with a part, so none is signed."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._bucket.presign("PUT", key, seconds, query=query)

    def sign_parts(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign ListParts."""
        return self._bucket.presign("GET", key, seconds, query={"uploadId": upload_id})

    def sign_complete(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign CompleteMultipartUpload, on the condition that the object does not exist."""
        headers = {"If-None-Match": "*"}
        return self._bucket.presign(
            "POST", key, seconds, headers=headers, query={"uploadId": upload_id}
        )

    def sign_abort(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign AbortMultipartUpload."""
        return self._bucket.presign("DELETE", key, seconds, query={"uploadId": upload_id})


def send_parts(control: S3Control, path: str, upload_id: str, content: Content) -> list[Part]:
    """Upload the content as parts, a few concurrently; read it in the thread of the caller."""
    return send_concurrently(
        content, lambda number, _, data: control.upload_part(path, upload_id, number, data)
    )
