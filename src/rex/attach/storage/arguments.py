"""Checks of the arguments of a storage's operations."""

from __future__ import annotations

import datetime
import re

from rex.attach.content.content import Content, ContentSource
from rex.attach.content.formats import is_read_in_parts
from rex.attach.content.media_type import content_type_for, text_type
from rex.attach.content.reader import MIN_REQUEST
from rex.attach.handle import show
from rex.attach.links.link import window_seconds
from rex.core import Error, Kind

__all__ = [
    "MAX_POSITION",
    "check_position",
    "choose_first_end",
    "choose_limit",
    "choose_media_type",
    "choose_window",
    "make_content",
    "parse_day",
]

MAX_POSITION = 2**63 - 1
"""The largest position in a Python binary file."""

_DIGEST = re.compile("[0-9a-f]{64}")


def check_position(what: str, given: int) -> None:
    """Check a position or length in bytes. Errors: `ILL_FORMED`."""
    if not isinstance(given, int) or not 0 <= given <= MAX_POSITION:
        raise Error(
            f"{what} must be a number of bytes, from 0 to 2**63 - 1",
            show(given),
            kind=Kind.ILL_FORMED,
        )


def choose_first_end(
    name: str, start: int, length: int | None, request_size: int | None
) -> int | None:
    """Return where the first request ends; None is the end of the attachment."""
    if length is None and is_read_in_parts(name):
        length = MIN_REQUEST
    sizes = [size for size in (length, request_size) if size is not None]
    if not sizes:
        return None
    end = start + max(min(sizes), 1)  # a request is for at least one byte
    return end if end < MAX_POSITION else None


def choose_media_type(name: str, content: ContentSource, given: str | None) -> str:
    """Return the content type to store; a string is stored as UTF-8, which its type says."""
    media_type = content_type_for(name, given)
    return text_type(media_type) if isinstance(content, str) else media_type


def choose_limit(given: int | None, own: int | None) -> int | None:
    """Return the lower of two size limits; None means unlimited. Errors: `ILL_FORMED`."""
    if given is not None and (not isinstance(given, int) or given < 0):
        raise Error(
            "max_size must be a number of bytes, 0 or more", show(given), kind=Kind.ILL_FORMED
        )
    if given is None or own is None:
        return own if given is None else given
    return min(given, own)


def choose_window(
    given: float | datetime.timedelta | None, own: float | None, duration: float
) -> int:
    """Return the window of a link in whole seconds, 0 for none. Errors: `ILL_FORMED`."""
    if given is None:
        return int(own) if own is not None and own < int(duration) else 0
    return window_seconds(given, duration)


def make_content(content: ContentSource, max_size: int | None, digest: str | None) -> Content:
    """Return content with its limit and its expected digest. Errors: `ILL_FORMED`."""
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise Error(
            "digest must be a SHA-256 in 64 lower-case hexadecimal digits",
            show(digest),
            kind=Kind.ILL_FORMED,
        )
    return Content(content, max_size=max_size, digest=digest)


def parse_day(day: datetime.date | str) -> datetime.date:
    """Parse a day, a date or ``YYYY-MM-DD``. Errors: `ILL_FORMED`."""
    if isinstance(day, datetime.date) and not isinstance(day, datetime.datetime):
        return day
    try:
        date = datetime.date.fromisoformat(day)  # type: ignore[arg-type]  # anything may be given
    except (TypeError, ValueError):
        date = None
    if date is None or date.isoformat() != day:  # ISO 8601 has other forms too
        raise Error("day must be a date, as YYYY-MM-DD", show(day), kind=Kind.ILL_FORMED)
    return date
