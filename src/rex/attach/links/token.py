"""Signed tokens: grants of the service that clients carry and cannot change.

A token is ``<claims>.<signature>``: the claims are JSON, the signature is an HMAC (RFC 2104) with
SHA-256 over the purpose and the claims, both in base64url without padding (RFC 4648, section 5).
The signature is compared as text, so each signature has exactly one valid encoding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_TOKEN_LENGTH", "TokenSigner"]

MAX_TOKEN_LENGTH = 4096

_EXPIRES = "exp"


class TokenSigner:
    """Sign and parse tokens with a secret; they are valid wherever the secret is the same."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "TokenSigner(...)"

    def sign(self, purpose: str, claims: Mapping[str, Any], *, expires: float) -> str:
        """Return a token for a purpose that is valid until `expires` (seconds since 1970, UTC).

        The holder of the token can read the claims, which are JSON.
        """
        content = json.dumps({**claims, _EXPIRES: expires}, separators=(",", ":")).encode()
        text = _encode(content)
        return f"{text}.{self._signature(purpose, text)}"

    def read(self, purpose: str, token: str) -> dict[str, Any]:
        """Return the claims of a token for this purpose.

        Errors: `DENIED` for a token that is forged, changed or expired.
        """
        if not self.is_signed(purpose, token):
            raise Error("The signature is wrong", kind=Kind.DENIED, code="bad-signature")
        claims = _claims(token)
        if time.time() >= claims.pop(_EXPIRES):
            raise Error("The link has expired", kind=Kind.DENIED, code="link-expired")
        return claims

    def expires(self, token: str) -> float:
        """Return the expiry of a verified token in seconds since 1970 (UTC)."""
        expires: float = _claims(token)[_EXPIRES]
        return expires

    def is_signed(self, purpose: str, token: str) -> bool:
        """Check whether a token is signed for this purpose, regardless of its expiry."""
        text, _, signature = token.partition(".")
        given = signature.encode("utf-8", "replace")
        expected = self._signature(purpose, text).encode()
        return len(token) <= MAX_TOKEN_LENGTH and hmac.compare_digest(given, expected)

    def mac(self, purpose: str, *texts: str | bytes) -> bytes:
        """Return an HMAC (32 bytes) of a sequence of texts for a purpose."""
        lengths = (f"{len(text)}\0".encode() + text for text in map(_bytes, (purpose, *texts)))
        return hmac.digest(self._secret, b"mac\0" + b"".join(lengths), hashlib.sha256)

    def _signature(self, purpose: str, text: str) -> str:
        message = _bytes(f"{purpose}\0{text}")
        return _encode(hmac.digest(self._secret, message, hashlib.sha256))


def _claims(token: str) -> dict[str, Any]:
    text = token.partition(".")[0]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
