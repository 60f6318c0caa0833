"""V4 signatures of Google Cloud Storage: signed URLs and policies of forms.

The rules are those of Google's documentation, "V4 signing process" and "Signatures" of "POST
object", cited below as V4. A canonical request has the form that Signature Version 4 of S3 has.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from rex.attach.links.sigv4 import DEFAULT_PORTS, canonical_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Condition: TypeAlias = Mapping[str, str] | Sequence[str | int]

__all__ = ["V4Signer", "host_of", "presign_v4", "sign_policy_v4", "string_to_sign"]

ALGORITHM = "GOOG4-RSA-SHA256"
SCOPE = "auto/storage/goog4_request"


class V4Signer(NamedTuple):
    """A service account, and a function that signs bytes with its key (RSA, SHA-256)."""

    email: str
    sign: Callable[[bytes], bytes]

    def __repr__(self) -> str:
        return f"V4Signer({self.email!r}, ...)"


def presign_v4(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    signer: V4Signer,
    expires: int,
    now: datetime,
) -> str:
    """Return `url` signed for `method`, valid from `now` for `expires` seconds.

    `url` is ``scheme://host[:port]/path`` with an encoded path. `headers` are the signed headers
    besides ``Host``: the client must send each with the same value. `query` has additional
    parameters.
    """
    parts = urlsplit(url)
    timestamp = _timestamp(now)
    signed = {"host": host_of(url)}
    for name, value in (headers or {}).items():
        signed[name.lower()] = " ".join(value.split())
    pairs = {
        **(query or {}),
        "X-Goog-Algorithm": ALGORITHM,
        "X-Goog-Credential": f"{signer.email}/{timestamp[:8]}/{SCOPE}",
        "X-Goog-Date": timestamp,
        "X-Goog-Expires": str(expires),
        "X-Goog-SignedHeaders": ";".join(sorted(signed)),
    }
    request = canonical_request(method, parts.path, pairs.items(), signed)
    signature = signer.sign(string_to_sign(request, timestamp)).hex()
    # The query of the URL is the canonical one, as in the URLs of Google's libraries.
    canonical = request.split("\n", 3)[2]
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{canonical}&X-Goog-Signature={signature}"


def string_to_sign(request: str, timestamp: str) -> bytes:
    """Return what the signature of a canonical request signs."""
    digest = hashlib.sha256(request.encode()).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{timestamp[:8]}/{SCOPE}\n{digest}".encode()


def sign_policy_v4(
    bucket: str,
    key: str,
    fields: Mapping[str, str],
    conditions: Sequence[Condition] = (),
    *,
    signer: V4Signer,
    expires: int,
    now: datetime,
) -> dict[str, str]:
    """Return the complete fields of a form that uploads to `key`.

    The policy has `conditions`, and fixes each of `fields`, the bucket and the key. It expires
    `expires` seconds after `now`.
    """
    timestamp = _timestamp(now)
    credential = f"{signer.email}/{timestamp[:8]}/{SCOPE}"
    ends = now.astimezone(UTC).replace(tzinfo=None) + timedelta(seconds=expires)
    document = {
        "conditions": [
            *conditions,
            *({name: fields[name]} for name in sorted(fields)),
            {"bucket": bucket},
            {"key": key},
            {"x-goog-date": timestamp},
            {"x-goog-credential": credential},
            {"x-goog-algorithm": ALGORITHM},
        ],
        "expiration": f"{ends.isoformat()}Z",
    }
    policy = base64.b64encode(json.dumps(document, separators=(",", ":")).encode())
    return {
        **fields,
        "key": key,
        "x-goog-algorithm": ALGORITHM,
        "x-goog-credential": credential,
        "x-goog-date": timestamp,
        "x-goog-signature": signer.sign(policy).hex(),
        "policy": policy.decode(),
    }


def host_of(url: str) -> str:
    """Return the value of the header Host in a request to `url`."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix(DEFAULT_PORTS.get(parts.scheme, ""))


def _timestamp(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
