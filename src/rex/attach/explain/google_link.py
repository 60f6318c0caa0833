"""Reasons for which Google Cloud Storage refuses a link with a V4 signature.

Its error codes are those of S3, for the most part; here is what differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.explain.error_responses import NEW_LINK, is_expired, refusal_reasons
from rex.attach.links.reason import Reason, certain, cite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.explain.response import Answer
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["google_refusal_reasons"]

SEND_HEADERS = "Send exactly the headers of the link, and no other header that begins with x-goog-."
_KEY = (
    "Compare attach_gcs_key with the keys of the service account (gcloud iam service-accounts keys "
    "list), and make a new link."
)
_BY_CODE = {
    "NoSuchBucket": ("no-bucket", "Correct attach_gcs_bucket, and make a new link."),
    "InvalidBucketName": ("wrong-bucket-name", "Correct attach_gcs_bucket."),
    "ExpiredToken": ("link-expired", NEW_LINK),
    "MalformedSecurityHeader": ("header-missing", SEND_HEADERS),
    "AccessDenied": (
        "no-permission",
        "Grant the service account of the link the role Storage Object User on the bucket.",
    ),
    "UserProjectAccountProblem": ("server-problem", "Check the project and its billing."),
}
_SPECIFIC = ("Policy Condition failed", "Extra input fields", "not signed", "Policy expired")
"""Messages that say more than the code AccessDenied."""


def google_refusal_reasons(
    link: SignedLink, answer: Answer, compared: Comparison | None
) -> Iterator[Reason]:
    """Yield the reasons of an error response, given the comparison with the settings."""
    said = f"the server answered {cite(answer.code, 60)}"
    details = answer.element("Details") or answer.message
    said += f": {cite(details)}" if details else ""
    is_specific = any(text in answer.message for text in _SPECIFIC) or is_expired(answer)
    if answer.code == "MalformedSecurityHeader":
        name = answer.element("ParameterName") or "a signed header"
        yield certain("header-missing", said, SEND_HEADERS, cite(name.lower(), 60))
    elif answer.code in _BY_CODE and not (answer.code == "AccessDenied" and is_specific):
        code, change = _BY_CODE[answer.code]
        yield certain(code, said, change)
    else:
        for reason in refusal_reasons(link, answer, compared):
            yield _of_google(reason)


def _of_google(reason: Reason) -> Reason:
    """Return the reason with the remedy for a link of Google."""
    change = reason.change.replace("x-amz-", "x-goog-")
    if "attach_s3_secret_key" in change:
        change = _KEY
    change = change.replace("attach_s3_public_endpoint", "attach_gcs_endpoint")
    return Reason(
        reason.certainty, reason.code, reason.reason, reason.evidence, change, reason.subject
    )
