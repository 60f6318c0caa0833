"""The start-up check of a bucket: which setting is wrong, from S3's own words.

It asks with plain HTTP and a link that we signed. obstore cannot tell a wrong key from a wrong
secret, nor a missing bucket from a missing object; and it must not be touched before a server
forks its workers.
"""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, NoReturn

from rex.attach.client import Client, Unreachable
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.client import Answer

__all__ = ["check_bucket", "element", "trusting"]

MOST = 65536
"""The bytes of an answer that are looked at."""


def check_bucket(
    url: str, *, bucket: str, endpoint: str, region: str, ca_file: str | None, timeout: float
) -> None:
    """Ask for a listing of the bucket with a link, and explain what is wrong with the answer.

    Errors: `CONFIGURATION`, which names the setting; `ABSENT` without a bucket; `DENIED` when a
    permission is missing; `UNAVAILABLE` when the server does not answer, or answers that it has a
    problem of its own.
    """
    status, headers, body = _ask(url, endpoint, ca_file, timeout)
    if status == http.client.OK and b"<ListBucketResult" in body:
        return
    code = element(body, "Code")
    message = element(body, "Message")
    expected = headers.get("x-amz-bucket-region") or element(body, "Region")
    if status == http.client.MOVED_PERMANENTLY or (expected and expected != region):
        where = f"the bucket is in {expected}" if expected else "the bucket is in another region"
        _fail(
            "The region of the bucket is another (setting attach_s3_region)", f"{region}: {where}"
        )
    if code in _WRONG_SETTING:
        setting, phrase = _WRONG_SETTING[code]
        shown = {"attach_s3_bucket": bucket, "attach_s3_region": region}.get(setting)
        kind = Kind.ABSENT if code == "NoSuchBucket" else Kind.CONFIGURATION
        _fail(f"{phrase} (setting {setting})", shown or f"{endpoint}: {code}: {message}", kind)
    if code == "RequestTimeTooSkewed":
        _fail("The clock of this machine is wrong", f"{endpoint}: {message}")
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
    _fail(
        "The answer is not that of an S3 server (setting attach_s3_endpoint)",
        f"{endpoint}: status {status} {code}".rstrip(),
    )


_WRONG_SETTING = {
    "NoSuchBucket": ("attach_s3_bucket", "The bucket does not exist"),
    "InvalidBucketName": ("attach_s3_bucket", "This cannot be the name of a bucket"),
    "InvalidAccessKeyId": ("attach_s3_access_key", "The server does not know the access key"),
    "SignatureDoesNotMatch": ("attach_s3_secret_key", "The secret key is wrong"),
    "InvalidToken": ("attach_s3_session_token", "The session token is wrong"),
    "ExpiredToken": ("attach_s3_session_token", "The session token has expired"),
    "AuthorizationHeaderMalformed": ("attach_s3_region", "The region of the bucket is another"),
    "AuthorizationQueryParametersError": (
        "attach_s3_region",
        "The region of the bucket is another",
    ),
    "IllegalLocationConstraintException": (
        "attach_s3_region",
        "The region of the bucket is another",
    ),
}


def _ask(url: str, endpoint: str, ca_file: str | None, timeout: float) -> Answer:
    context = None if ca_file is None else trusting(ca_file)
    try:
        return Client(context=context, timeout=timeout, most=MOST).send("GET", url)
    except Unreachable as failure:
        # A server that restarts is away for a moment; a certificate does not mend itself.
        hint = "; give its authority with attach_s3_ca_file" * failure.is_certificate
        raise Error(
            "The S3 server cannot be reached (setting attach_s3_endpoint)",
            f"{endpoint}: {failure}{hint}",
            kind=Kind.CONFIGURATION if failure.is_certificate else Kind.UNAVAILABLE,
        ) from None


def trusting(ca_file: str) -> ssl.SSLContext:
    """Trust the certificates of a PEM file besides the system's. Errors: `CONFIGURATION`."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as failure:
        _fail(
            "The file of certificates cannot be used (setting attach_s3_ca_file)",
            f"{ca_file}: {failure.strerror}",
        )
    return context


def _fail(message: str, payload: str, kind: Kind = Kind.CONFIGURATION) -> NoReturn:
    raise Error(message, payload, kind=kind) from None


def element(body: bytes, name: str) -> str:
    """Find the text of an element; S3's errors are flat, and whoever sent this may be anyone."""
    text = body.decode(errors="replace")
    found = re.search(rf"<{name}>([^<]{{0,500}})</{name}>", text)
    return found[1] if found and found[1].isprintable() else ""
