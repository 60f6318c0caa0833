"""What the answers of S3 and of the service mean for a link."""

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

__all__ = ["NEW_LINK", "is_clock", "is_expired", "refusal_reasons"]

NEW_LINK = "Make a new link."
HEADERS = "Send just the headers that the link came with, and no other that begins with x-amz-."

_BY_CODE = {
    "NoSuchBucket": ("no-bucket", "Set attach_s3_bucket right; make a new link."),
    "InvalidBucketName": ("wrong-bucket-name", "Set attach_s3_bucket right."),
    "NoSuchKey": ("not-found", "See whether it was uploaded or removed: rex attach stat."),
    "NoSuchUpload": ("upload-over", "Begin a new upload."),
    "PreconditionFailed": ("exists", "Reserve another handle, and make a link for that."),
    "ConditionalRequestConflict": ("claimed", "Ask again; reserve a handle for each upload."),
    "EntityTooLarge": (
        "too-large",
        "Have the link made with a larger size (max_size, attach_max_size).",
    ),
    "EntityTooSmall": ("too-small", "Send parts of at least 5 MiB."),
    "ExpiredToken": (
        "credentials-expired",
        "Make a new link; one lasts no longer than the keys, so let those last longer.",
    ),
    "TokenRefreshRequired": ("credentials-stale", NEW_LINK),
    "InvalidToken": (
        "wrong-session-token",
        "Use the link as it was made; set attach_s3_session_token together with its keys.",
    ),
    "BadDigest": (
        "digest-mismatch",
        "Send the file unchanged, or leave out what tells its digest.",
    ),
    "MissingContentLength": ("size-missing", "Send Content-Length: no chunked encoding."),
    "MethodNotAllowed": ("method-not-allowed", "See what the link is for."),
    "InvalidPolicyDocument": ("unreadable-policy", UNCHANGED),
    "MissingFields": ("signature-incomplete", "Use the link as it was made, all of it."),
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
        "Leave the header Authorization out: the link is the permission.",
    ),
)
"""What S3 servers say to people where their code says less: a pattern, a reason, what to change."""
_BY_TYPE = {
    "bad-signature": ("bad-signature", NEW_LINK),
    "address-changed": ("address-changed", "Use the link as it was made."),
    "header-changed": ("header-unlike", HEADERS),
    "form-changed": ("form-changed", UNCHANGED),
    "no-links": ("no-links", "Set attach_url to where clients reach the service."),
    "exists": _BY_CODE["PreconditionFailed"],
}
"""What the types of the service's problems mean (docs/errors.md)."""
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
    """Whether the server says that the link has expired."""
    return answer.type == "link-expired" or bool(_EXPIRED.search(answer.message))


def is_clock(answer: Answer) -> bool:
    """Whether the server says that the clocks are too far apart."""
    return answer.code == "RequestTimeTooSkewed" or bool(_EARLY.search(answer.message))


def refusal_reasons(
    link: SignedLink, answer: Answer, compared: Comparison | None
) -> Iterator[Reason]:
    """Say what the answer means, after what the settings say."""
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
            "Give them s3:GetObject for downloads, s3:PutObject for uploads, and s3:ListBucket so "
            "that what is missing is told from what is forbidden.",
        )
    elif (answer.status or 0) >= 500:  # noqa: PLR2004 - the server's own trouble
        yield certain("server-problem", said, "Ask again later.")


def _region_reasons(link: SignedLink, answer: Answer) -> Iterator[Reason]:
    told = answer.headers.get("x-amz-bucket-region") or answer.element("Region")
    expecting = re.search(r"expecting '([a-z0-9-]{1,40})'", answer.message)
    expected = told or (expecting[1] if expecting else "")
    if expected and link.region and expected != link.region:
        yield certain(
            "wrong-region",
            f"{cite(link.region, 40)} in the link, {cite(expected, 40)} in the answer",
            "Set attach_s3_region right, and make a new link.",
        )


def _redirect_reason(code: str, answer: Answer, said: str) -> Reason:
    if code.endswith("Redirect"):
        return certain(
            "other-address",
            f"{said}; it is at {cite(answer.element('Endpoint') or 'another region', 100)}",
            "Set attach_s3_endpoint and attach_s3_region right, and make a new link.",
        )
    return certain("signature-changed", said, "Use the link as it was made.")


