"""Links to a bucket by V4 signatures, which bypass the application."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from rex.attach.backend.abilities import LinkSigner
from rex.attach.backends.objects.objects import object_headers
from rex.attach.links.link import PresignedLink
from rex.attach.links.v4 import sign_policy_v4

if TYPE_CHECKING:
    from rex.attach.backends.gcs.bucket import GCSBucket
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["MAX_BYTES", "ONCE", "RANGE", "GCSLinks"]

MAX_BYTES = 5 * 1024**4
"""The largest object of Google Cloud Storage."""
ONCE = "x-goog-if-generation-match"
RANGE = "x-goog-content-length-range"


class GCSLinks(LinkSigner):
    """Signs links with the key of a service account, or by the IAM service."""

    limits_put = True

    def __init__(self, bucket: GCSBucket) -> None:
        self._bucket = bucket

    @property
    def is_offline(self) -> bool:
        """Whether there is a private key, so that no request is needed."""
        return self._bucket.credentials.signs_offline

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        bucket = self._bucket
        now = datetime.datetime.fromtimestamp(int(time.time()), datetime.UTC)
        lifetime = int(seconds)
        fields = {**object_headers(key, content_type), "success_action_status": "204"}
        largest = MAX_BYTES if max_size is None else min(max_size, MAX_BYTES)
        signed = sign_policy_v4(
            bucket.name,
            bucket.path(key),
            fields,
            [["content-length-range", 0, largest]],
            signer=bucket.signer(),
            expires=lifetime,
            now=now,
        )
        expires_at = now + datetime.timedelta(seconds=lifetime)
        return PresignedLink("POST", f"{bucket.url}/", {}, signed, expires_at)

    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        headers = {**object_headers(key, content_type), ONCE: "0"}
        if max_size is not None:
            headers[RANGE] = f"0,{max_size}"
        return self._bucket.presign("PUT", key, seconds, headers=headers)

    def get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        query = {"response-content-disposition": content_disposition}
        if content_type is not None:
            query["response-content-type"] = content_type
        return self._bucket.presign("GET", key, seconds, query=query, window=window)

    def compare(self, link: SignedLink) -> Comparison | None:
        from rex.attach.backends.gcs.explain import compare

        return compare(link, self._bucket)
