"""The root of a directory of attachments: its marker and its identity.

If a disk is not mounted, its mount point is an empty directory. The marker tells the root from that
directory, and a process that has opened a root accepts no other root.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

from rex.attach.backends.local.directory import (
    DIRECTORY_MODE,
    Directory,
    NewFile,
    open_file,
    sync_directory,
)
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MARKER", "PLACE", "Tree"]

MARKER = ".rex-attach"
"""The file that marks a directory as a root; it holds a UUID. Listings skip it."""

PLACE = ".uploads"
"""The directory of resumable uploads, below the root. Listings skip it."""


class _Identity(NamedTuple):
    """The identity of a root when it was first opened."""

    directory: Directory
    """Open, so that no other directory can get its inode number."""
    marker: str | None


class Tree:
    """The directory tree of a storage, opened by its path for each operation.

    Errors of `open`: `UNAVAILABLE` if the directory does not exist, or is not the directory that
    was first opened. A disk that was unmounted and mounted again is recognised by its marker.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.real_path = path
        """The path without symbolic links, as it was when the root was first opened."""
        self._known: _Identity | None = None

    def __repr__(self) -> str:
        return f"Tree({self.path!r})"

    @contextmanager
    def hold_open(self) -> Iterator[int]:
        """Open the root, and check that it is the root that was first opened."""
        fd = self.open()
        try:
            yield fd
        finally:
            os.close(fd)

    def open(self) -> int:
        """Open the root; the caller closes it."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise Error(
                "The directory of attachments does not exist",
                f"{self.path}: mount its disk, or create it: storage.check(), rex attach init",
                kind=Kind.UNAVAILABLE,
                code="no-directory",
            ) from None
        try:
            self._recognise(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def is_on_device(self, device: int) -> bool:
        """Return whether the root that was first opened is on a device (``st_dev``)."""
        return self._known is not None and self._known.directory.device == device

    def forget(self) -> None:
        """Release the root; the next directory to be opened at its path becomes the root."""
        self._known = None

    def marker(self) -> str | None:
        """Return the UUID in the marker of the root, or None without a marker."""
        with self.hold_open() as fd:
            return _read_marker(fd)

    def mark(self) -> bool:
        """Create the marker of the root, durably; return False if it exists."""
        with self.hold_open() as fd:
            if _read_marker(fd) is not None:
                return False
            with NewFile(fd) as file:
                file.write(f"{uuid4()}\n".encode())
                os.fsync(file.fd)
                with suppress(FileExistsError):  # another process was first
                    file.link(MARKER, fd)
            sync_directory(fd)
            marker = _read_marker(fd)
            if self._known is not None:
                self._known = self._known._replace(marker=marker)
            return True

    def make(self) -> bool:
        """Create the root if only its last component is missing; return whether it was created."""
        try:
            os.mkdir(self.path, DIRECTORY_MODE)
        except FileExistsError:
            return False
        os.chmod(self.path, DIRECTORY_MODE)
        parent = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_directory(parent)
        finally:
            os.close(parent)
        return True

    def _recognise(self, fd: int) -> None:
        status, known = os.fstat(fd), self._known
        if known is not None and known.directory.is_same(status):
            return
        marker = _read_marker(fd)
        if known is not None and (marker is None or marker != known.marker):
            raise Error(
                "The directory of attachments is not the directory that this process started with",
                f"{self.path}: mount its disk again, or restart the process",
                kind=Kind.UNAVAILABLE,
                code="other-directory",
            )
        self._known = _Identity(Directory(self.path, os.dup(fd)), marker)
        self.real_path = os.path.realpath(self.path)


def _read_marker(root: int) -> str | None:
    try:
        fd, _ = open_file(MARKER, root)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        text = file.read(100)
    try:
        return str(UUID(text.decode().strip()))
    except ValueError:
        return None
