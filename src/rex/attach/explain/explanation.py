"""Explain why a link is refused, from the link, the response and the settings, without requests."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rex.attach.explain.damage import COPY_AGAIN, repair
from rex.attach.explain.error_responses import (
    NEW_LINK,
    TEMPORARY_LINK,
    is_clock,
    is_expired,
    refusal_reasons,
)
from rex.attach.explain.google_link import google_refusal_reasons
from rex.attach.explain.policy import policy_reasons
from rex.attach.explain.response import Answer
from rex.attach.explain.sas_link import (
    is_sas_expired,
    sas_form_reasons,
    sas_refusal_reasons,
)
from rex.attach.explain.service_link import ends_at, service_reasons
from rex.attach.links.link import MAX_LINK_SECONDS
from rex.attach.links.reason import Certainty, Comparison, Reason, certain, cite, likely
from rex.attach.links.signed_link import METHODS, SignedLink, part_of
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach.storage import Storage

__all__ = ["MAX_LINK", "Explanation", "explain"]

MAX_LINK = 64 * 1024
"""In characters; a link with a session token has about 2,000, and a form about 5,000."""
MAX_SKEW = datetime.timedelta(minutes=15)
"""Maximum difference of clocks that S3 accepts (SigV4, RequestTimeTooSkewed)."""
MIN_SECRET = 4
"""Minimum length of a masked text; shorter texts occur in many words."""
_LONG = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])|[0-9A-Za-z+/=_-]{80,}")
"""Any text that may be a signature or a token."""
_KEY_ID = re.compile(r"\b(A[KS]IA)[A-Z0-9]{12,}")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The reasons for which a link is refused, most certain first, and the checks made."""

    reasons: list[Reason]
    checked: list[str]
    is_refused: bool
    """Whether the response is an error response."""


def explain(
    link: str,
    *,
    response: bytes | None = None,
    storage: Storage | None = None,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    now: datetime.datetime | None = None,
) -> Explanation:
    """Return the reasons for which a link is refused, without making requests.

    `link` is the URL, or the link as JSON (`PresignedLink.as_dict`). `response` is the response of
    the server, optionally preceded by its headers; the first 64 KiB are parsed. `storage` is the
    storage that made the link. `method` and `headers` are those of the client's request. `now` is
    an aware time. Reasons do not show signatures, secrets, session tokens or whole access keys.

    Errors: `ILL_FORMED` if `link` is not a link.
    """
    if len(link) > MAX_LINK:
        raise Error(
            f"A link must have at most {MAX_LINK} characters",
            f"{len(link)} characters",
            kind=Kind.ILL_FORMED,
        )
    # Text that the command line could not decode cannot be part of a signed link.
    text = link.encode("utf-8", "replace").decode()
    signed, reasons = _read(text, method, headers)
    answer = None if response is None else Answer(response)
    now = now or datetime.datetime.now(datetime.UTC)
    checked = ["damage by copying", "parameters, times and headers of the link"]
    reasons += _form(signed)
    compared = None
    if signed.is_service:
        reasons += service_reasons(signed, storage, checked)
    elif storage is not None and (signed.is_signed or signed.is_sas):
        links = storage.abilities.links
        compared = None if links is None else links.compare(signed)
    if compared is not None:
        checked += compared.checked
    if answer is not None:
        checked.append("the response" if answer.is_known else "not the response (cannot be parsed)")
    reasons += _times(signed, answer, now)
    differences = [*_compare(signed, compared)]
    if answer is not None and not answer.is_success:
        is_clear = any(each.certainty is Certainty.CERTAIN for each in (*reasons, *differences))
        explain_refusal = google_refusal_reasons if signed.is_google else refusal_reasons
        explain_refusal = sas_refusal_reasons if signed.is_sas else explain_refusal
        meant = explain_refusal(signed, answer, compared)
        # Possible meanings of the response do not matter if a reason is certain.
        reasons += [e for e in meant if e.certainty is Certainty.CERTAIN or not is_clear]
    reasons += differences
    is_refused = answer is not None and not answer.is_success
    return Explanation([*_present(reasons, signed)], checked, is_refused)


