"""Headers that describe a request's body, which is stored unchanged or refused.

A header that changes the meaning of the bytes cannot be ignored, since later readers do not see the
header (RFC 9110, sections 8.4 and 14.4). Digests are verified (RFC 9530).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Protocol

from rex.attach.content.media_type import essence
from rex.attach.handle import show
from rex.attach.http.structured_fields import read_boolean
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from hashlib import _Hash

__all__ = [
    "ENCODED",
    "PARTIAL_TYPE",
    "Digests",
    "Headers",
    "check_not_encoded",
    "check_whole",
    "media_type_of",
    "read_digests",
]

ENCODED = "unsupported-encoding"
"""The error code for a content coding, answered with 415 (RFC 9110, section 15.5.16)."""

_PART_MARKS = {
    # Resumable Uploads for HTTP (IETF, httpbis): newer versions, then older ones.
    "upload-complete": False,
    "upload-incomplete": True,
}
"""Headers that can mark a body as part of a file, with the value that does."""

PARTIAL_TYPE = "application/partial-upload"
"""The media type of part of a file (Resumable Uploads for HTTP)."""

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
"""The secure algorithms of RFC 9530, with their names in `hashlib`; others are ignored."""

_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):(?:[ ]*;.*)?")


class Headers(Protocol):
    """The headers of a request, by names in any case."""

    def getlist(self, key: str, /) -> Sequence[str]:
        """Return the values of a header."""


def check_whole(headers: Headers, *, is_part: bool = False) -> None:
    """Check that a body is a complete representation, without a content coding.

    With `is_part`, the body may be part of a file, as resumable uploads send it.

    Errors: `UNSUPPORTED` with the code `ENCODED` for a Content-Encoding other than identity;
    `ILL_FORMED` for content that is marked as part of a file.
    """
    for value in headers.getlist("content-encoding"):
        check_not_encoded(value)
    # Partial PUT is not supported (RFC 9110, section 14.5), nor is POST of a range.
    ranges = list(headers.getlist("content-range"))
    announced = [f"content-range: {show(', '.join(ranges))}"] if ranges else []
    if not is_part:
        announced += _part_marks(headers)
    if announced:
        raise Error(
            "The body must be the complete file here; resumable uploads begin with a POST to the "
            "root of the service, or use tus 1.0",
            "; ".join(announced),
            kind=Kind.ILL_FORMED,
        )


def media_type_of(headers: Headers) -> str:
    """Return the media type of a body, in lower case and without its parameters."""
    return essence("".join(headers.getlist("content-type")[:1]))


def _part_marks(headers: Headers) -> list[str]:
    media_type = media_type_of(headers)
    marks = [f"Content-Type: {media_type}"] if media_type == PARTIAL_TYPE else []
    for name, value in _PART_MARKS.items():
        lines = headers.getlist(name)
        if read_boolean(lines) is value:
            marks.append(f"{name}: {show(', '.join(lines))}")
    return marks


def check_not_encoded(content_encoding: str) -> None:
    """Check the value of a Content-Encoding. Errors: `UNSUPPORTED`, as `check_whole`."""
    codings = {coding.strip(" \t").lower() for coding in content_encoding.split(",")}
    if codings - {"", "identity"}:
        raise Error(
            "Content-Encoding is not supported; send the body without a content coding",
            show(content_encoding),
            kind=Kind.UNSUPPORTED,
            code=ENCODED,
        )


def read_digests(headers: Headers, *, is_part: bool = False) -> dict[str, list[bytes]]:
    """Return the digests of the body in the headers of a request, by algorithm as in `hashlib`.

    If the body is part of a file, Repr-Digest is not that of the body (RFC 9530, appendix A).

    Errors: `ILL_FORMED` for a malformed digest of a known algorithm.
    """
    digests: dict[str, list[bytes]] = {}
    for name in ("content-digest",) if is_part else ("content-digest", "repr-digest"):
        for member in ",".join(headers.getlist(name)).split(","):
            key, _, value = member.strip(" \t").partition("=")
            if key in _ALGORITHMS:
                algorithm = _ALGORITHMS[key]
                digests.setdefault(algorithm, []).append(_digest(name, algorithm, value))
    return digests


def _digest(header: str, algorithm: str, value: str) -> bytes:
    found = _BYTES.fullmatch(value)
    try:
        digest = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.new(algorithm).digest_size:
        raise Error(f"Ill-formed {header}", show(value), kind=Kind.ILL_FORMED)
    return digest


class Digests:
    """Digests computed while a body is read, and compared with the given ones at the end."""

    def __init__(self, given: Mapping[str, list[bytes]]) -> None:
        self._given = given
        self._found: dict[str, _Hash] = {name: hashlib.new(name) for name in given}

    def update(self, chunk: bytes) -> None:
        """Add the next bytes of the body."""
        for found in self._found.values():
            found.update(chunk)

    def check(self) -> None:
        """Compare the digests at the end of the body. Errors: `ILL_FORMED`."""
        for name, digests in self._given.items():
            if any(digest != self._found[name].digest() for digest in digests):
                raise Error(
                    "The body does not match its digest",
                    f"the {name} of the body is {self._found[name].hexdigest()}",
                    kind=Kind.ILL_FORMED,
                    code="digest-mismatch",
                )
