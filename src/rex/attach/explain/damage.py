"""Detection and repair of damage to a link by copying."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from rex.attach.links.reason import Reason, certain, cite, likely

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["repair"]

_SIGNATURES = (
    (r"X-Amz-Signature=([0-9a-f]*)([^&#]*)", 64),
    (r"X-Goog-Signature=([0-9a-f]*)([^&#]*)", 512),
    (r"[?&]token=[\w-]+\.([\w-]*)([^&#]*)", 43),
    (r"/signed/[\w-]+\.([\w-]*)([^/?#]*)", 43),
)
"""Patterns of a signature and of the text after it, with the signature's length: of S3, and of the
service in a query and in the URL of a form."""

COPY_AGAIN = "Copy the complete link again from its source, and quote it in a shell."


class _Damage(NamedTuple):
    """A kind of damage: its pattern, its reason and its repair."""

    pattern: re.Pattern[str]
    code: str
    evidence: str
    change: str
    undo: str | Callable[[re.Match[str]], str]


_DECODED = certain(
    "decoded",
    "the session token has + or a space instead of %2B",
    "Use the link unchanged; do not decode it.",
)
_TWICE = certain(
    "encoded-twice",
    "the query has %25 instead of %",
    "Use the link unchanged; do not encode it again.",
)

_DAMAGES = (
    _Damage(
        re.compile(r"\Ahttps?%3[Aa].*\Z", re.DOTALL),
        "encoded-whole",
        "the link begins with http%3A",
        "Decode the link once: it was a value in another URL or in a form.",
        lambda match: unquote(match[0]),
    ),
    _Damage(
        re.compile(r"&amp;|&#38;|&#x26;", re.IGNORECASE),
        "from-html",
        "the parameters are separated by &amp; instead of &",
        "Unescape the link, or copy the text that the browser shows.",
        "&",
    ),
    _Damage(
        re.compile(r"\\u0026", re.IGNORECASE),
        "from-json",
        r"the parameters are separated by \u0026 instead of &",
        "Use a JSON parser to read the link.",
        "&",
    ),
    _Damage(
        re.compile(r"\\(?=[&?=/%])"),
        "escaped",
        "there is a backslash before a separator",
        "Remove the backslashes.",
        "",
    ),
)
_BROKEN = _Damage(
    re.compile(r"\s+"),
    "broken",
    "there is a space or a line break in the link",
    COPY_AGAIN,
    "",
)


def repair(text: str) -> tuple[str, list[Reason]]:
    """Return the repaired link, and a reason for each damage."""
    reasons = []
    link = text.strip().strip("<>\"'`")
    if link != text:
        reasons.append(
            likely(
                "wrapped",
                "the link begins or ends with white space, quotes or angle brackets",
                "Remove these characters.",
            )
        )
    link, found = _undone(link, _DAMAGES)
    link, wrong_query = _query(link)
    link, broken = _undone(link, [_BROKEN])
    reasons += [*found, *wrong_query, *broken]
    for pattern, length in _SIGNATURES:
        if match := re.search(pattern, link, re.IGNORECASE | re.ASCII):
            link, wrong_end = _check_end(link, match, length)
            reasons += wrong_end
            break
    return link, reasons


def _undone(link: str, damages: Iterable[_Damage]) -> tuple[str, list[Reason]]:
    reasons = []
    for damage in damages:
        link, times = damage.pattern.subn(damage.undo, link)
        if times:
            reasons.append(certain(damage.code, damage.evidence, damage.change))
    return link, reasons


def _query(link: str) -> tuple[str, list[Reason]]:
    """Repair the encoding of the parameters."""
    address, mark, query = link.partition("?")
    reasons = []
    pairs = re.split("(&)", query)
    names = ("x-amz-credential", "x-amz-signedheaders")
    if any(re.search("%25(2F|3B)", _value(pair, *names), re.IGNORECASE) for pair in pairs):
        pairs = [pair.replace("%25", "%") for pair in pairs]
        reasons.append(_TWICE)
    if any(re.search("[ +]", _value(pair, "x-amz-security-token")) for pair in pairs):
        pairs = [pair.replace("+", "%2B").replace(" ", "%2B") for pair in pairs]
        reasons.append(_DECODED)
    return address + mark + "".join(pairs), reasons


def _value(pair: str, *names: str) -> str:
    name, _, value = pair.partition("=")
    return value if name.lower() in names else ""


def _check_end(link: str, match: re.Match[str], length: int) -> tuple[str, list[Reason]]:
    """Check the end of a signature, which may be cut off or followed by other text."""
    digits, rest = match.groups()
    if len(digits) < length and not rest:
        evidence = f"the signature has {len(digits)} of {length} characters"
        return link, [certain("cut-off", evidence, COPY_AGAIN)]
    if digits[length:] or rest:
        added = digits[length:] + rest
        evidence = (
            f"{cite(added, 10)} follows the signature"
            if len(digits) >= length
            else "the signature has invalid characters"
        )
        changed = certain("end-changed", evidence, COPY_AGAIN)
        end = match.start(1) + min(len(digits), length)
        return link[:end] + link[match.end() :], [changed]
    return link, []
