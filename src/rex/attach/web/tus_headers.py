"""The headers of tus 1.0: parsed from requests, and stored with uploads."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, NamedTuple, Self

from rex.attach.content.media_type import DEFAULT_TYPE, content_type_for, essence
from rex.attach.handle import show
from rex.attach.http.body_headers import read_digests
from rex.attach.storage.resumable import MAX_KEPT_METADATA_BYTES
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from rex.attach.storage.resumable import Upload

__all__ = [
    "ALGORITHMS",
    "FINAL",
    "PARTIAL",
    "Checksum",
    "Headers",
    "checksum_of",
    "content_type_of",
    "metadata_of",
    "number_of",
    "size_of",
]

ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
FINAL = "final;"
PARTIAL = "partial"
MAX_METADATA_LENGTH = 8000

_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[!-+\--~]+")  # ASCII without spaces and commas


class Headers(NamedTuple):
    """The headers of a creation that HEAD returns."""

    metadata: str = ""
    """Upload-Metadata, as the client sent it."""
    concat: str = ""
    """Upload-Concat, as the client sent it."""

    @classmethod
    def of(cls, upload: Upload) -> Self:
        """Return the stored headers, or name and type of an attachment without metadata.

        Another program may have written the metadata: invalid header values are dropped.
        """
        try:
            metadata, concat = json.loads(upload.metadata or "[]")
            kept = cls(_printable(metadata), _printable(concat))
        except (ValueError, TypeError, AttributeError):
            kept = cls(metadata=_describe(upload) if upload.expires_at is None else "")
        return kept._replace(concat=PARTIAL) if upload.partial else kept

    @property
    def is_final(self) -> bool:
        """Whether the upload was joined from partial uploads."""
        return self.concat.startswith(FINAL)

    def encode(self) -> str:
        """Return the metadata to store."""
        return json.dumps(self)

    def shorten(self) -> Self:
        """Return the headers that fit into the metadata of an attachment.

        Name and type of the attachment replace Upload-Metadata. PATCH needs to know that an upload
        is final; the list of its partial uploads can be dropped.
        """
        whole = (self, self._replace(metadata=""), self._replace(metadata="", concat=FINAL))
        return next(kept for kept in whole if len(kept.encode()) <= MAX_KEPT_METADATA_BYTES)

    def headers(self) -> dict[str, str]:
        """Return the response headers, without empty ones."""
        named = {"Upload-Metadata": self.metadata, "Upload-Concat": self.concat}
        return {name: value for name, value in named.items() if value}


class Checksum(NamedTuple):
    """An Upload-Checksum."""

    algorithm: str
    """One of `ALGORITHMS`."""
    digest: bytes


def checksum_of(request: Request) -> Checksum | None:
    """Return the checksum of the content of a request, if there is one. Errors: `ILL_FORMED`."""
    given = request.headers.get("upload-checksum")
    if given is None:
        # Interrupted content is kept, so a digest is verified before anything is stored.
        digests = read_digests(request.headers).items()
        return next((Checksum(name, values[0]) for name, values in digests), None)
    algorithm, _, digest = given.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Error(f"Upload-Checksum must be {', '.join(ALGORITHMS)}", kind=Kind.ILL_FORMED)
    return Checksum(algorithm, _decode(digest, "Upload-Checksum"))


def size_of(request: Request, *, may_be_deferred: bool) -> int | None:
    """Return Upload-Length in bytes; None if the client defers it. Errors: `ILL_FORMED`."""
    size = number_of(request, "upload-length")
    deferred = request.headers.get("upload-defer-length")
    if may_be_deferred and (deferred not in (None, "1") or (size is None) == (deferred is None)):
        raise Error("Upload-Length or Upload-Defer-Length: 1 is required", kind=Kind.ILL_FORMED)
    return size


def number_of(request: Request, header: str) -> int | None:
    """Return the number in a header, or None without the header. Errors: `ILL_FORMED`."""
    given = request.headers.getlist(header)
    if not given:
        return None
    if len(given) > 1 or not _NUMBER.fullmatch(given[0]):
        raise Error("Ill-formed header", f"{header}: {show(given[0])}", kind=Kind.ILL_FORMED)
    return int(given[0])


def metadata_of(header: str) -> dict[str, str]:
    """Parse Upload-Metadata; bytes that are not UTF-8 are replaced. Errors: `ILL_FORMED`."""
    if len(header) > MAX_METADATA_LENGTH or not header.isascii():
        raise Error(
            f"Upload-Metadata must be ASCII, at most {MAX_METADATA_LENGTH}", kind=Kind.ILL_FORMED
        )
    metadata = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in metadata:
            raise Error("Ill-formed Upload-Metadata", show(pair), kind=Kind.ILL_FORMED)
        metadata[key] = _decode(value.strip(), "Upload-Metadata").decode(errors="replace")
    return metadata


def content_type_of(metadata: Mapping[str, str], name: str) -> str | None:
    """Return the media type in the metadata, or None if the file name decides."""
    given = metadata.get("filetype") or metadata.get("type") or DEFAULT_TYPE
    try:
        content_type = content_type_for(name, given)
    except Error:
        return None
    return None if essence(content_type) == DEFAULT_TYPE else content_type


def _describe(upload: Upload) -> str:
    """Return name and type of an attachment as tus clients send them."""
    values = {"filename": upload.handle.rpartition("/")[2], "filetype": upload.content_type}
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items()
    )


def _printable(text: str) -> str:
    text = text.replace("\t", " ")  # the other blank of a header (RFC 9110, section 5.6.3)
    return text if text.isascii() and text.isprintable() else ""


def _decode(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Error(f"{header} must be in base64", kind=Kind.ILL_FORMED) from None
