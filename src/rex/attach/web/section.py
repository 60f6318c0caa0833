"""A part of the service's paths, in a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.storage import Storage
    from rex.attach.web.access import Access

__all__ = ["EXPOSED", "GuardedSection", "Section", "preflight_headers"]

EXPOSED = (
    "Accept-Encoding, Accept-Ranges, Allow, Content-Disposition, Content-Encoding, "
    "Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, "
    "Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, "
    "Upload-Concat, Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, "
    "Upload-Offset, WWW-Authenticate"
)
"""What a page of another site may read of an answer (Fetch, Access-Control-Expose-Headers)."""


class Section(Protocol):
    """What answers under one part of the service's paths."""

    @property
    def preflight(self) -> Mapping[str, str]:
        """What a page of another site that may read the answers is told beforehand."""

    def cors(self, request: Request) -> dict[str, str]:
        """Give the headers that let such a page read an answer, if it may."""

    async def answer(self, request: Request, path: str) -> Response:
        """Answer a request for a path below the section, as it was sent: ``/…`` or nothing.

        What is raised is answered by the service.
        """


class GuardedSection:
    """A section for which the access rule is asked, and that only some other sites may use."""

    def __init__(self, storage: Storage, access: Access, *, stall_seconds: float) -> None:
        self._storage = storage
        self._access = access
        self._stall_seconds = stall_seconds

    def cors(self, request: Request) -> dict[str, str]:
        """Let the pages of the sites that may use the service read its answers."""
        return self._access.cors(request)


def preflight_headers(methods: str, headers: str = "*, Authorization") -> dict[str, str]:
    """Give what a page of another site is told of what it may send (Fetch, CORS)."""
    return {
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": headers,
        "Access-Control-Max-Age": "600",
    }
