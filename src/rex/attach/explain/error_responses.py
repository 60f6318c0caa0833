"""Meaning of error responses of S3 and of the service for a link."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

from rex.attach.explain.policy import UNCHANGED
from rex.attach.links.reason import Reason, certain, cite, likely, possible
from rex.attach.links.signed_link import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.explain.response import Answer
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["NEW_LINK", "TEMPORARY_LINK", "is_clock", "is_expired", "refusal_reasons"]

NEW_LINK = "Make a new link."
HEADERS = "Send exactly the headers of the link, and no other header that begins with x-amz-."
KEEP_HOST = (
    "Configure the proxy to keep the Host header, or set attach_s3_public_endpoint to the host "
    "that the server receives."
)
UNCHANGED_LINK = "Use the link unchanged."
TEMPORARY_LINK = (
    "Use the link unchanged, and set attach_s3_session_token together with its access key."
)

_BY_CODE = {
    "NoSuchBucket": ("no-bucket", "Correct attach_s3_bucket, and make a new link."),
    "InvalidBucketName": ("wrong-bucket-name", "Correct attach_s3_bucket."),
    "NoSuchKey": (
        "not-found",
        "Check whether the attachment was uploaded or removed: rex attach stat.",
    ),
    "NoSuchUpload": ("upload-over", "Begin a new upload."),
    "PreconditionFailed": ("exists", "Reserve another handle, and make a link for that handle."),
    "ConditionalRequestConflict": ("claimed", "Try again; reserve a handle for each upload."),
    "EntityTooLarge": (
        "too-large",
        "Make a link with a larger maximum size (max_size, attach_max_size).",
    ),
    "EntityTooSmall": ("too-small", "Send parts of at least 5 MiB."),
    "ExpiredToken": (
        "credentials-expired",
        "Make a new link. Links expire with their credentials; use credentials that last longer.",
    ),
    "TokenRefreshRequired": ("credentials-stale", NEW_LINK),
    "InvalidToken": ("wrong-session-token", TEMPORARY_LINK),
    "BadDigest": (
        "digest-mismatch",
        "Send the file unchanged, or omit the header with its digest.",
    ),
    "MissingContentLength": ("size-missing", "Send Content-Length, not a chunked body."),
    "MethodNotAllowed": ("method-not-allowed", "Use the method of the link."),
    "InvalidPolicyDocument": ("unreadable-policy", UNCHANGED),
    "MissingFields": ("signature-incomplete", "Use the complete, unchanged link."),
}
_BY_STATUS = {
    404: "NoSuchKey",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    405: "MethodNotAllowed",
    411: "MissingContentLength",
}
_BY_MESSAGE = (
    (r"There were headers present .* not signed", "header-added", HEADERS),
    (r"Extra input fields", "field-added", UNCHANGED),
    (
        r"Policy Condition failed|Invalid according to Policy(?!: Policy expired)",
        "policy-failed",
        UNCHANGED,
    ),
    (
        r"Only one auth mechanism",
        "authorization-sent",
        "Do not send an Authorization header: the link is the authorization.",
    ),
)
"""Pattern of a message, code of the reason, remedy; for S3 errors whose code says less."""
_BY_TYPE = {
    "bad-signature": ("bad-signature", NEW_LINK),
    "address-changed": ("address-changed", UNCHANGED_LINK),
    "header-changed": ("header-unlike", HEADERS),
    "form-changed": ("form-changed", UNCHANGED),
    "no-links": ("no-links", "Set attach_url to the URL at which clients reach the service."),
    "exists": _BY_CODE["PreconditionFailed"],
}
"""Reasons by type of the service's problem document (docs/reference/errors.md)."""
_EXPIRED = re.compile(r"Request has expired|Policy expired")
_EARLY = re.compile(r"not yet valid|not valid yet|RequestNotReadyYet", re.IGNORECASE)
_REGION_CODES = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "IllegalLocationConstraintException",
}


def is_expired(answer: Answer) -> bool:
    """Check whether the server says that the link has expired."""
    return answer.type == "link-expired" or bool(_EXPIRED.search(answer.message))


