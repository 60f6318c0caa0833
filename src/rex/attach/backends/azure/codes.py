"""The meanings of the error codes of Azure Blob Storage, and the names of our own blobs."""

from __future__ import annotations

from rex.attach.backend.failures import Meaning
from rex.core import Kind

__all__ = ["AZURE_CODES", "DISCARDED", "PLACE"]

PLACE = ".drafts"
"""The folder of resumable uploads, after the prefix; the key of an attachment is never in it."""
DISCARDED = "discarded"
"""The metadata of the empty blob that replaces uncommitted blocks before they are gone."""


_EXISTS = Meaning(Kind.EXISTS, "Attachment exists already")
_PERMISSION = Meaning(Kind.DENIED, "The credentials do not allow the request", code="no-permission")
_BUSY = Meaning(Kind.UNAVAILABLE, "The server gets too many requests", code="slow-down")

AZURE_CODES = {
    "AuthenticationFailed": Meaning(
        Kind.DENIED, "The server does not accept the account key", code="wrong-account-key"
    ),
    "AuthorizationFailure": _PERMISSION,
    "AuthorizationPermissionMismatch": _PERMISSION,
    "AuthorizationResourceTypeMismatch": _PERMISSION,
    "InsufficientAccountPermissions": _PERMISSION,
    "KeyBasedAuthenticationNotPermitted": Meaning(
        Kind.DENIED, "The account does not allow account keys", code="keys-disabled"
    ),
    "ContainerNotFound": Meaning(
        Kind.CONFIGURATION,
        "The container does not exist",
        code="no-container",
        setting="attach_azure_container",
    ),
    "ContainerBeingDeleted": Meaning(
        Kind.CONFIGURATION,
        "The container is being deleted",
        code="no-container",
        setting="attach_azure_container",
    ),
    "AccountIsDisabled": Meaning(Kind.DENIED, "The account is disabled"),
    "BlobAlreadyExists": _EXISTS,
    "ConditionNotMet": _EXISTS,
    "UnauthorizedBlobOverwrite": _EXISTS,
    "BlobNotFound": Meaning(Kind.NOT_FOUND, "Attachment does not exist"),
    "ResourceNotFound": Meaning(Kind.NOT_FOUND, "Attachment does not exist"),
    "BlobImmutableDueToPolicy": Meaning(
        Kind.DENIED, "An immutability policy of the container forbids the request"
    ),
    "BlobArchived": Meaning(Kind.UNSUPPORTED, "The attachment is in the archive tier"),
    "RequestBodyTooLarge": Meaning(Kind.TOO_LARGE, "Attachment is too large for the server"),
    "BlockCountExceedsLimit": Meaning(Kind.TOO_LARGE, "Attachment has too many blocks"),
    "InvalidBlockList": Meaning(
        Kind.CONFLICT, "Parts are missing on the server", code="parts-mismatch"
    ),
    "Md5Mismatch": Meaning(Kind.UNAVAILABLE, "The data was damaged in transit"),
    "ServerBusy": _BUSY,
    "OperationTimedOut": _BUSY,
    "UnsupportedHeader": Meaning(Kind.UNSUPPORTED, "The server does not support the operation"),
    "APINotImplemented": Meaning(Kind.UNSUPPORTED, "The server does not support the operation"),
}
"""The meanings of error codes in responses of the server."""
