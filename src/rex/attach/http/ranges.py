"""Range requests (RFC 9110, section 14)."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

__all__ = ["Span", "parse_spans", "range_length", "range_start"]

MAX_LENGTH = 600
"""A longer header is ignored, so that the time to parse one is bounded.

No number in a header is longer than what Python parses under any setting (640 digits).
"""
MAX_SPANS = 8
"""A request for more ranges receives the whole attachment."""

_UNIT = re.compile(r"bytes=(.+)", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]*)-([0-9]*)")


class Span(NamedTuple):
    """A byte range of an attachment."""

    start: int
    """The position of the first byte."""
    stop: int
    """The position after the last byte."""

    def content_range(self, size: int) -> str:
        """Return the value of ``Content-Range`` (RFC 9110, section 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_spans(header: str | None, size: int) -> tuple[Span, ...] | None:
    """Return the ranges in a ``Range`` header, in order, or None for the whole attachment.

    An empty result means that no range is satisfiable: the status is 416 (section 15.5.17). A
    header that is malformed, has another unit, too many ranges or overlapping ranges is ignored,
    as section 14.2 allows.
    """
    specs = _specs(header)
    if specs is None:
        return None
    if not size and any(first is None and last for first, last in specs):
        return None  # a suffix of an empty attachment is empty, not an error (section 14.1.2)
    spans = [span for pair in specs if (span := _span(*pair, size)).start < span.stop]
    ordered = sorted(spans)
    if any(one.stop > other.start for one, other in itertools.pairwise(ordered)):
        return None
    return tuple(spans)


def range_start(header: str | None) -> int | None:
    """Return the position of the first byte to send, or None if it depends on the size."""
    specs = _specs(header)
    if specs is None:
        return 0
    return specs[0][0] if len(specs) == 1 else None


def range_length(header: str | None) -> int | None:
    """Return the number of bytes from `range_start` on, or None for the rest."""
    specs = _specs(header)
    first, last = specs[0] if specs is not None and len(specs) == 1 else (None, None)
    return None if first is None or last is None else last + 1 - first


def _specs(header: str | None) -> list[tuple[int | None, int | None]] | None:
    """Parse a header into pairs of numbers, either of which may be missing; None to ignore it."""
    if header is None or len(header) > MAX_LENGTH:
        return None
    found = _UNIT.fullmatch(header.strip(" \t"))
    if found is None:
        return None
    specs = [spec for part in found[1].split(",") if (spec := part.strip(" \t"))]
    if not 1 <= len(specs) <= MAX_SPANS:
        return None
    pairs = [_pair(spec) for spec in specs]
    return [pair for pair in pairs if pair is not None] if None not in pairs else None


def _pair(spec: str) -> tuple[int | None, int | None] | None:
    found = _SPAN.fullmatch(spec)
    if found is None or spec == "-":
        return None
    first, last = (int(number) if number else None for number in found.groups())
    if first is not None and last is not None and last < first:
        return None
    return first, last


def _span(first: int | None, last: int | None, size: int) -> Span:
    """Return the range within `size` bytes; it is empty if it is not satisfiable."""
    if first is None:
        return Span(max(size - (last or 0), 0), size)
    return Span(min(first, size), size if last is None else min(last + 1, size))
