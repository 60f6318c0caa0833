"""Listings of a directory: the keys of attachments, and unknown keys."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from rex.attach.backends.local.directory import NOTHING_THERE, open_directory
from rex.attach.handle import handle_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["keys", "unknown_keys"]

DEPTH = 5
"""The parts of a key: year, month, day, identifier, name."""


def keys(parent: int, prefix: str, only: list[str], after: list[str]) -> Iterator[str]:
    """Yield the keys below an open directory in order, with one directory per level in memory.

    `only` has the names of the directories to descend into, level by level. `after` has the
    remaining parts of the key to start after, if that key is in this directory.
    """
    is_last = prefix.count("/") == DEPTH - 1
    for name in only[:1] or sorted(_names(parent, files=is_last)):
        if after and name < after[0]:
            continue
        here = after[1:] if after and name == after[0] else []
        if is_last:
            if not after or name != after[0]:
                yield prefix + name
            continue
        try:
            child = open_directory(name, parent)
        except OSError as failure:
            if failure.errno in NOTHING_THERE:
                continue
            raise
        try:
            yield from keys(child, f"{prefix}{name}/", only[1:], here)
        finally:
            os.close(child)


def _names(parent: int, *, files: bool) -> Iterator[str]:
    with os.scandir(parent) as entries:
        for entry in entries:
            wanted = entry.is_file if files else entry.is_dir
            if not entry.name.startswith(".") and wanted(follow_symlinks=False):
                yield entry.name


_OURS = re.compile(r"\.(?:rex-attach|secret|uploads|partial-[0-9a-f]{32})")
_BESIDE = re.compile(r"\.[0-9a-f]{16}\.json")
"""The names that `attributes.beside` returns."""


def unknown_keys(parent: int, prefix: str = "") -> Iterator[str]:
    """Yield the unknown keys below an open directory: files that no storage made.

    Directories are not included, and symbolic links are not followed. A byte that is not UTF-8
    becomes a surrogate, as in all file names in Python.
    """
    for name in sorted(os.listdir(parent)):
        key = prefix + name
        depth = key.count("/")
        if (not depth and _OURS.fullmatch(name)) or (
            depth == DEPTH - 1 and _BESIDE.fullmatch(name)
        ):
            continue
        try:
            child = open_directory(name, parent)
        except OSError as failure:
            if failure.errno not in NOTHING_THERE:
                raise
            if handle_of(key) is None and os.path.lexists(f"/proc/self/fd/{parent}/{name}"):
                yield key
            continue
        try:
            yield from unknown_keys(child, f"{key}/")
        finally:
            os.close(child)