def _read(
    text: str, asked: str | None, sent: Mapping[str, str] | None
) -> tuple[SignedLink, list[Reason]]:
    """Parse a link from its URL or from JSON; return reasons for damage by copying too."""
    given: Any = {"url": text}
    if text.lstrip().startswith("{"):
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            given = {}
    url, fields, headers, method = (
        given.get(name) for name in ("url", "fields", "headers", "method")
    )
    if not isinstance(url, str) or not all(
        each is None or (isinstance(each, dict) and all(map(_is_text, each.values())))
        for each in (fields, headers)
    ):
        raise Error(
            "The link must be a URL, or JSON from rex attach link --json",
            kind=Kind.ILL_FORMED,
        )
    url, reasons = repair(url)
    if not re.match(r"https?://[^/?#\s]|/[^/?#\s]", url, re.IGNORECASE):
        raise Error("A link must begin with http://, https:// or a path", kind=Kind.ILL_FORMED)
    link = SignedLink(
        url,
        method=method if method in METHODS else None,
        headers=headers or None,
        fields=fields,
        asked=None if asked is None else asked.upper(),
        sent=sent,
    )
    return link, reasons


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _form(link: SignedLink) -> Iterator[Reason]:
    """Check the form that every link must have."""
    if link.is_service or link.is_cloudfront:
        return
    if link.is_sas:
        yield from sas_form_reasons(link)
        return
    if not link.is_signed:
        yield certain(
            "unsigned",
            "there are no parameters of S3, of Azure, of Google or of the service",
            COPY_AGAIN,
        )
        return
    if link.missing:
        yield certain(
            "incomplete",
            f"found no {', '.join(link.missing)}",
            f"A shell cuts an unquoted link at &. {COPY_AGAIN}",
            missing="fields of the form" if link.fields else "parameters",
        )
    elif not link.is_well_formed:
        yield certain(
            "signature-changed",
            "the credential, date or expiry is malformed, or the days differ",
            COPY_AGAIN,
        )
    if link.repeated:
        yield certain(
            "parameter-repeated",
            cite(", ".join(link.repeated), 100),
            COPY_AGAIN,
        )
    if link.seconds is not None and not 1 <= link.seconds <= MAX_LINK_SECONDS:
        yield certain(
            "too-long-lived",
            f"{'X-Goog' if link.is_google else 'X-Amz'}-Expires is {link.seconds}",
            "Make a new link for at most 7 days.",
        )
    if link.access_key.startswith("ASIA") and not link["x-amz-security-token"]:
        yield likely(
            "no-session-token",
            f"the access key {part_of(link.access_key)} is temporary",
            TEMPORARY_LINK,
        )
    yield from policy_reasons(link) if link.fields else _request(link)


def _request(link: SignedLink) -> Iterator[Reason]:
    """Compare the client's request with the signed one."""
    expected = link.likely_method
    if link.asked and expected and link.asked != expected:
        make = certain if link.method else likely
        yield make(
            "wrong-method",
            "the link says so"
            if link.method
            else f"the parameters and signed headers are those of a {expected}",
            f"Use {expected}, or make a link for the other method.",
            cite(link.asked, 20),
            expected=expected,
        )
    if link.sent is None:
        return
    for name in link.signed_headers:
        if name != "host" and name not in link.sent:
            yield certain(
                "header-missing",
                f"signed headers: {cite(', '.join(link.signed_headers), 100)}",
                "Send the headers of the link.",
                cite(name, 40),
            )
        elif link.headers and name in link.headers and link.headers[name] != link.sent[name]:
            yield certain(
                "header-changed",
                f"signed: {cite(link.headers[name], 100)}; sent: {cite(link.sent[name], 100)}",
                "Send the headers of the link unchanged.",
                cite(name, 40),
            )
    for name in link.sent:
        if name.startswith(("x-amz-", "x-goog-")) and name not in link.signed_headers:
            yield certain(
                "header-added",
                f"{cite(name, 60)}; signed headers: {cite(', '.join(link.signed_headers), 100)}",
                "Do not send this header, or make a link with this header.",
            )


