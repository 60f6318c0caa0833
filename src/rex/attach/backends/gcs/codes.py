"""The meanings of the error codes of Google Cloud Storage, and the names of our own objects."""

from __future__ import annotations

from rex.attach.backend.failures import Meaning
from rex.core import Kind

__all__ = ["GCS_CODES", "PLACE"]

PLACE = ".drafts"
"""The folder of resumable uploads, after the prefix; the key of an attachment is never in it."""


_EXISTS = Meaning(Kind.EXISTS, "Attachment exists already")
_GONE = Meaning(Kind.NOT_FOUND, "Attachment does not exist")
_PERMISSION = Meaning(Kind.DENIED, "The credentials do not allow the request", code="no-permission")
_CREDENTIALS = Meaning(
    Kind.DENIED, "The server does not accept the credentials", code="wrong-token"
)
_BUSY = Meaning(Kind.UNAVAILABLE, "The server gets too many requests", code="slow-down")
_NO_BUCKET = Meaning(
    Kind.CONFIGURATION,
    "The bucket does not exist",
    code="no-bucket",
    setting="attach_gcs_bucket",
)
_DISABLED = Meaning(
    Kind.DENIED, "The project of the bucket is disabled, or its billing", code="account-disabled"
)

GCS_CODES = {
    # Codes of the XML interface, which obstore uses.
    "AccessDenied": _PERMISSION,
    "AuthenticationRequired": _CREDENTIALS,
    "InvalidSecurity": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _GONE,
    "PreconditionFailed": _EXISTS,
    "UserProjectAccountProblem": _DISABLED,
    "AccountProblem": _DISABLED,
    "ObjectUnderActiveHold": Meaning(
        Kind.DENIED, "A hold or the retention policy of the bucket forbids the request"
    ),
    "EntityTooLarge": Meaning(Kind.TOO_LARGE, "Attachment is too large for the server"),
    "BadDigest": Meaning(Kind.UNAVAILABLE, "The data was damaged in transit"),
    "SlowDown": _BUSY,
    # Reasons of the JSON interface, which our own client uses.
    "forbidden": _PERMISSION,
    "insufficientPermissions": _PERMISSION,
    "authError": _CREDENTIALS,
    "required": _CREDENTIALS,
    "accountDisabled": _DISABLED,
    "billingNotEnabled": _DISABLED,
    "retentionPolicyNotMet": Meaning(
        Kind.DENIED, "The retention policy of the bucket forbids the request"
    ),
    "conditionNotMet": _EXISTS,
    "rateLimitExceeded": _BUSY,
    "userRateLimitExceeded": _BUSY,
    "uploadTooLarge": Meaning(Kind.TOO_LARGE, "Attachment is too large for the server"),
    "SessionOver": Meaning(Kind.NOT_FOUND, "The upload is over"),
}
"""The meanings of error codes in responses of the server."""
