"""Uploads in parts on an S3 server: asked with botocore, signed with our own links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rex.attach.multipart import Multipart, Part
from rex.attach.storages.objectstore import object_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.link import PresignedLink
    from rex.attach.storages.s3_control import S3Control

    class Sign(Protocol):
        """Signs one request for an object."""

        def __call__(
            self,
            method: str,
            key: str,
            seconds: float,
            *,
            headers: dict[str, str] | None = None,
            query: dict[str, str] | None = None,
        ) -> PresignedLink: ...


__all__ = ["S3Multipart"]


class S3Multipart(Multipart):
    """The uploads in parts of one bucket."""

    def __init__(self, control: S3Control, sign: Sign, *, bucket: str, prefix: str) -> None:
        self._control = control
        self._sign = sign
        self.bucket = bucket
        self.prefix = prefix

    def create(self, key: str, content_type: str) -> str:
        """Begin an upload."""
        return self._control.create_multipart(self.prefix + key, object_headers(key, content_type))

    def parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Give the parts that are there, page by page."""
        return self._control.list_parts(self.prefix + key, upload_id)

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object, on the condition that there is none."""
        named = [(part.number, part.etag) for part in parts]
        self._control.complete(self.prefix + key, upload_id, named)

    def abort(self, key: str, upload_id: str) -> None:
        """End an upload."""
        self._control.abort(self.prefix + key, upload_id)

    def sign_create(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        """Sign CreateMultipartUpload."""
        headers = object_headers(key, content_type)
        return self._sign("POST", key, seconds, headers=headers, query={"uploads": ""})

    def sign_part(self, key: str, upload_id: str, number: int, seconds: float) -> PresignedLink:
        """Sign UploadPart; browsers send no content type with a part, so none is signed."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._sign("PUT", key, seconds, query=query)

    def sign_parts(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign ListParts."""
        return self._sign("GET", key, seconds, query={"uploadId": upload_id})

    def sign_complete(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign CompleteMultipartUpload, on the condition that there is no object."""
        headers = {"If-None-Match": "*"}
        return self._sign("POST", key, seconds, headers=headers, query={"uploadId": upload_id})

    def sign_abort(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign AbortMultipartUpload."""
        return self._sign("DELETE", key, seconds, query={"uploadId": upload_id})