def is_clock(answer: Answer) -> bool:
    """Check whether the server says that the clocks differ too much."""
    return answer.code == "RequestTimeTooSkewed" or bool(_EARLY.search(answer.message))


def refusal_reasons(
    link: SignedLink, answer: Answer, compared: Comparison | None
) -> Iterator[Reason]:
    """Yield the reasons of an error response, given the comparison with the settings."""
    said = f"the server answered {cite(answer.code or str(answer.status or ''), 60)}"
    said += f": {cite(answer.message)}" if answer.message else ""
    code = answer.code or _BY_STATUS.get(answer.status or 0, "")
    found = [*_region_reasons(link, answer)]
    if code in _BY_CODE:
        found.append(certain(_BY_CODE[code][0], said, _BY_CODE[code][1]))
    if answer.type in _BY_TYPE:
        meant, change = _BY_TYPE[answer.type]
        found.append(certain(meant, said, change))
    for pattern, meant, change in _BY_MESSAGE:
        if re.search(pattern, answer.message):
            what = answer.element("HeadersNotSigned")
            evidence = f"{said} ({cite(what, 100)})" if what else said
            found.append(certain(meant, evidence, change))
            break
    if code == "SignatureDoesNotMatch":
        found += [*_compare(link, answer)]
        if not found and not (compared and compared.is_changed):
            yield from _possibilities(link, compared.method if compared else None)
            return
    elif code == "InvalidAccessKeyId":
        found.append(_unknown_key(link, said))
    elif code in _REGION_CODES and not found:
        found.append(_redirect_reason(code, answer, said))
    yield from found
    if not found and not is_expired(answer) and not is_clock(answer):
        yield from _unknown_reason(link, answer, said)


def _unknown_reason(link: SignedLink, answer: Answer, said: str) -> Iterator[Reason]:
    if answer.code == "AccessDenied" and link.is_signed:
        yield likely(
            "no-permission",
            said,
            "Allow s3:GetObject for downloads, s3:PutObject for uploads, and s3:ListBucket, "
            "without which S3 does not distinguish a missing object from a forbidden one.",
        )
    elif (answer.status or 0) >= 500:  # noqa: PLR2004 - RFC 9110, section 15.6
        yield certain("server-problem", said, "Try again later.")


def _region_reasons(link: SignedLink, answer: Answer) -> Iterator[Reason]:
    named = answer.headers.get("x-amz-bucket-region") or answer.element("Region")
    expecting = re.search(r"expecting '([a-z0-9-]{1,40})'", answer.message)
    expected = named or (expecting[1] if expecting else "")
    if expected and link.region and expected != link.region:
        yield certain(
            "wrong-region",
            f"link: {cite(link.region, 40)}; response: {cite(expected, 40)}",
            "Correct attach_s3_region, and make a new link.",
        )


def _redirect_reason(code: str, answer: Answer, said: str) -> Reason:
    if code.endswith("Redirect"):
        return certain(
            "other-address",
            f"{said}; the bucket is at {cite(answer.element('Endpoint') or 'another region', 100)}",
            "Correct attach_s3_endpoint and attach_s3_region, and make a new link.",
        )
    return certain("signature-changed", said, UNCHANGED_LINK)


def _unknown_key(link: SignedLink, said: str) -> Reason:
    shown = part_of(link.access_key)
    if link["x-amz-security-token"]:
        return certain(
            "unknown-temporary-key",
            f"{said}; the access key is {shown}, with a session token",
            "Make a new link: the credentials may have expired, or belong to another server.",
        )
    if link.access_key.startswith("ASIA"):
        return certain(
            "no-session-token",
            f"{said}; the access key {shown} is temporary",
            TEMPORARY_LINK,
        )
    return certain(
        "unknown-access-key",
        f"{said}; the access key is {shown}",
        "Correct attach_s3_access_key, or check whether the link leads to another server.",
    )


