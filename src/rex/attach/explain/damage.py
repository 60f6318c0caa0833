"""What copying does to a link: found in its text, and undone so that the rest can be read."""

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
    (r"[?&]token=[\w-]+\.([\w-]*)([^&#]*)", 43),
    (r"/signed/[\w-]+\.([\w-]*)([^/?#]*)", 43),
)
"""Where a signature is, what follows it, and how long it is: S3's, and the service's in a query
and in the address of a form."""

COPY_AGAIN = "Copy the link anew from where it was made, all of it, and quote it in a shell."


class _Damage(NamedTuple):
    """One thing that happens to a link: how it is found, named and undone."""

    pattern: re.Pattern[str]
    code: str
    evidence: str
    change: str
    undo: str | Callable[[re.Match[str]], str]


_DECODED = certain(
    "decoded",
    "the session token has + or a space, and must have %2B",
    "Use the link as it is; do not decode it.",
)
_TWICE = certain(
    "encoded-twice",
    "%25 stands in its query where only % can",
    "Use the link as it is; do not encode it again.",
)

_DAMAGES = (
    _Damage(
        re.compile(r"\Ahttps?%3[Aa].*\Z", re.DOTALL),
        "encoded-whole",
        "it begins with http%3A",
        "Decode it once: it was put into another address, or into a form.",
        lambda match: unquote(match[0]),
    ),
    _Damage(
        re.compile(r"&amp;|&#38;|&#x26;", re.IGNORECASE),
        "from-html",
        "&amp; stands between its parameters instead of &",
        "Unescape it, or copy it from what the browser shows.",
        "&",
    ),
    _Damage(
        re.compile(r"\\u0026", re.IGNORECASE),
        "from-json",
        r"\u0026 stands between its parameters instead of &",
        "Take it out with a JSON parser.",
        "&",
    ),
    _Damage(
        re.compile(r"\\(?=[&?=/%])"),
        "escaped",
        "a backslash stands before a separator",
        "Leave out the backslashes.",
        "",
    ),
)
_BROKEN = _Damage(
    re.compile(r"\s+"),
    "broken",
    "there is a space or the end of a line within it",
    COPY_AGAIN,
    "",
)


def repair(text: str) -> tuple[str, list[Reason]]:
    """Give the link without what copying did to it, and what that was."""
    reasons = []
    link = text.strip().strip("<>\"'`")
    if link != text:
        reasons.append(
            likely(
                "wrapped",
                "it begins or ends with white space, quotes or angle brackets",
                "Leave that out.",
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
    """Look at how the parameters are encoded."""
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
    """Look at the end of a signature: it may be cut off, or something may follow it."""
    digits, rest = match.groups()
    if len(digits) < length and not rest:
        evidence = f"its signature has {len(digits)} characters of {length}"
        return link, [certain("cut-off", evidence, COPY_AGAIN)]
    if digits[length:] or rest:
        added = digits[length:] + rest
        evidence = (
            f"{cite(added, 10)} follows the signature"
            if len(digits) >= length
            else "its signature has other characters than a signature can have"
        )
        changed = certain("end-changed", evidence, COPY_AGAIN)
        end = match.start(1) + min(len(digits), length)
        return link[:end] + link[match.end() :], [changed]
    return link, []
