"""The credentials of a bucket: the key of a service account, or tokens of the Google chain."""

from __future__ import annotations

import abc
import base64
import datetime
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["SCOPE", "Credentials", "ServiceAccount", "Token", "read_key"]

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
RENEWED = 5 * 60
"""Seconds before its expiry after which a token is renewed."""
LIFETIME = 3600


class Token(NamedTuple):
    """A bearer token."""

    value: str
    expires: float
    """In seconds since 1970."""

    def __repr__(self) -> str:
        return "Token(...)"


class Credentials(abc.ABC):
    """Provides tokens for requests, and signs links."""

    signs_offline = False
    """Whether signing needs no request."""

    def __init__(self) -> None:
        self._token: Token | None = None
        self._lock = threading.Lock()

    @property
    @abc.abstractmethod
    def email(self) -> str:
        """The service account that signs links; empty if there is none."""

    @abc.abstractmethod
    def sign(self, data: bytes) -> bytes:
        """Return an RSA signature of the SHA-256 of data."""

    @abc.abstractmethod
    def _fetch(self) -> Token:
        """Return a new token."""

    def token(self) -> Token:
        """Return a valid token.

        Errors: `CONFIGURATION` if the credentials are wrong; `UNAVAILABLE` if a server fails.
        """
        with self._lock:
            if self._token is None or self._token.expires - RENEWED < time.time():
                self._token = self._fetch()
            return self._token

    def for_obstore(self) -> Any:
        """Return a token in the form that obstore expects."""
        token = self.token()
        expires_at = datetime.datetime.fromtimestamp(token.expires, datetime.UTC)
        return {"token": token.value, "expires_at": expires_at}


class ServiceAccount(Credentials):
    """A service account with its private key, which signs tokens and links without a request."""

    signs_offline = True

    def __init__(self, email: str, private_key: Secret, key_id: str = "") -> None:
        super().__init__()
        self._email = email
        self._pem = private_key
        self._key = _load(private_key)
        self._key_id = key_id

    def __repr__(self) -> str:
        return f"ServiceAccount({self._email!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._email, self._pem, self._key_id)

    @property
    def email(self) -> str:
        """The service account."""
        return self._email

    @property
    def pem(self) -> str:
        """The private key."""
        return self._pem.reveal()

    def sign(self, data: bytes) -> bytes:
        """Return a signature with the private key."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, PKCS1v15(), SHA256())

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Return whether the private key made a signature of data."""
        return self.sign(data) == signature

    def _fetch(self) -> Token:
        # A token that the account signs itself (RFC 7523): Google accepts it like that of a server.
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT", **({"kid": self._key_id} if self._key_id else {})}
        claims = {
            "iss": self._email,
            "sub": self._email,
            "scope": SCOPE,
            "iat": now,
            "exp": now + LIFETIME,
        }
        text = f"{_encode(header)}.{_encode(claims)}"
        signature = base64.urlsafe_b64encode(self.sign(text.encode())).rstrip(b"=").decode()
        return Token(f"{text}.{signature}", now + LIFETIME)


def read_key(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file of credentials. Errors: `CONFIGURATION`."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as failure:
        # The text of a JSON error has no part of the file.
        raise key_error(f"{path}: {getattr(failure, 'strerror', None) or failure}") from None
    if not isinstance(found, dict):
        raise key_error(f"{path}: not a JSON object")
    return found


def service_account(found: Mapping[str, Any], path: str | Path) -> ServiceAccount:
    """Return the service account in a file. Errors: `CONFIGURATION`."""
    email, key = found.get("client_email"), found.get("private_key")
    if found.get("type") != "service_account" or not (
        isinstance(email, str) and isinstance(key, str)
    ):
        raise key_error(f"{path}: the type of the credentials is {str(found.get('type'))[:40]!r}")
    return ServiceAccount(email, Secret(key), str(found.get("private_key_id") or ""))


def key_error(payload: str) -> Error:
    """Return the error for a file without the key of a service account."""
    return Error(
        "The key must be the JSON file of a service account, with client_email and private_key",
        payload,
        kind=Kind.CONFIGURATION,
        code="wrong-key-file",
        setting="attach_gcs_key",
    )


def _load(pem: Secret) -> RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise key_error("private_key is not an RSA key in PEM format") from None
    return key


def _encode(value: object) -> str:
    data = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
