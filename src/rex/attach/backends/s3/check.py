"""The start-up check of a bucket: which setting is wrong, from S3's own words.

It asks with plain HTTP and a link that we signed. obstore cannot tell a wrong key from a wrong
secret, nor a missing bucket from a missing object; and it must not be touched before a server
forks its workers.
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

"""The bytes of an answer that are looked at."""


class Regions(NamedTuple):
    """The region that is configured, and the region of the bucket; empty if unknown."""

    configured: str
    expected: str

    def __str__(self) -> str:
        return f"{self.configured}: the bucket is in {self.expected or 'another region'}"


def check_bucket(url: str, *, bucket: str, endpoint: str, region: str, client: Client) -> None:
    """Ask for a listing of the bucket with a link, and explain what is wrong with the answer.

    Errors: `CONFIGURATION`, which names the setting; `ABSENT` without a bucket; `DENIED` when a
    permission is missing; `UNAVAILABLE` when the server does not answer, or answers that it has a
    problem of its own.
    """
    status, headers, body = _ask(client, url, endpoint)
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
            "The S3 keys do not permit to list the bucket (permission s3:ListBucket)",
            f"{bucket}: {message}",
            kind=Kind.DENIED,
        )
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise Error(
            "The S3 server has a problem", f"{endpoint}: {status} {code}", kind=Kind.UNAVAILABLE
        )
    raise Error(
        "The answer is not that of an S3 server",
        f"{endpoint}: status {status} {code}".rstrip(),
        kind=Kind.CONFIGURATION,
        code="not-s3",
        setting="attach_s3_endpoint",
    )


_WRONG_REGION = Meaning(
    Kind.CONFIGURATION,
    "The region of the bucket is another",
    code="wrong-region",
    setting="attach_s3_region",
)
_MEANINGS = {
    "NoSuchBucket": Meaning(
        Kind.ABSENT, "The bucket does not exist", code="no-bucket", setting="attach_s3_bucket"
    ),
    "InvalidBucketName": Meaning(
        Kind.CONFIGURATION,
        "This cannot be the name of a bucket",
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
        Kind.CONFIGURATION, "The clock of this machine is wrong", code="clock-skew"
    ),
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "AuthorizationQueryParametersError": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
}
"""What S3's codes mean for the settings."""


def _ask(client: Client, url: str, endpoint: str) -> Answer:
    try:
        return client.send("GET", url)
    except Unreachable as failure:
        # A server that restarts is away for a moment; a certificate does not mend itself.
        hint = "; give its authority with attach_s3_ca_file" * failure.is_certificate
        raise Error(
            "The S3 server cannot be reached",
            f"{endpoint}: {failure}{hint}",
            kind=Kind.CONFIGURATION if failure.is_certificate else Kind.UNAVAILABLE,
            code="server-unreachable",
            setting="attach_s3_endpoint",
        ) from None


def element(body: bytes, name: str) -> str:
    """Find the text of an element; S3's errors are flat, and whoever sent this may be anyone."""
    text = body.decode(errors="replace")
    found = re.search(rf"<{name}>([^<]{{0,500}})</{name}>", text)
    return found[1] if found and found[1].isprintable() else ""
