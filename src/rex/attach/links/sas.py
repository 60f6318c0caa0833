"""Shared access signatures of Azure (SAS): links to one blob, signed without a request.

The rules are those of the Azure Storage reference, "Create a service SAS" and "Create a user
delegation SAS". A signature covers the blob, the permissions, the times and the headers of the
response, but neither the headers nor the body of the request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELDS", "VERSION", "DelegationKey", "decode_key", "sign_blob", "string_to_sign"]

VERSION = "2023-11-03"
"""The version of the service that interprets links and requests."""

FIELDS = {
    "st": "start",
    "se": "expiry",
    "sp": "permissions",
    "si": "policy",
    "sip": "addresses",
    "spr": "protocol",
    "sv": "version",
    "sr": "resource",
    "ses": "encryption scope",
    "skoid": "object of the key",
    "sktid": "tenant of the key",
    "skt": "start of the key",
    "ske": "expiry of the key",
    "sks": "service of the key",
    "skv": "version of the key",
    "rscc": "Cache-Control",
    "rscd": "Content-Disposition",
    "rsce": "Content-Encoding",
    "rscl": "Content-Language",
    "rsct": "Content-Type",
}
"""The signed parameters of a link, and what they are."""

_OF_KEY = ("skoid", "sktid", "skt", "ske", "sks", "skv")
_RESPONSE = ("rscc", "rscd", "rsce", "rscl", "rsct")
_SIX_FIELDS = "2020-12-06"
"""The first version that signs an encryption scope."""
_DELEGATED = "2025-07-05"
"""The first version that signs the tenant and the object of a delegated user."""
_REQUESTS = "2026-02-06"
"""The first version that can sign headers and parameters of a request."""


@dataclass(frozen=True, slots=True)
class DelegationKey:
    """A user delegation key: it signs in place of the account key, for at most 7 days."""

    object_id: str
    tenant_id: str
    start: str
    expiry: str
    service: str
    version: str
    value: str
    """The key in Base64."""

    def __repr__(self) -> str:
        return f"DelegationKey({self.object_id!r}, expiry={self.expiry!r}, ...)"

    @property
    def expires_at(self) -> datetime:
        """When the key expires (aware)."""
        return datetime.fromisoformat(self.expiry)

    def fields(self) -> dict[str, str]:
        """Return the parameters that a link has from the key."""
        values = (self.object_id, self.tenant_id, self.start, self.expiry)
        return dict(zip(_OF_KEY, (*values, self.service, self.version), strict=True))


def sign_blob(
    account: str,
    container: str,
    blob: str,
    *,
    key: str | DelegationKey,
    permissions: str,
    expires_at: datetime,
    start: datetime | None = None,
    protocol: str | None = None,
    response: Mapping[str, str] | None = None,
    version: str = VERSION,
) -> str:
    """Return the query of a link to one blob: a service SAS, or a user delegation SAS.

    `key` is the account key in Base64, or a user delegation key. `permissions` are letters in the
    order of the reference, such as ``r`` or ``c``. `protocol` is ``https`` or ``https,http``.
    `response` has the headers of the response by parameter: ``rscd``, ``rsct``, ….

    Errors: `ILL_FORMED` for a time without a time zone; `CONFIGURATION` for a malformed key.
    """
    fields: dict[str, str] = {}
    if start is not None:
        fields["st"] = _time(start)
    fields |= {"se": _time(expires_at), "sp": permissions}
    if protocol is not None:
        fields["spr"] = protocol
    fields |= {"sv": version, "sr": "b"}
    given = response or {}
    fields |= {name: given[name] for name in _RESPONSE if name in given}
    if isinstance(key, DelegationKey):
        fields |= key.fields()
    place = f"/blob/{account}/{container}/{blob}"
    secret = key.value if isinstance(key, DelegationKey) else key
    fields["sig"] = sign(secret, string_to_sign(place, fields))
    return "&".join([f"{name}={quote(value)}" for name, value in fields.items()])


def string_to_sign(place: str, fields: Mapping[str, str]) -> str:
    """Return the text that the signature of a link covers.

    `place` is ``/blob/account/container/blob``, not encoded.
    """
    version = fields.get("sv", "")
    is_delegated = bool(fields.get("skoid"))
    lines = [fields.get(name, "") for name in ("sp", "st", "se")]
    lines.append(place)
    if is_delegated:
        lines += [fields.get(name, "") for name in _OF_KEY]
        lines += ["", "", ""]  # authorized and unauthorized object, correlation
        lines += ["", ""] if version >= _DELEGATED else []
    else:
        lines.append(fields.get("si", ""))
    lines += [fields.get(name, "") for name in ("sip", "spr", "sv", "sr")]
    lines.append(fields.get("snapshot", ""))
    if version >= _SIX_FIELDS:
        lines.append(fields.get("ses", ""))
    if is_delegated and version >= _REQUESTS:
        lines += ["", ""]
    lines += [fields.get(name, "") for name in _RESPONSE]
    return "\n".join(lines)


def sign(key: str, text: str) -> str:
    """Return the HMAC-SHA256 of a text by a key in Base64, in Base64.

    Errors: `CONFIGURATION` if the key is malformed.
    """
    digest = hmac.digest(decode_key(key), text.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def decode_key(key: str) -> bytes:
    """Return the bytes of a key in Base64. Errors: `CONFIGURATION` if it is malformed."""
    try:
        decoded = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise Error(
            "The account key must be Base64, as the portal of Azure shows it",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_azure_key",
        )
    return decoded


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise Error("The times of a link must have a time zone", moment, kind=Kind.ILL_FORMED)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
