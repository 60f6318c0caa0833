"""Which bytes of an attachment a request is for (RFC 9110, section 14)."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

__all__ = ["Span", "parse_spans", "range_length", "range_start"]

MAX_LENGTH = 600
"""A longer header is ignored, so that judging one takes no time, whatever is in it.

No number in it is longer than what Python reads under any setting (640 digits).
"""
MAX_SPANS = 8
"""Who asks for more at once gets the whole."""

_UNIT = re.compile(r"bytes=(.+)", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]*)-([0-9]*)")


class Span(NamedTuple):
    """A part of an attachment, in bytes."""

    start: int
    """The position of its first byte."""
    stop: int
    """The position after its last byte."""

    def content_range(self, size: int) -> str:
        """Give the value of ``Content-Range`` (RFC 9110, section 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_spans(header: str | None, size: int) -> tuple[Span, ...] | None:
    """Give the parts that a ``Range`` header asks for, in its order, or None for the whole.

    No part at all means that none can be satisfied, which is to be answered with 416
    (section 15.5.17). A header that is ill-formed, of another unit, or asks for too much at once
    (many parts, or some bytes twice) is ignored, as section 14.2 permits.
    """
    specs = _specs(header)
    if specs is None:
        return None
    if not size and any(first is None and last for first, last in specs):
        return None  # the last bytes of nothing are nothing (section 14.1.2), not an error
    spans = [span for pair in specs if (span := _span(*pair, size)).start < span.stop]
    ordered = sorted(spans)
    if any(one.stop > other.start for one, other in itertools.pairwise(ordered)):
        return None
    return tuple(spans)


def range_start(header: str | None) -> int | None:
    """Tell where the bytes to send begin, or None when only the size of the attachment tells."""
    specs = _specs(header)
    if specs is None:
        return 0
    return specs[0][0] if len(specs) == 1 else None


def range_length(header: str | None) -> int | None:
    """Return how many bytes a header asks for from `range_start` on; None is all the rest."""
    specs = _specs(header)
    first, last = specs[0] if specs is not None and len(specs) == 1 else (None, None)
    return None if first is None or last is None else last + 1 - first


def _specs(header: str | None) -> list[tuple[int | None, int | None]] | None:
    """Read a header as pairs of numbers, of which one may be missing; None to ignore it."""
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
    """Give the part of so many bytes; it is empty when it cannot be satisfied."""
    if first is None:
        return Span(max(size - (last or 0), 0), size)
    return Span(min(first, size), size if last is None else min(last + 1, size))
