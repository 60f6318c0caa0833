"""Conditional requests (RFC 9110, section 13)."""

from __future__ import annotations

import datetime
import enum
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["CONDITIONS", "NOT_EXPECTED", "Verdict", "judge", "may_be_partial", "pick_headers"]

CONDITIONS = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")
"""The headers of conditions."""

NOT_EXPECTED = "The attachment does not match the precondition of the request."
"""The detail of a 412 response."""

MAX_LENGTH = 8192
"""Only this much of a list of entity tags is parsed, so that the time is bounded."""

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"

# IMF-fixdate, and the two obsolete formats that must be accepted (section 5.6.7).
_DATES = (
    re.compile(rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"{_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


class Verdict(enum.Enum):
    """The result of a conditional request; the value is the status."""

    PROCEED = 200
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412


def pick_headers(headers: Iterable[tuple[bytes, bytes]], names: Collection[str]) -> dict[str, str]:
    """Return the headers with these names from a request's ASGI headers.

    The names are in lower case; the values of repeated headers are joined by commas (RFC 9110,
    section 5.3).
    """
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1")
        if name in names:
            line = value.decode("latin-1")
            found[name] = f"{found[name]}, {line}" if name in found else line
    return found


def judge(
    headers: Mapping[str, str], etag: str, modified: datetime.datetime, *, is_read: bool = True
) -> Verdict:
    """Evaluate the conditions of a request for an existing attachment (section 13.2.2).

    The headers are those of `pick_headers`. A malformed date is ignored. Unless the attachment is
    read (GET, HEAD), a match of ``If-None-Match`` is a failed precondition, and
    ``If-Modified-Since`` is ignored (sections 13.1.2 and 13.1.3).
    """
    modified = modified.replace(microsecond=0)
    if "if-match" in headers:
        if not _is_listed(headers["if-match"], etag, weakly=False):
            return Verdict.PRECONDITION_FAILED
    else:
        date = _date(headers.get("if-unmodified-since"))
        if date is not None and modified > date:
            return Verdict.PRECONDITION_FAILED
    if "if-none-match" in headers:
        if _is_listed(headers["if-none-match"], etag, weakly=True):
            return Verdict.NOT_MODIFIED if is_read else Verdict.PRECONDITION_FAILED
    elif is_read:
        date = _date(headers.get("if-modified-since"))
        if date is not None and modified <= date:
            return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def may_be_partial(headers: Mapping[str, str], etag: str, modified: datetime.datetime) -> bool:
    """Check whether ``If-Range`` allows a partial response (section 13.1.5).

    A date must be exactly that of the attachment: an attachment never changes, so its date is a
    strong validator (section 8.8.2.2).
    """
    given = headers.get("if-range", "").strip(" \t")
    if not given:
        return "if-range" not in headers
    if given.startswith(('"', "W/")):
        return given == etag and not etag.startswith("W/")
    return _date(given) == modified.replace(microsecond=0)


def _is_listed(header: str, etag: str, *, weakly: bool) -> bool:
    """Compare an entity tag with those in a header, or with ``*`` (section 8.8.3.2)."""
    if header.strip(" \t") == "*":
        return True
    tags = _TAG.finditer(header, 0, MAX_LENGTH)
    if weakly:
        return etag.removeprefix("W/") in {found[2] for found in tags}
    strong = {found[2] for found in tags if not found[1]}
    return etag in strong


def _date(header: str | None) -> datetime.datetime | None:
    """Parse an ``HTTP-date`` (section 5.6.7); return None if it is malformed."""
    if header is None:
        return None
    text = header.strip(" \t")
    found = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    hour, minute, second = (int(found[part]) for part in ("hour", "minute", "second"))
    month = _MONTHS.index(found["month"]) + 1
    try:
        return datetime.datetime(
            _year(found["year"]),
            month,
            int(found["day"]),
            hour,
            minute,
            second,
            tzinfo=datetime.UTC,
        )
    except ValueError:  # the 31st of June
        return None


def _year(digits: str) -> int:
    """Parse a year; two digits are never more than 50 years ahead (section 5.6.7)."""
    if len(digits) > len("94"):
        return int(digits)
    this = datetime.datetime.now(datetime.UTC).year
    year = this - this % 100 + int(digits)
    return year - 100 if year > this + 50 else year
