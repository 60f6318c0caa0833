"""The header fields of resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rex.attach.content.media_type import DEFAULT_TYPE
from rex.attach.http.body_headers import PARTIAL_TYPE, media_type_of
from rex.attach.http.structured_fields import read_boolean, read_size
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.requests import Request

    from rex.attach.storage.resumable import Upload

__all__ = ["CURRENT_VERSION", "UploadFields", "content_type_of", "inconsistent", "limits_of"]

CURRENT_VERSION = 9
"""The interop version of Internet-Draft 12."""

_INCOMPLETE_VERSION = 3
"""That of Internet-Draft 01, of iOS 17, with Upload-Incomplete in place of Upload-Complete."""

_LAST_BY_LENGTH = 6
"""Up to this version, an upload is complete at its length; since, only if the client says so."""

_LAST_UNTYPED = 5
"""Up to this version, the content of PATCH has no media type of its own."""


@dataclass(frozen=True, slots=True)
class UploadFields:
    """The fields of a request; a malformed field counts as absent (RFC 9651)."""

    version: int | None
    """Upload-Draft-Interop-Version; None for a client of the final protocol."""
    complete: bool | None
    """Upload-Complete: whether the upload ends with the content of the request."""
    offset: int | None
    """Upload-Offset in bytes."""
    length: int | None
    """Upload-Length in bytes."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """Read the fields of a request."""
        lines = request.headers.getlist
        version = read_size(lines("upload-draft-interop-version"))
        complete = read_boolean(lines("upload-complete"))
        if version in (None, _INCOMPLETE_VERSION) and complete is None:
            incomplete = read_boolean(lines("upload-incomplete"))
            if incomplete is not None:
                version, complete = _INCOMPLETE_VERSION, not incomplete
        offset, length = read_size(lines("upload-offset")), read_size(lines("upload-length"))
        return cls(version, complete, offset, length)

    def check_version(self) -> None:
        """Check that the service supports the version. Errors: `ILL_FORMED`."""
        if self.version is not None and self.version < _INCOMPLETE_VERSION:
            raise Error(
                "Upload-Draft-Interop-Version is not supported",
                f"{self.version}, but it must be {_INCOMPLETE_VERSION} to {CURRENT_VERSION}",
                kind=Kind.ILL_FORMED,
                code="unsupported-version",
            )

    @property
    def takes_interim(self) -> bool:
        """Whether the client takes 104, which names its version."""
        return self.version in range(_INCOMPLETE_VERSION, CURRENT_VERSION + 1)

    @property
    def is_open(self) -> bool:
        """Whether an upload of this client is complete only once the client says so."""
        return self.version is None or self.version > _LAST_BY_LENGTH

    @property
    def ends(self) -> bool | None:
        """Whether the content of PATCH ends the upload; None if its length decides.

        Errors: `ILL_FORMED` without Upload-Complete, except in versions that allowed that.
        """
        if self.complete is None and self.is_open:
            raise Error("Upload-Complete is required: ?0 or ?1", kind=Kind.ILL_FORMED)
        if self.complete is None and self.version == _INCOMPLETE_VERSION:
            return True
        return True if self.complete else (False if self.is_open else None)

    @property
    def needs_type(self) -> bool:
        """Whether the content of PATCH must be application/partial-upload."""
        return self.version is None or self.version > _LAST_UNTYPED

    def length_with(
        self, offset: int, content_length: int | None, *, ends: bool | None
    ) -> int | None:
        """Return the length that a request tells: Upload-Length, or the end of its content.

        Errors: `CONFLICT` if both are there and differ, or if the content is beyond the length.
        """
        end = offset + (content_length or 0)
        is_told = bool(ends) and content_length is not None
        if self.length is None:
            return end if is_told else None
        if self.length < end or (is_told and self.length != end):
            raise inconsistent(f"Upload-Length is {self.length}, but the content ends at {end}")
        return self.length

    def completeness(self, *, complete: bool) -> dict[str, str]:
        """Return the response field that tells whether the upload is complete."""
        if self.version == _INCOMPLETE_VERSION:
            return {"Upload-Incomplete": "?0" if complete else "?1"}
        return {"Upload-Complete": "?1" if complete else "?0"}

    def state(self, upload: Upload) -> dict[str, str]:
        """Return the response fields that tell the state of an upload."""
        state = {
            "Upload-Offset": str(upload.offset),
            **self.completeness(complete=upload.is_complete),
        }
        return state if upload.size is None else {**state, "Upload-Length": str(upload.size)}

    def named_version(self) -> dict[str, str]:
        """Return the response field that names the version of the client."""
        return {"Upload-Draft-Interop-Version": str(self.version)}


def inconsistent(reason: str) -> Error:
    """Return the error for a request that tells another length than before."""
    return Error(
        "The upload has a different length", reason, kind=Kind.CONFLICT, code="length-mismatch"
    )


def limits_of(max_size: int | None, age: int | None = None) -> str:
    """Return Upload-Limit: the largest size in bytes, and the seconds until an upload expires."""
    limits = {"max-size": max_size, "max-age": age}
    told = [f"{name}={value}" for name, value in limits.items() if value is not None]
    return ", ".join(told) or "min-size=0"  # a dictionary must not be empty


def content_type_of(request: Request) -> str | None:
    """Return the media type of the file that a request begins to upload, if it tells one."""
    media_type = media_type_of(request.headers)
    if media_type in ("", DEFAULT_TYPE, PARTIAL_TYPE):
        return None
    return request.headers["content-type"].strip()
