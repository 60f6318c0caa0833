"""The headers of CORS (Fetch) that do not depend on who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EXPOSED", "preflight_headers"]

EXPOSED = (
    "Accept-Encoding, Accept-Ranges, Allow, Content-Disposition, Content-Encoding, "
    "Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, "
    "Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, "
    "Upload-Concat, Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, "
    "Upload-Offset, WWW-Authenticate"
)
"""The response headers that pages of other sites may read (Access-Control-Expose-Headers)."""


def preflight_headers(methods: Iterable[str], headers: str) -> dict[str, str]:
    """Return the headers that answer a preflight request for these methods and headers."""
    return {
        "Access-Control-Allow-Methods": ", ".join(dict.fromkeys(methods)),
        "Access-Control-Allow-Headers": headers,
        "Access-Control-Max-Age": "600",
    }
