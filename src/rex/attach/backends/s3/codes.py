"""What all that speaks S3 here shares: the meaning of its codes, and the folder of uploads."""

from __future__ import annotations

from rex.attach.backend.failures import Meaning
from rex.core import Kind

__all__ = ["CONTROL_CODES", "PLACE", "S3_CODES", "UNKNOWN"]

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
"""What S3's codes mean in answers about objects."""

UNKNOWN = Meaning(Kind.UNAVAILABLE, "The server does not answer as it should")
_NOT_UNDERSTOOD = Meaning(Kind.ILL_FORMED, "The server does not understand the request")
_NO_UPLOAD = Meaning(Kind.NOT_FOUND, "There is no such upload")

CONTROL_CODES = {
    **S3_CODES,
    "NoSuchUpload": _NO_UPLOAD,
    "NoSuchKey": _NO_UPLOAD,
    "InvalidPart": Meaning(
        Kind.CONFLICT,
        "The parts on the server are not those that were named",
        code="parts-mismatch",
    ),
    "InvalidPartOrder": Meaning(Kind.ILL_FORMED, "The parts are not in the order of their numbers"),
    "InvalidRequest": _NOT_UNDERSTOOD,
    "InvalidArgument": _NOT_UNDERSTOOD,
    "EntityTooSmall": Meaning(Kind.ILL_FORMED, "A part but the last is smaller than 5 MiB"),
    "PreconditionFailed": Meaning(Kind.EXISTS, "Attachment exists already"),
    "ConditionalRequestConflict": Meaning(
        Kind.CONFLICT, "Another upload is being completed", code="claimed"
    ),
    "Claimed": Meaning(Kind.UNAVAILABLE, "Another upload is being completed", code="claimed"),
    "Incomplete": Meaning(Kind.CORRUPT, "The server did not store all of the attachment"),
    "MethodNotAllowed": S3_CODES["NotImplemented"],
}
"""What they mean in answers about uploads in parts and about the bucket."""
