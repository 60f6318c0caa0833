"""The product broken on purpose, so that one sees that each part of the campaign can fail."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BREAKS"]

_fsync = os.fsync


def _sync_nothing() -> None:
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - mypy forbids to assign it


def _sync_directories() -> None:
    """Sync no file."""

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            _fsync(fd)

    setattr(os, "fsync", fsync)  # noqa: B010 - as above


BREAKS: dict[str, Callable[[], object]] = {
    "": lambda: None,
    "sync nothing": _sync_nothing,
    "sync directories": _sync_directories,
}
"""What may be broken, in the process that calls it and its children."""
