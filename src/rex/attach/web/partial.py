"""Headers by which a client says that the content of a request is only a part of its file.

None of them is supported, so a request that has one is refused: its content would be stored as if
it were the whole. Uploads in pieces are those of tus 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.handle import shown
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.datastructures import Headers

__all__ = ["refuse_partial"]

WHOLE = {
    # There is no partial PUT here (RFC 9110, section 14.5), and no POST of a range.
    "content-range": None,
    # draft-ietf-httpbis-resumable-upload: its newer versions, and its older ones.
    "upload-complete": "?1",
    "upload-incomplete": "?0",
}
"""The headers, and the value by which each says that the content is the whole, if it can."""

PARTIAL_TYPE = "application/partial-upload"
"""The media type of a part (draft-ietf-httpbis-resumable-upload)."""


def refuse_partial(headers: Headers) -> None:
    """Check that the content of a request is not announced as a part. Errors: `ILL_FORMED`."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    announced = [f"Content-Type: {PARTIAL_TYPE}"] if media_type == PARTIAL_TYPE else []
    for name, whole in WHOLE.items():
        given = headers.getlist(name)
        if given not in ([], [whole]):
            announced.append(f"{name}: {shown(', '.join(given))}")
    if announced:
        raise Error(
            "The content must be the whole file; an upload in pieces needs tus 1.0",
            "; ".join(announced),
            kind=Kind.ILL_FORMED,
        )
