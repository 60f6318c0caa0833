"""What the fake of Google checks of a request: tokens, V4 signatures, policies, sizes.

With code of its own, from Google's documentation: none of it is shared with what is tested.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Mapping

_FREE = ("x-ignore-", "file", "policy", "x-goog-signature")


class Refused(Exception):  # noqa: N818 - a response
    """A response other than success."""

    def __init__(self, status: int, code: str, message: str = "", **more: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message, self.more = status, code, message, more


class Account:
    """What the server knows of a service account: its public key."""

    def __init__(self, key: str) -> None:
        loaded = load_pem_private_key(key.encode(), None)
        assert isinstance(loaded, RSAPrivateKey)
        self._key = loaded.public_key()

    def check_token(self, authorization: str) -> None:
        """Check the token that the service account signed for itself."""
        kind, _, token = authorization.partition(" ")
        text, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==").hex()
        if kind != "Bearer" or not self._verifies(text.encode(), raw):
            raise Refused(401, "authError", "Invalid Credentials")

    def check_link(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        """Check the signature of a V4 link against the request as it came, and its expiry."""
        unsigned = {name: value for name, value in query.items() if name != "X-Goog-Signature"}
        signed = query.get("X-Goog-SignedHeaders", "").split(";")
        given = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        if any(name.startswith("x-goog-") and name not in signed for name in given):
            raise Refused(403, "AccessDenied", "There were headers present that were not signed")
        lines = "".join(f"{name}:{given.get(name, '')}\n" for name in signed)
        pairs = sorted(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in unsigned.items())
        names = ";".join(signed)
        request = "\n".join([method, path, "&".join(pairs), lines, names, "UNSIGNED-PAYLOAD"])
        date = query.get("X-Goog-Date", "")
        scope = query.get("X-Goog-Credential", "").partition("/")[2]
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{date}\n{scope}\n{digest}"
        if not self._verifies(text.encode(), query["X-Goog-Signature"]):
            said = {"StringToSign": text, "CanonicalRequest": request}
            raise Refused(403, "SignatureDoesNotMatch", "Access denied.", **said)
        began = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        ends = began + datetime.timedelta(seconds=int(query["X-Goog-Expires"]))
        if ends < datetime.datetime.now(datetime.UTC):
            said = {"Details": f"Request signature expired at: {ends.isoformat()}"}
            raise Refused(400, "ExpiredToken", "The provided token has expired.", **said)

    def check_policy(self, fields: Mapping[str, str], size: int) -> None:
        """Check the signature of a policy, its expiry, and every field against it."""
        policy, signature = fields.get("policy", ""), fields.get("x-goog-signature", "")
        if not policy or not self._verifies(policy.encode(), signature):
            raise Refused(403, "SignatureDoesNotMatch", "Access denied.")
        document = json.loads(base64.b64decode(policy))
        now = datetime.datetime.now(datetime.UTC)
        if datetime.datetime.fromisoformat(document["expiration"]) < now:
            raise Refused(403, "AccessDenied", "Policy expired.")
        wanted: dict[str, str] = {}
        for condition in document["conditions"]:
            if isinstance(condition, dict):
                wanted |= {name.lower(): value for name, value in condition.items()}
            else:
                check_range(size, f"{condition[1]},{condition[2]}")
        wanted.pop("bucket")
        for name, value in wanted.items():
            if fields.get(name) != value:
                raise Refused(403, "AccessDenied", f"Policy Condition failed: {name}")
        for name in fields:
            if name not in wanted and not name.startswith(_FREE):
                raise Refused(403, "AccessDenied", f"Extra input fields: {name}")

    def _verifies(self, data: bytes, signature: str) -> bool:
        """Return whether the key of the service account made a signature, in hexadecimal."""
        try:
            self._key.verify(bytes.fromhex(signature), data, PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature):
            return False
        return True


def check_range(size: int, given: str | None) -> None:
    """Check the size of an upload against ``x-goog-content-length-range``, if it was given."""
    if given is None:
        return
    least, most = map(int, given.split(","))
    if not least <= size <= most:
        code = "EntityTooLarge" if size > most else "EntityTooSmall"
        raise Refused(400, code, "The upload has another size than the range allows.")
