"""What nobody finished: uploads, temporary files and the like, which a sweep may remove."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

__all__ = ["Garbage", "GarbageKind"]


class GarbageKind(enum.Enum):
    """What is left over."""

    UPLOAD = "upload"
    """An upload in pieces that has expired."""
    PARTS = "parts"
    """An upload in parts (multipart) on a server, which nobody has completed or aborted."""
    FILE = "file"
    """A temporary file or object, or one without what it belongs to."""
    DIRECTORY = "directory"
    """A directory with nothing in it."""
    ATTACHMENT = "attachment"
    """An attachment that the application does not refer to."""
    FAILED = "failed"
    """It could not be removed or looked at, for the reason given."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that a storage has found."""

    kind: GarbageKind
    name: str
    """Where it stands in the storage."""
    since: datetime.datetime
    """Since when it has been of no use (aware, UTC)."""
    size: int
    """In bytes."""
    clear: Callable[[], bool]
    """Remove it, unless it is in use after all: False then. May raise whatever a hook may."""
