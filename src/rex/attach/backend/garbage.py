"""Garbage: abandoned uploads, temporary files and the like, which a sweep removes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

__all__ = ["Garbage", "GarbageKind"]


class GarbageKind(enum.Enum):
    """The kind of garbage."""

    UPLOAD = "upload"
    """A resumable upload that has expired."""
    PARTS = "parts"
    """A multipart upload on a server that was neither completed nor aborted."""
    FILE = "file"
    """A temporary file or object, or a file whose attachment or upload is missing."""
    DIRECTORY = "directory"
    """An empty directory."""
    ATTACHMENT = "attachment"
    """An orphan: an attachment that the application does not refer to."""
    FAILED = "failed"
    """Garbage that could not be inspected or removed, for the given reason."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """An item of garbage that a backend has found."""

    kind: GarbageKind
    name: str
    """The path or key of the item in the storage."""
    since: datetime.datetime
    """The time since which the item is unused (aware, UTC)."""
    size: int
    """In bytes."""
    clear: Callable[[], bool]
    """Removes the item; returns False if the item is in use. May raise any exception."""
