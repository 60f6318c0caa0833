"""Tails of resumable uploads: objects with the bytes after the last part.

A tail that a part has taken bytes from still counts for the others, so that the acknowledged offset
of an upload never decreases. The name of a tail has the offset of its first byte, and its size.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Tail", "longest_tail"]

_NAME = re.compile(r"tail-([0-9]{1,18})-([0-9]{1,18})")


class Tail(NamedTuple):
    """A tail; if it has no bytes, there is none."""

    start: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """The name of its object in the folder of the upload."""
        return f"tail-{self.start}-{self.size}"

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.start + self.size


def longest_tail(names: Iterable[str], kept: int) -> Tail:
    """Return the tail that goes farthest, of those that follow or overlap the first `kept` bytes.

    `names` are those of all objects in the folder of the upload.
    """
    tails = (Tail(int(m[1]), int(m[2])) for name in names if (m := _NAME.fullmatch(name)))
    reached = (tail for tail in tails if tail.start <= kept)
    return max(reached, key=lambda tail: tail.end, default=Tail())