def _possibilities(link: SignedLink, method: str | None) -> list[Reason]:
    """Return the possible reasons for a bare SignatureDoesNotMatch."""
    said = "the server answered SignatureDoesNotMatch"
    if link.fields:
        return [possible("policy-or-key", said, UNCHANGED)]
    # If the signature is right, the request must differ.
    make = possible if method is None else likely
    known = said if method is None else f"{said}, but the signature of the link is right"
    reasons = []
    others = [name for name in link.signed_headers if name != "host"]
    if others and link.sent is None:
        reasons.append(
            likely(
                "header-unlike",
                f"{known}; the signed headers are {cite(', '.join(others), 100)}",
                f"{HEADERS} For a more certain reason, give the sent headers with --header.",
            )
        )
    signed_for = method or link.likely_method
    if link.asked is None:
        reasons.append(
            make(
                "other-method",
                known,
                f"Use {signed_for or 'the signed method'}. For a more certain reason, give the "
                "client's method with --method.",
                expected=signed_for or "the signed one",
            )
        )
    reasons.append(
        make(
            "host-changed",
            f"{known}; the signed host of the link is {cite(link.host)}",
            KEEP_HOST,
        )
    )
    if method is None:
        reasons.append(
            possible(
                "path-or-key",
                known,
                "Use the link unchanged, and check attach_s3_secret_key. For a more certain "
                "reason, run this command with the settings of the storage.",
            )
        )
    return reasons


def _compare(link: SignedLink, answer: Answer) -> Iterator[Reason]:
    """Compare the link with the request that the server received, which AWS includes."""
    lines = answer.lines("CanonicalRequest").split("\n")
    if len(lines) <= 5:  # noqa: PLR2004 - method, path, query, a header, an empty line, their names
        yield from _scope_compared(link, answer)
        return
    method, path, query, *rest = lines
    headers = dict(_header(line) for line in rest[: rest.index("")]) if "" in rest else {}
    found = [*_differences(link, method, path, query)]
    if headers.get("host", link.host) != link.host:
        found.append(
            certain(
                "host-changed",
                f"link: {cite(link.host)}; server: {cite(headers['host'])}",
                KEEP_HOST,
            )
        )
    for name in link.signed_headers:
        value, signed = headers.get(name, ""), (link.headers or {}).get(name)
        if name != "host" and (not value or signed not in (None, value)):
            found.append(
                certain(
                    "header-changed" if value else "header-missing",
                    f"the server received {cite(value, 100) if value else 'no such header'}",
                    HEADERS,
                    cite(name, 40),
                )
            )
    yield from found or [
        likely(
            "wrong-secret-key",
            f"the server received the same method ({cite(method, 20)}), path, query and headers",
            "Compare attach_s3_secret_key with the server's, and make a new link.",
        )
    ]


def _differences(link: SignedLink, method: str, path: str, query: str) -> Iterator[Reason]:
    expected = link.likely_method
    if expected is not None and method != expected:
        make = certain if link.method else likely
        yield make(
            "wrong-method",
            "the response has this method",
            f"Use {expected}, or make a link for the other method.",
            cite(method, 20),
            expected=expected,
        )
    if unquote(path) != unquote(link.path):
        yield certain(
            "path-rewritten",
            f"link: {cite(unquote(link.path), 100)}; server: {cite(unquote(path), 100)}",
            "Use the link unchanged, and configure the proxy to keep the path.",
        )
    theirs = {
        (unquote_plus(name), unquote(value))
        for name, _, value in (pair.partition("=") for pair in query.split("&"))
    }
    differing = sorted({name for name, _ in theirs ^ set(link.query)})
    if differing:
        yield certain(
            "parameter-rewritten",
            "the link and the server's request differ",
            UNCHANGED_LINK,
            cite(", ".join(differing), 100),
        )


def _scope_compared(link: SignedLink, answer: Answer) -> Iterator[Reason]:
    lines = answer.lines("StringToSign").split("\n")
    if len(lines) != 4:  # noqa: PLR2004 - algorithm, time, scope, digest
        return
    ours = link["x-amz-credential"].partition("/")[2]
    for what, here, there in (
        ("time", link["x-amz-date"], lines[1]),
        ("region or day", ours, lines[2]),
    ):
        if here != there:
            yield certain(
                "scope-rewritten",
                f"link: {cite(here, 60)}; server: {cite(there, 60)}",
                UNCHANGED_LINK,
                what,
            )


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value
