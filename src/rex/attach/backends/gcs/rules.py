"""The rules of a bucket: CORS and lifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rex.attach.backend.abilities import BucketRules
from rex.attach.backends.gcs.codes import PLACE

if TYPE_CHECKING:
    from rex.attach.backends.gcs.bucket import GCSBucket

__all__ = ["GCSRules"]

LINK_HEADERS = (
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Cache-Control",
    "x-goog-if-generation-match",
    "x-goog-content-length-range",
)
"""The headers that clients send with links: Google's rules name each, since * is not for them."""


class GCSRules(BucketRules):
    """Reads and sets the CORS rules of a bucket.

    Google's rules have no ids, and one list for the headers of requests and of responses.
    """

    has_ids = False
    lifecycle_name = "rule"

    def __init__(self, bucket: GCSBucket) -> None:
        self._bucket = bucket

    def cors(self) -> list[dict[str, Any]]:
        return [_read(rule) for rule in self._bucket.control.bucket().get("cors", ())]

    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        self._bucket.control.patch({"cors": [_write(rule) for rule in rules]})

    def lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        prefix = self._bucket.prefix
        versions = {
            "action": {"type": "Delete"},
            "condition": {"daysSinceNoncurrentTime": noncurrent, "matchesPrefix": [prefix]},
        }
        return [
            *([] if noncurrent is None else [versions]),
            {
                "action": {"type": "Delete"},
                "condition": {"age": days, "matchesPrefix": [f"{prefix}{PLACE}/"]},
            },
        ]


def _read(rule: dict[str, Any]) -> dict[str, Any]:
    headers = [str(name) for name in rule.get("responseHeader", ())]
    others = [name for name in headers if name not in LINK_HEADERS]
    allows_links = {*LINK_HEADERS} <= {*headers}
    return {
        "AllowedOrigins": list(rule.get("origin", ())),
        "AllowedMethods": list(rule.get("method", ())),
        "AllowedHeaders": ["*"] if allows_links else headers,
        "ExposeHeaders": others if allows_links else headers,
        "MaxAgeSeconds": int(rule.get("maxAgeSeconds", 0)),
    }


def _write(rule: dict[str, Any]) -> dict[str, Any]:
    allowed = rule.get("AllowedHeaders", ())
    headers = [*(LINK_HEADERS if "*" in allowed else allowed), *rule.get("ExposeHeaders", ())]
    return {
        "origin": list(rule.get("AllowedOrigins", ())),
        "method": list(rule.get("AllowedMethods", ())),
        "responseHeader": list(dict.fromkeys(headers)),
        "maxAgeSeconds": int(rule.get("MaxAgeSeconds", 0)),
    }
