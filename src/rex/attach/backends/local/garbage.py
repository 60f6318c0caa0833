"""Garbage in a directory: temporary files, incomplete upload files, empty directories."""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import re
import stat
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rex.attach.backend.garbage import Garbage, GarbageKind
from rex.attach.backends.local.attributes import beside
from rex.attach.backends.local.directory import NOTHING_THERE, open_directory, open_file
from rex.attach.backends.local.tree import PLACE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["find_garbage"]

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{32}")
_HALF = re.compile(r"([0-9a-f-]{36})\.(data|key)")
_RECORD = re.compile(r"\.[0-9a-f]{16}\.json")
_LEVELS = [re.compile(pattern) for pattern in (r"\d{4}", r"\d\d", r"\d\d", "[0-9a-f-]{36}")]
"""The names of the directories of attachments, by level; other directories are ignored."""


def find_garbage(root: int, before: datetime.datetime) -> Iterator[Garbage]:
    """Yield the garbage older than `before` in an open directory of attachments."""
    yield from _partials(root, "", before)
    place = _open(PLACE, root)
    if place is not None:
        try:
            yield from _partials(place, f"{PLACE}/", before)
            yield from _halves(place, before)
        finally:
            os.close(place)
    yield from _empty(root, "", before)


def _partials(parent: int, prefix: str, before: datetime.datetime) -> Iterator[Garbage]:
    """Yield abandoned temporary files; a process that still writes to a file locks it."""
    for name in sorted(os.listdir(parent)):
        if _PARTIAL.fullmatch(name):
            yield from _file_garbage(parent, prefix, name, before)


def _halves(place: int, before: datetime.datetime) -> Iterator[Garbage]:
    """Yield data files without a record and records without data (`LocalResumable`)."""
    names = set(os.listdir(place))
    for name in sorted(names):
        half = _HALF.fullmatch(name)
        if half is None:
            continue
        identifier, kind = half.groups()
        other = f"{identifier}.{'key' if kind == 'data' else 'data'}"
        if other not in names:
            yield from _file_garbage(place, f"{PLACE}/", name, before, unless=other)


def _file_garbage(
    parent: int, prefix: str, name: str, before: datetime.datetime, unless: str | None = None
) -> Iterator[Garbage]:
    """Yield the file if it is old and not locked, and the file `unless` does not exist."""
    status = _status(name, parent)
    if status is None or not stat.S_ISREG(status.st_mode) or _modification_time(status) >= before:
        return

    def clear(*, dry_run: bool = False) -> bool:
        try:
            with _lock(name, parent):
                if unless is not None and _status(unless, parent) is not None:
                    return False
                if not dry_run:
                    os.unlink(name, dir_fd=parent)
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    if clear(dry_run=True):
        yield Garbage(
            GarbageKind.FILE, prefix + name, _modification_time(status), status.st_size, clear
        )


def _empty(parent: int, prefix: str, before: datetime.datetime) -> Generator[Garbage, None, bool]:
    """Yield empty directories, innermost first; return whether `parent` would be empty then."""
    level = prefix.count("/")
    if level == len(_LEVELS):
        return (yield from _records(parent, prefix, before))
    is_empty = True
    for name in sorted(os.listdir(parent)):
        child = _open(name, parent) if _LEVELS[level].fullmatch(name) else None
        if child is None:
            is_empty = False
            continue
        try:
            # Read it now: removing an entry updates the modification time.
            modified = _modification_time(os.fstat(child))
            is_child_empty = yield from _empty(child, f"{prefix}{name}/", before)
        finally:
            os.close(child)
        if is_child_empty and modified < before:
            clear = partial(_remove_directory, name, parent)
            yield Garbage(GarbageKind.DIRECTORY, prefix + name, modified, 0, clear)
        else:
            is_empty = False
    return is_empty


def _records(parent: int, prefix: str, before: datetime.datetime) -> Generator[Garbage, None, bool]:
    """Yield sidecar files of missing attachments; return whether the directory is empty then."""
    names = set(os.listdir(parent))
    kept = names - {name for name in names if _RECORD.fullmatch(name)}
    kept |= {beside(name) for name in kept} & names
    for name in sorted(names - kept):
        found = [*_file_garbage(parent, prefix, name, before)]
        yield from found
        kept |= set() if found else {name}
    return not kept


def _remove_directory(name: str, parent: int) -> bool:
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    except OSError as failure:
        if failure.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


@contextmanager
def _lock(name: str, parent: int) -> Iterator[None]:
    fd, _ = open_file(name, parent, os.O_WRONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _open(name: str, parent: int) -> int | None:
    """Open a directory; return None if it does not exist."""
    try:
        return open_directory(name, parent)
    except OSError as failure:
        if failure.errno in NOTHING_THERE:
            return None
        raise


def _status(name: str, parent: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _modification_time(status: os.stat_result) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
