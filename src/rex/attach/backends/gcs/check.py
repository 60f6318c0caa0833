"""The start-up check of a bucket: the setting that is wrong, by the error code of Google."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING

from rex.attach.backends.gcs.control import GCSFailure
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backends.gcs.bucket import GCSBucket

__all__ = ["check_bucket"]

_REFUSED = ("authError", "required", "401")


def check_bucket(bucket: GCSBucket) -> None:
    """List the bucket once, and explain an error response.

    Errors: `CONFIGURATION` with the setting that is wrong; `ABSENT` if the bucket does not exist;
    `DENIED` if a permission is missing; `UNAVAILABLE` if the server does not respond, or has an
    internal error.
    """
    try:
        body = bucket.control.first(bucket.prefix)
    except GCSFailure as failure:
        raise _explain(bucket, failure) from None
    try:
        is_listing = json.loads(body).get("kind") == "storage#objects"
    except (ValueError, AttributeError):
        is_listing = False
    if not is_listing:
        raise _not_gcs(bucket, "the response is not a listing")


def _explain(bucket: GCSBucket, failure: GCSFailure) -> Error:
    shown = f"{bucket.url}: {failure.code}: {failure.message}"[:500].rstrip(": ")
    if failure.code == "Unreachable":
        return Error(
            "The server of Google Cloud Storage cannot be reached",
            f"{bucket.endpoint}: {failure.message}",
            kind=Kind.UNAVAILABLE if failure.is_passing else Kind.CONFIGURATION,
            code="server-unreachable",
            setting="attach_gcs_endpoint",
        )
    if failure.code == "NoSuchBucket":
        return Error(
            "The bucket does not exist",
            bucket.name,
            kind=Kind.ABSENT,
            code="no-bucket",
            setting="attach_gcs_bucket",
        )
    if failure.code in _REFUSED:
        return Error(
            "The server does not accept the credentials",
            shown,
            kind=Kind.CONFIGURATION,
            code="wrong-token",
            setting="attach_gcs_key",
        )
    if failure.kind is Kind.DENIED:
        return failure.meaning.error(shown)
    if failure.status >= http.client.INTERNAL_SERVER_ERROR or failure.is_passing:
        return Error("The server has an error", shown, kind=Kind.UNAVAILABLE)
    return _not_gcs(bucket, f"status {failure.status} {failure.code}")


def _not_gcs(bucket: GCSBucket, found: str) -> Error:
    return Error(
        "The server at this address is not Google Cloud Storage",
        f"{bucket.endpoint}: {found}",
        kind=Kind.CONFIGURATION,
        code="not-gcs",
        setting="attach_gcs_endpoint",
    )
