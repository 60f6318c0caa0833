"""Headers that describe a request's body, which is stored unchanged or refused.

A header that changes the meaning of the bytes cannot be ignored, since later readers do not see the
header (RFC 9110, sections 8.4 and 14.4). Digests are verified (RFC 9530).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING

from rex.attach.handle import show
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from hashlib import _Hash

    from starlette.datastructures import Headers

__all__ = ["ENCODED", "Digests", "check_not_encoded", "check_whole", "read_digests"]

ENCODED = "unsupported-encoding"
"""The error code for a content coding, answered with 415 (RFC 9110, section 15.5.16)."""

_WHOLE = {
    # Partial PUT is not supported (RFC 9110, section 14.5), nor is POST of a range.
    "content-range": None,
    # Resumable Uploads for HTTP (IETF, httpbis): newer versions, then older ones.
    "upload-complete": "?1",
    "upload-incomplete": "?0",
}
"""Headers that mark a body as part of a file, with the value that marks the whole."""

_PARTIAL_TYPE = "application/partial-upload"
"""The media type of part of a file (Resumable Uploads for HTTP)."""

_DIGEST_HEADERS = ("content-digest", "repr-digest")
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
"""The secure algorithms of RFC 9530, with their names in `hashlib`; others are ignored."""

_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):(?:[ ]*;.*)?")


def check_whole(headers: Headers) -> None:
    """Check that a body is a complete representation, without a content coding.

    Errors: `UNSUPPORTED` with the code `ENCODED` for a Content-Encoding other than identity;
    `ILL_FORMED` for content that is marked as part of a file.
    """
    for value in headers.getlist("content-encoding"):
        check_not_encoded(value)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    announced = [f"Content-Type: {media_type}"] if media_type == _PARTIAL_TYPE else []
    for name, whole in _WHOLE.items():
        given = headers.getlist(name)
        if given not in ([], [whole]):
            announced.append(f"{name}: {show(', '.join(given))}")
    if announced:
        raise Error(
            "The body must be the complete file; resumable uploads use tus 1.0",
            "; ".join(announced),
            kind=Kind.ILL_FORMED,
        )


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


def read_digests(headers: Headers) -> dict[str, list[bytes]]:
    """Return the digests in the headers of a request, by algorithm as in `hashlib`.

    Errors: `ILL_FORMED` for a malformed digest of a known algorithm.
    """
    digests: dict[str, list[bytes]] = {}
    for name in _DIGEST_HEADERS:
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
