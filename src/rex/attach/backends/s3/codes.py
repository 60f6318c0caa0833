"""The meanings of the error codes of S3, and the folder of resumable uploads."""

from __future__ import annotations

from rex.attach.backend.failures import Meaning
from rex.core import Kind

__all__ = ["CONTROL_CODES", "PLACE", "S3_CODES"]

PLACE = ".drafts"
"""The folder of resumable uploads, after the prefix; the key of an attachment is never in it."""

S3_CODES = {
    "AccessDenied": Meaning(Kind.DENIED, "The server denies access"),
    "NoSuchBucket": Meaning(
        Kind.CONFIGURATION,
        "The bucket does not exist",
        code="no-bucket",
        setting="attach_s3_bucket",
    ),
    "EntityTooLarge": Meaning(Kind.TOO_LARGE, "Attachment is too large for the server"),
    "InvalidAccessKeyId": Meaning(
        Kind.DENIED, "The server does not know the access key", code="unknown-access-key"
    ),
    "SignatureDoesNotMatch": Meaning(
        Kind.DENIED, "The server does not accept the secret key", code="wrong-secret-key"
    ),
    "ExpiredToken": Meaning(
        Kind.DENIED, "The temporary S3 credentials have expired", code="credentials-expired"
    ),
    "RequestTimeTooSkewed": Meaning(
        Kind.DENIED,
        "The clocks of this machine and of the S3 server differ too much",
        code="clock-skew",
    ),
    "NotImplemented": Meaning(Kind.UNSUPPORTED, "The server does not support the operation"),
    "QuotaExceeded": Meaning(Kind.UNAVAILABLE, "The storage is full", code="storage-full"),
    "SlowDown": Meaning(Kind.UNAVAILABLE, "The server gets too many requests", code="slow-down"),
}
"""The meanings of error codes in responses to requests for objects."""

_NOT_UNDERSTOOD = Meaning(Kind.ILL_FORMED, "The server considers the request invalid")
_NO_UPLOAD = Meaning(Kind.NOT_FOUND, "The upload does not exist")

CONTROL_CODES = {
    **S3_CODES,
    "NoSuchUpload": _NO_UPLOAD,
    "NoSuchKey": _NO_UPLOAD,
    "InvalidPart": Meaning(
        Kind.CONFLICT,
        "Parts are missing on the server or have a different ETag",
        code="parts-mismatch",
    ),
    "InvalidPartOrder": Meaning(Kind.ILL_FORMED, "The parts must be in the order of their numbers"),
    "InvalidRequest": _NOT_UNDERSTOOD,
    "InvalidArgument": _NOT_UNDERSTOOD,
    "EntityTooSmall": Meaning(Kind.ILL_FORMED, "Parts except the last must have at least 5 MiB"),
    "PreconditionFailed": Meaning(Kind.EXISTS, "Attachment exists already"),
    "ConditionalRequestConflict": Meaning(
        Kind.CONFLICT, "Another upload is being completed", code="claimed"
    ),
    "Claimed": Meaning(Kind.UNAVAILABLE, "Another upload is being completed", code="claimed"),
    "Incomplete": Meaning(Kind.CORRUPT, "The server did not store all bytes of the attachment"),
    "MethodNotAllowed": S3_CODES["NotImplemented"],
}
"""The meanings of error codes in responses about multipart uploads and the bucket."""
