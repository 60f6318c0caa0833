"""Reasons for which Azure refuses a link with a shared access signature (SAS)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from rex.attach.links.reason import Reason, certain, cite, likely
from rex.attach.links.sas import FIELDS, string_to_sign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.explain.response import Answer
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["is_sas_expired", "sas_form_reasons", "sas_refusal_reasons"]

SIGNATURE_BYTES = 32
UNCHANGED = "Use the complete, unchanged link."
NEW_LINK = "Make a new link."
COPY_AGAIN = "Copy the complete link again from its source, and quote it in a shell."
BLOB_TYPE = "x-ms-blob-type"

_BY_CODE = {
    "BlobNotFound": (
        "not-found",
        "Check whether the attachment was uploaded or removed: rex attach stat.",
    ),
    "ContainerNotFound": ("no-container", "Correct attach_azure_container, and make a new link."),
    "UnauthorizedBlobOverwrite": (
        "exists",
        "Reserve another handle, and make a link for that handle.",
    ),
    "BlobAlreadyExists": ("exists", "Reserve another handle, and make a link for that handle."),
    "AuthorizationProtocolMismatch": ("https-only", "Use https://, as in the link."),
    "AuthorizationSourceIPMismatch": (
        "other-client",
        "Use the link from an address that it allows, or make a link without the parameter sip.",
    ),
    "KeyBasedAuthenticationNotPermitted": (
        "keys-disabled",
        "Remove attach_azure_key, so that the Azure chain signs links with a user delegation key.",
    ),
    "RequestBodyTooLarge": ("too-large", "Upload the file in parts: storage.uploads, or tus."),
    "Md5Mismatch": (
        "digest-mismatch",
        "Send the file unchanged, or omit the header with its digest.",
    ),
    "UnsupportedHttpVerb": ("method-not-allowed", "Use the method of the link."),
    "MissingContentLengthHeader": ("size-missing", "Send Content-Length, not a chunked body."),
    "NoAuthenticationInformation": ("unsigned", COPY_AGAIN),
    "PublicAccessNotPermitted": ("unsigned", COPY_AGAIN),
    "ResourceNotFound": ("unsigned", COPY_AGAIN),
    "InvalidQueryParameterValue": ("signature-changed", UNCHANGED),
}
_REFUSED = ("AuthenticationFailed", "AuthorizationFailure")
_PERMISSIONS = ("AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch")
_HEADERS = ("MissingRequiredHeader", "InvalidHeaderValue")
_TOO_EARLY_OR_LATE = re.compile(r"not valid in the specified time frame|expired", re.IGNORECASE)
_SIGNED_TEXT = re.compile(r"String to sign used was (.*)", re.DOTALL)


def is_sas_expired(answer: Answer) -> bool:
    """Check whether Azure says that the time is not between start and expiry of the link."""
    detail = answer.lines("AuthenticationErrorDetail")
    return bool(_TOO_EARLY_OR_LATE.search(detail)) and answer.code in _REFUSED


def sas_form_reasons(link: SignedLink) -> Iterator[Reason]:
    """Check the form that every link with a SAS must have."""
    if link.missing:
        yield certain(
            "incomplete",
            f"found no {', '.join(link.missing)}",
            f"A shell cuts an unquoted link at &. {COPY_AGAIN}",
            missing="parameters",
        )
    if link.repeated:
        yield certain("parameter-repeated", cite(", ".join(link.repeated), 100), COPY_AGAIN)
    if link["se"] and link.ends_at is None:
        yield certain("signature-changed", "the parameter se is not a time", COPY_AGAIN)
    if link["sig"]:
        yield from _signature_reasons(link["sig"])
    expected = link.likely_method
    if link.asked and expected and link.asked != expected:
        yield certain(
            "wrong-method",
            f"the permissions of the link are {cite(link['sp'], 20)}",
            f"Use {expected}, or make a link for the other method.",
            cite(link.asked, 20),
            expected=expected,
        )
    if link.sent is not None and expected == "PUT" and BLOB_TYPE not in link.sent:
        yield certain(
            "header-missing",
            "Azure needs it for every upload in one request",
            "Send all headers of the link.",
            BLOB_TYPE,
        )


def _signature_reasons(signature: str) -> Iterator[Reason]:
    if re.search("%[0-9A-Fa-f]{2}", signature):
        evidence = "the signature has %25 instead of %"
        yield certain("encoded-twice", evidence, "Use the link unchanged; do not encode it again.")
    elif " " in signature:
        evidence = "the signature has a space instead of +"
        yield certain("decoded", evidence, "Use the link unchanged; do not decode it.")
    elif _size(signature) != SIGNATURE_BYTES:
        length = len(base64.b64encode(bytes(SIGNATURE_BYTES)))
        evidence = f"the signature has {len(signature)} of {length} characters"
        is_short = len(signature) < length
        yield certain("cut-off" if is_short else "end-changed", evidence, COPY_AGAIN)


def _size(signature: str) -> int:
    try:
        return len(base64.b64decode(signature, validate=True))
    except (binascii.Error, ValueError):
        return 0


def sas_refusal_reasons(
    link: SignedLink, answer: Answer, compared: Comparison | None
) -> Iterator[Reason]:
    """Yield the reasons of an error response of Azure."""
    code = answer.code or answer.headers.get("x-ms-error-code", "")
    said = f"the server answered {cite(code or str(answer.status or ''), 60)}"
    said += f": {cite(answer.message)}" if answer.message else ""
    if code in _BY_CODE:
        reason, change = _BY_CODE[code]
        yield certain(reason, said, change)
    elif code in _HEADERS:
        name = answer.element("HeaderName") or BLOB_TYPE
        sort = "header-missing" if code == "MissingRequiredHeader" else "header-changed"
        yield certain(sort, said, "Send all headers of the link, unchanged.", cite(name, 60))
    elif code in _PERMISSIONS and link["sp"] == "c" and link.asked in (None, "PUT"):
        yield likely(
            "exists",
            f"{said}; the link may create the attachment, but not replace it",
            _BY_CODE["BlobAlreadyExists"][1],
        )
    elif code in _PERMISSIONS:
        yield certain(
            "no-permission",
            f"{said}; the permissions of the link are {cite(link['sp'], 20)}",
            f"Use {link.likely_method or 'the method of the link'}, or make another link; a user "
            "delegation key allows no more than its own user may do.",
        )
    elif code in _REFUSED and not is_sas_expired(answer):
        yield from _mismatch_reasons(link, answer, compared, said)
    elif (answer.status or 0) >= 500:  # noqa: PLR2004 - RFC 9110, section 15.6
        yield certain("server-problem", said, "Try again later.")
    elif answer.status == 404:  # noqa: PLR2004 - RFC 9110, section 15.5.5
        yield certain("not-found", said, _BY_CODE["BlobNotFound"][1])


def _mismatch_reasons(
    link: SignedLink, answer: Answer, compared: Comparison | None, said: str
) -> Iterator[Reason]:
    """Compare the text that the server signed, which Azure includes, with that of the link."""
    signed = _SIGNED_TEXT.search(answer.lines("AuthenticationErrorDetail"))
    if signed is None:
        if compared is None or not (compared.is_changed or compared.reasons):
            yield likely(
                "signature-mismatch",
                said,
                "Use the link unchanged, and check attach_azure_key. For a more certain reason, "
                "run this command with the settings of the storage.",
            )
        return
    theirs = signed[1].strip("\n").split("\n")
    place = theirs[3] if len(theirs) > 3 else ""  # noqa: PLR2004 - the line of the blob
    ours = string_to_sign(place, {name: link[name] for name in FIELDS}).split("\n")
    if ours == theirs:
        yield likely(
            "wrong-account-key",
            "the server received exactly the parameters of the link",
            "Compare attach_azure_key with the keys of the account, and make a new link.",
        )
    else:
        yield certain(
            "parameter-rewritten",
            "the link and the server's request differ",
            UNCHANGED,
            "of the signature",
        )
