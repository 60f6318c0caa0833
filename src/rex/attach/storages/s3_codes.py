"""What all that speaks S3 here shares: the meaning of its codes, and the folder of uploads."""

from __future__ import annotations

from rex.attach.failures import Meaning
from rex.core import Kind

__all__ = ["PLACE", "S3_CODES"]

PLACE = ".drafts"
"""The folder of the drafts, behind the storage's prefix; no attachment's key is in it."""

S3_CODES = {
    "AccessDenied": Meaning(Kind.DENIED, "The server does not permit this"),
    "NoSuchBucket": Meaning(
        Kind.CONFIGURATION,
        "There is no such bucket",
        code="no-bucket",
        setting="attach_s3_bucket",
    ),
    "EntityTooLarge": Meaning(Kind.TOO_LARGE, "Attachment is too large for the server"),
    "InvalidAccessKeyId": Meaning(
        Kind.DENIED, "The server does not know our access key", code="unknown-access-key"
    ),
    "SignatureDoesNotMatch": Meaning(
        Kind.DENIED, "The server does not accept our secret key", code="wrong-secret-key"
    ),
    "ExpiredToken": Meaning(
        Kind.DENIED, "Our temporary keys have expired", code="credentials-expired"
    ),
    "RequestTimeTooSkewed": Meaning(
        Kind.DENIED, "Our clock and the server's differ too much", code="clock-skew"
    ),
    "NotImplemented": Meaning(Kind.UNSUPPORTED, "The server cannot do this"),
    "QuotaExceeded": Meaning(Kind.UNAVAILABLE, "The server is full", code="storage-full"),
    "SlowDown": Meaning(Kind.UNAVAILABLE, "The server asks us to slow down", code="slow-down"),
}