def _unknown_key(link: SignedLink, said: str) -> Reason:
    shown = part_of(link.access_key)
    if link["x-amz-security-token"]:
        return certain(
            "unknown-temporary-key",
            f"{said}; the access key is {shown}, with a session token",
            "They may have expired, or be of another server: make a new link, for this one.",
        )
    if link.access_key.startswith("ASIA"):
        return certain(
            "no-session-token",
            f"{said}; the access key is {shown}, a temporary one",
            "Use the link as it was made; set attach_s3_session_token together with its keys.",
        )
    return certain(
        "unknown-access-key",
        f"{said}; the access key is {shown}",
        "Set attach_s3_access_key right, or see whether the link leads to another server.",
    )


def _possibilities(link: SignedLink, method: str | None) -> list[Reason]:
    """Give what can be wrong where the server only says that the signature does not fit."""
    said = "the server answered SignatureDoesNotMatch"
    if link.fields:
        return [possible("policy-or-key", said, UNCHANGED)]
    # With a signature that is right, it is the request that was another.
    give = possible if method is None else likely
    known = said if method is None else f"{said}, and the signature of the link is right"
    reasons = []
    others = [name for name in link.signed_headers if name != "host"]
    if others and link.sent is None:
        reasons.append(
            likely(
                "header-unlike",
                f"{known}; the signed headers are {cite(', '.join(others), 100)}",
                f"{HEADERS} Tell what was sent with --header, and this can say more.",
            )
        )
    signed_for = method or link.likely_method
    if link.asked is None:
        reasons.append(
            give(
                "other-method",
                known,
                f"Ask with {signed_for or 'the method that it was made for'}. Tell what was asked "
                "with --method, and this can say more.",
                expected=signed_for or "the signed one",
            )
        )
    reasons.append(
        give(
            "host-changed",
            f"{known}; the host is signed, and the link leads to {cite(link.host)}",
            "Have the proxy pass Host on as it came, or set attach_s3_public_endpoint to the host "
            "that the server is asked for.",
        )
    )
    if method is None:
        reasons.append(
            possible(
                "path-or-key",
                known,
                "Use the link as it was made; compare attach_s3_secret_key. With the settings at "
                "hand, this can say more.",
            )
        )
    return reasons


def _compare(link: SignedLink, answer: Answer) -> Iterator[Reason]:
    """Compare the link with what the server says that it was asked, as AWS does."""
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
                f"{cite(link.host)} in the link, {cite(headers['host'])} at the server",
                "Have the proxy pass Host on as it came, or set attach_s3_public_endpoint to the "
                "host that the server is asked for.",
            )
        )
    for name in link.signed_headers:
        value, signed = headers.get(name, ""), (link.headers or {}).get(name)
        if name != "host" and (not value or signed not in (None, value)):
            found.append(
                certain(
                    "header-changed" if value else "header-missing",
                    f"the server got {cite(value, 100) if value else 'nothing'} for it",
                    HEADERS,
                    cite(name, 40),
                )
            )
    yield from found or [
        likely(
            "wrong-secret-key",
            f"method ({cite(method, 20)}), path, query and headers in its answer are the same",
            "Compare attach_s3_secret_key with the server's, and make a new link.",
        )
    ]


def _differences(link: SignedLink, method: str, path: str, query: str) -> Iterator[Reason]:
    expected = link.likely_method
    if expected is not None and method != expected:
        give = certain if link.method else likely
        yield give(
            "wrong-method",
            "the method in the server's answer",
            f"Ask with {expected}, or have a link for the other method made.",
            cite(method, 20),
            expected=expected,
        )
    if unquote(path) != unquote(link.path):
        yield certain(
            "path-rewritten",
            f"{cite(unquote(link.path), 100)} in the link, {cite(unquote(path), 100)} at the "
            "server",
            "Have the proxy pass the path on as it came, and use the link as it was made.",
        )
    theirs = {
        (unquote_plus(name), unquote(value))
        for name, _, value in (pair.partition("=") for pair in query.split("&"))
    }
    differing = sorted({name for name, _ in theirs ^ set(link.query)})
    if differing:
        yield certain(
            "parameter-rewritten",
            "it is not the same in the link and at the server",
            "Use the link as it was made.",
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
                f"{cite(here, 60)} in the link, {cite(there, 60)} at the server",
                "Use the link as it was made.",
                what,
            )


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value
