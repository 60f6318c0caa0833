"""The start-up check of a bucket: the setting that is wrong, by the error code of S3.

The check sends a presigned link with a plain HTTP client. obstore cannot tell a wrong access key
from a wrong secret key, nor a missing bucket from a missing object; and obstore must not be used
before a server forks its workers.
"""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.backend.failures import Meaning
from rex.attach.links.client import Client, Unreachable
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.links.client import Answer

__all__ = ["Regions", "check_bucket", "element"]


class Regions(NamedTuple):
    """The configured region, and the region of the bucket (empty if unknown)."""

    configured: str
    expected: str

    def __str__(self) -> str:
        return f"{self.configured}: the bucket is in {self.expected or 'a different region'}"


def check_bucket(url: str, *, bucket: str, endpoint: str, region: str, client: Client) -> None:
    """List the bucket with a link, and explain an error response.

    Errors: `CONFIGURATION` with the setting that is wrong; `ABSENT` if the bucket does not exist;
    `DENIED` if a permission is missing; `UNAVAILABLE` if the server does not respond, or has an
    internal error.
    """
    status, headers, body = _send(client, url, endpoint)
    if status == http.client.OK and b"<ListBucketResult" in body:
        return
    code = element(body, "Code")
    message = element(body, "Message")
    expected = headers.get("x-amz-bucket-region") or element(body, "Region")
    if status == http.client.MOVED_PERMANENTLY or (expected and expected != region):
        raise _WRONG_REGION.error(Regions(region, expected))
    if code in _MEANINGS:
        meaning = _MEANINGS[code]
        shown = {"attach_s3_bucket": bucket, "attach_s3_region": region}.get(meaning.setting or "")
        raise meaning.error(shown or f"{endpoint}: {code}: {message}")
    if code == "AccessDenied":
        raise Error(
            "The S3 credentials do not allow listing the bucket (permission s3:ListBucket)",
            f"{bucket}: {message}",
            kind=Kind.DENIED,
        )
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise Error(
            "The S3 server has an error", f"{endpoint}: {status} {code}", kind=Kind.UNAVAILABLE
        )
    raise Error(
        "The server at this address is not an S3 server",
        f"{endpoint}: status {status} {code}".rstrip(),
        kind=Kind.CONFIGURATION,
        code="not-s3",
        setting="attach_s3_endpoint",
    )


_WRONG_REGION = Meaning(
    Kind.CONFIGURATION,
    "The bucket is in a different region",
    code="wrong-region",
    setting="attach_s3_region",
)
_MEANINGS = {
    "NoSuchBucket": Meaning(
        Kind.ABSENT, "The bucket does not exist", code="no-bucket", setting="attach_s3_bucket"
    ),
    "InvalidBucketName": Meaning(
        Kind.CONFIGURATION,
        "The server does not accept the name of the bucket",
        code="wrong-setting",
        setting="attach_s3_bucket",
    ),
    "InvalidAccessKeyId": Meaning(
        Kind.CONFIGURATION,
        "The server does not know the access key",
        code="unknown-access-key",
        setting="attach_s3_access_key",
    ),
    "SignatureDoesNotMatch": Meaning(
        Kind.CONFIGURATION,
        "The secret key is wrong",
        code="wrong-secret-key",
        setting="attach_s3_secret_key",
    ),
    "InvalidToken": Meaning(
        Kind.CONFIGURATION,
        "The session token is wrong",
        code="wrong-session-token",
        setting="attach_s3_session_token",
    ),
    "ExpiredToken": Meaning(
        Kind.CONFIGURATION,
        "The session token has expired",
        code="credentials-expired",
        setting="attach_s3_session_token",
    ),
    "RequestTimeTooSkewed": Meaning(
        Kind.CONFIGURATION,
        "The clocks of this machine and of the S3 server differ too much",
        code="clock-skew",
    ),
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "AuthorizationQueryParametersError": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
}
"""The meanings of the error codes of S3, for the settings."""


def _send(client: Client, url: str, endpoint: str) -> Answer:
    try:
        return client.send("GET", url)
    except Unreachable as failure:
        # A server may be restarting; a wrong certificate needs a change of the configuration.
        hint = "; set attach_s3_ca_file to its authority" * failure.is_certificate
        raise Error(
            "The S3 server cannot be reached",
            f"{endpoint}: {failure}{hint}",
            kind=Kind.CONFIGURATION if failure.is_certificate else Kind.UNAVAILABLE,
            code="server-unreachable",
            setting="attach_s3_endpoint",
        ) from None


def element(body: bytes, name: str) -> str:
    """Return the text of an XML element; S3 errors are flat, and the sender is not trusted."""
    text = body.decode(errors="replace")
    found = re.search(rf"<{name}>([^<]{{0,500}})</{name}>", text)
    return found[1] if found and found[1].isprintable() else ""
