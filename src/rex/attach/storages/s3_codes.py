"""What all that speaks S3 here shares: the meaning of its codes, and the folder of uploads."""

from __future__ import annotations

from rex.core import Kind

__all__ = ["PLACE", "S3_CODES"]

PLACE = ".drafts"
"""The folder of the drafts, behind the storage's prefix; no attachment's key is in it."""

S3_CODES = {
    "AccessDenied": (Kind.DENIED, "The server does not permit this"),
    "NoSuchBucket": (Kind.CONFIGURATION, "There is no such bucket (setting attach_s3_bucket)"),
    "EntityTooLarge": (Kind.TOO_LARGE, "Attachment is too large for the server"),
    "InvalidAccessKeyId": (Kind.DENIED, "The server does not know our access key"),
    "SignatureDoesNotMatch": (Kind.DENIED, "The server does not accept our secret key"),
    "ExpiredToken": (Kind.DENIED, "Our temporary keys have expired"),
    "RequestTimeTooSkewed": (Kind.DENIED, "Our clock and the server's differ too much"),
    "NotImplemented": (Kind.UNSUPPORTED, "The server cannot do this"),
    "QuotaExceeded": (Kind.UNAVAILABLE, "The server is full"),
    "SlowDown": (Kind.UNAVAILABLE, "The server asks us to slow down"),
}
