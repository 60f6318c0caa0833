"""Signed URLs and cookies of Amazon CloudFront, which serves a bucket from its edges.

The rules are those of the CloudFront Developer Guide, "Use signed URLs" and "Use signed cookies".
A canned policy is not sent: CloudFront makes it of the URL and `Expires`. A custom policy is sent,
may have wildcards, and may restrict the time of the first request and the address of the client.
"""

from __future__ import annotations

import datetime
import os
import re
import time
from typing import TYPE_CHECKING

from rex.attach.handle import show
from rex.attach.links.link import PresignedLink, link_seconds, round_down
from rex.core import Error, Kind

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["CloudFront", "make_policy"]

_BASE64 = bytes.maketrans(b"+=/", b"-_~")
"""The characters that a query cannot have unencoded, and those that CloudFront has instead."""


_PATTERN = re.compile(r"(?:[0-9A-Za-z._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
"""The characters of a path and a query (RFC 3986), of which two are wildcards here."""


class CloudFront:
    """A distribution, and the private key of a public key in one of its trusted key groups.

    `url` is the address of the distribution, below which the paths are the keys of the bucket;
    `key_id` is the id of the public key, and `key` the path of the private key (RSA, PEM).

    Errors: `CONFIGURATION` if the key cannot be used, or if the extra ``cdn`` is not installed.
    """

    def __init__(self, url: str, key_id: str, key: str | os.PathLike[str]) -> None:
        self.url = url.rstrip("/")
        self.key_id = key_id
        self._path = os.fspath(key)
        self._key = _load(self._path)

    def __repr__(self) -> str:
        return f"CloudFront({self.url!r}, {self.key_id!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url, self.key_id, self._path)

    def download_link(
        self,
        path: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int = 0,
    ) -> PresignedLink:
        """Return a link to an object, with the parameters by which S3 changes its headers.

        With a `window` other than 0, the link is the same within a window (`round_down`).
        """
        from urllib.parse import quote

        from rex.attach.links.sigv4 import encode_path

        given = {"response-content-disposition": content_disposition}
        if content_type is not None:
            given["response-content-type"] = content_type
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        expires = int(round_down(time.time(), window) + seconds)
        url = self.sign_url(f"{self.url}/{encode_path(path)}?{query}", expires)
        expires_at = datetime.datetime.fromtimestamp(expires, datetime.UTC)
        return PresignedLink("GET", url, {}, {}, expires_at)

    def sign_url(self, url: str, expires: int, *, policy: str | None = None) -> str:
        """Return a URL with its signature: of a canned policy, or of a custom `policy`.

        `expires` is in seconds since 1970; with a custom policy, that of the policy counts.
        """
        signed = make_policy(url, expires) if policy is None else policy
        first = f"Expires={expires}" if policy is None else f"Policy={_encode(signed.encode())}"
        separator = "&" if "?" in url else "?"
        return f"{url}{separator}{first}&Signature={self._sign(signed)}&Key-Pair-Id={self.key_id}"

    def cookies(
        self,
        pattern: str = "*",
        *,
        expires: float | datetime.timedelta = 3600,
        client: str | None = None,
    ) -> dict[str, str]:
        """Return the cookies with which a browser reads every URL of a pattern.

        `pattern` is below the address of the distribution, with or without a first slash, and
        percent-encoded as in URLs; ``*`` is any text, ``?`` a character. The cookies count for
        `expires` seconds (or a timedelta), from the IPv4 address or network `client` if it is
        given. Set them, secure and HTTP-only, for a domain that the page and the distribution
        share.

        Errors: `ILL_FORMED` for a pattern that no URL matches, for a client that is neither an
        IPv4 address nor a network, and for a duration that is not between 1 second and 7 days.
        """
        end = int(time.time() + link_seconds(expires))
        _check_cookies(pattern, client)
        resource = f"{self.url}/{pattern.removeprefix('/')}"
        policy = make_policy(resource, end, client=client)
        return {
            "CloudFront-Policy": _encode(policy.encode()),
            "CloudFront-Signature": self._sign(policy),
            "CloudFront-Key-Pair-Id": self.key_id,
        }

    def _sign(self, policy: str) -> str:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA1

        # CloudFront requires SHA-1. No client chooses what is signed, so collisions are of no use.
        return _encode(self._key.sign(policy.encode(), PKCS1v15(), SHA1()))  # noqa: S303


def _check_cookies(pattern: str, client: str | None) -> None:
    """Check what CloudFront would accept, and never match. Errors: `ILL_FORMED`."""
    import ipaddress

    if not _PATTERN.fullmatch(pattern):
        raise Error(
            "The pattern of cookies must be percent-encoded, as in URLs",
            show(pattern),
            kind=Kind.ILL_FORMED,
        )
    try:
        if client is not None:
            ipaddress.IPv4Network(client)
    except ValueError:
        raise Error(
            "The client of cookies must be an IPv4 address, or a network such as 192.0.2.0/24",
            show(client),
            kind=Kind.ILL_FORMED,
        ) from None


def make_policy(
    resource: str, expires: int, *, starts: int | None = None, client: str | None = None
) -> str:
    """Return a policy for a URL, or for all URLs of a pattern; it is canned without options.

    It holds until `expires` and from `starts` on, in seconds since 1970, and for an IPv4 address or
    network.
    """
    import json

    condition: dict[str, dict[str, int | str]] = {"DateLessThan": {"AWS:EpochTime": expires}}
    if client is not None:
        condition["IpAddress"] = {"AWS:SourceIp": client if "/" in client else f"{client}/32"}
    if starts is not None:
        condition["DateGreaterThan"] = {"AWS:EpochTime": starts}
    statement = {"Resource": resource, "Condition": condition}
    return json.dumps({"Statement": [statement]}, separators=(",", ":"))


def _encode(data: bytes) -> str:
    import base64

    return base64.b64encode(data).translate(_BASE64).decode()


def _load(path: str) -> RSAPrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as missing:
        raise Error(
            "Links of CloudFront need more packages: pip install 'rex-attach[cdn]'",
            missing,
            kind=Kind.CONFIGURATION,
            code="missing-package",
        ) from None
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - light to import
            key = load_pem_private_key(file.read(), None)
    except OSError as failure:
        raise _wrong_key(f"{path}: {failure.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise _wrong_key(path)
    return key


def _wrong_key(payload: str) -> Error:
    return Error(
        "attach_cdn_key must be the file of an RSA private key in PEM format, without a password",
        payload,
        kind=Kind.CONFIGURATION,
        code="wrong-key-file",
        setting="attach_cdn_key",
    )
