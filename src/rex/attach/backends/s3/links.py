"""Presigned links to a bucket, which bypass the application."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from rex.attach.backend.abilities import LinkSigner
from rex.attach.backends.objects.objects import object_headers
from rex.attach.links.link import PresignedLink
from rex.attach.links.sigv4 import sign_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.backends.s3.bucket import Bucket
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink
    from rex.attach.links.sigv4 import Condition

__all__ = ["S3Links"]

MAX_POST_BYTES = 5 * 1024**3
"""The largest form upload that S3 accepts."""
ABSENT_FIELDS = ("acl", "Expires", "success_action_redirect", "redirect")
"""Fields that some servers respect although no condition of the policy names them."""

_to_json = json.JSONEncoder().encode  # `json.dumps` takes longer


class S3Links(LinkSigner):
    """Signs links with the credentials of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @property
    def is_offline(self) -> bool:
        """Whether the credentials are cached."""
        return self._bucket.has_keys

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        bucket = self._bucket
        now, credentials, lifetime, expires_at = bucket.term(seconds)
        path = bucket.path(key)
        largest = MAX_POST_BYTES if max_size is None else min(max_size, MAX_POST_BYTES)
        fields, conditions = self._form(key.rpartition("/")[2], content_type, largest)
        signed = sign_policy(
            f'{conditions}, ["eq", "$key", {_to_json(path)}]',
            {"key": path, **fields},
            credentials=credentials,
            region=bucket.region,
            expires=lifetime,
            now=now,
        )
        return PresignedLink("POST", f"{bucket.public_url}/", {}, signed, expires_at)

    def _form(self, name: str, content_type: str, largest: int) -> tuple[Mapping[str, str], str]:
        bucket = self._bucket
        return _make_form(bucket.name, name, content_type, largest, is_aws=bucket.is_aws)

    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size  # a signature of S3 does not cover it
        headers = {**object_headers(key, content_type), "If-None-Match": "*"}
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
        return self._bucket.presign("GET", key, seconds, query=query, window=window, is_kept=True)

    def compare(self, link: SignedLink) -> Comparison | None:
        from rex.attach.backends.s3.explain import compare

        if link.is_google:
            return None

        bucket = self._bucket
        return compare(
            link,
            bucket=bucket.name,
            region=bucket.region,
            bucket_urls=(bucket.public_url, bucket.url),
            # Comparing works offline, so use cached credentials only.
            credentials=bucket.credentials() if bucket.has_keys else None,
        )


@functools.lru_cache(maxsize=256)
def _make_form(
    bucket: str, name: str, content_type: str, largest: int, *, is_aws: bool
) -> tuple[Mapping[str, str], str]:
    """Return the fields besides the key, and the conditions besides that of the key.

    The conditions fix every field of the form and every possible extra field.
    """
    fields = {**object_headers(name, content_type), "success_action_status": "204"}
    # AWS refuses a field that no condition names, so no field can be added.
    absent = () if is_aws else ABSENT_FIELDS
    conditions: list[Condition] = [
        {"bucket": bucket},
        *(["eq", f"${name}", value] for name, value in fields.items()),
        *(["eq", f"${name}", ""] for name in absent),
        ["content-length-range", 0, largest],
    ]
    return fields, json.dumps(conditions)[1:-1]