def _compare(link: SignedLink, compared: Comparison | None) -> Iterator[Reason]:
    """Yield the reasons found by the storage."""
    if compared is None:
        return
    yield from compared.reasons
    if compared.method and link.asked and link.asked != compared.method:
        yield certain(
            "wrong-method",
            "recomputed with the secret key of the settings",
            f"Use {compared.method}, or make a link for the other method.",
            cite(link.asked, 20),
            expected=compared.method,
        )


def _times(link: SignedLink, answer: Answer | None, now: datetime.datetime) -> Iterator[Reason]:
    """Compare the times of the link with the clocks of this machine and of the server."""
    begins, ends = link.signed_at, link.ends_at
    served = ends_at(link) if link.is_service else None
    if served is not None:
        ends = datetime.datetime.fromtimestamp(served, datetime.UTC)
    theirs = answer.time if answer else None
    clocks = f"local time {_when(now)}" + (f", server time {_when(theirs)}" if theirs else "")
    if ends is not None and ends <= now:
        evidence = f"expired at {_when(ends)}; {clocks}"
        yield certain("link-expired", evidence, NEW_LINK)
    elif answer is not None and (is_expired(answer) or is_sas_expired(answer)):
        if ends is None:
            said = f"the server answered {cite(answer.message)}"
            yield certain("link-expired", said, NEW_LINK)
        else:
            yield certain(
                "clock-ahead",
                f"the server says that the link has expired; it expires at {_when(ends)}; {clocks}",
                "Synchronise both clocks by NTP.",
            )
    elif answer is not None and is_clock(answer):
        yield certain(
            "clock-skew",
            f"the server answered {cite(answer.code)}: {cite(answer.message)}"
            + (f"; signed at {_when(begins)}, {clocks}" if begins else ""),
            "Synchronise both clocks by NTP, and make a new link.",
        )
    if begins is not None and begins > max(now, theirs or now) + MAX_SKEW:
        yield likely(
            "signed-in-future",
            f"signed at {_when(begins)}; {clocks}",
            "Synchronise the signer's clock by NTP, and make a new link.",
        )


def _when(time: datetime.datetime) -> str:
    return f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%SZ}"


def _present(reasons: list[Reason], link: SignedLink) -> Iterator[Reason]:
    """Yield each reason once, most certain first, with secrets masked."""
    merged: dict[tuple[str, str], list[Reason]] = {}
    order = [*Certainty]
    for each in sorted(reasons, key=lambda reason: order.index(reason.certainty)):
        merged.setdefault((each.code, each.subject), []).append(each)
    # Possible reasons do not matter next to a certain one.
    is_sure = any(each.certainty is Certainty.CERTAIN for each, *_ in merged.values())
    secrets = _secrets(link)
    for same in merged.values():
        first = same[0]
        if not (is_sure and first.certainty is Certainty.POSSIBLE):
            evidence = "; ".join(dict.fromkeys(each.evidence for each in same))
            yield dataclasses.replace(
                first,
                reason=_mask(first.reason, secrets),
                evidence=_mask(evidence, secrets),
                change=_mask(first.change, secrets),
                subject=_mask(first.subject, secrets),
            )


def _secrets(link: SignedLink) -> list[str]:
    """Return the texts to mask, in all encodings in which they may appear."""
    plain = [secret for secret in link.secrets if len(secret) >= MIN_SECRET]
    encoded = [base64.b64encode(secret.encode()).decode() for secret in plain]
    forms = {*plain, *encoded, *(quote(secret, safe="") for secret in plain)}
    return sorted(forms, key=len, reverse=True)


def _mask(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return _KEY_ID.sub(r"\1...", _LONG.sub("***", text))
