"""Directories and files below one root, durable and without following symbolic links.

Every function works relative to an open directory, so that no file planted in the root leads
outside it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from rex.attach.backends.local.linux import start_writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "DIRECTORY_MODE",
    "NOTHING_THERE",
    "STARTED_SIZE",
    "Directory",
    "NewFile",
    "OpenFile",
    "descend",
    "make_directory",
    "open_directory",
    "open_file",
    "sync_directory",
    "write_all",
]

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""The entry is missing, a symbolic link or of another type; other errors propagate."""
STARTED_SIZE = 4 * 1024 * 1024
"""The number of bytes after which the disk begins to write, while more bytes arrive."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CLOEXEC
_TMPFILE = getattr(os, "O_TMPFILE", None)
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS})


class Directory:
    """An open directory, closed with the last reference to it."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd
        self._status = os.fstat(fd)
        self.device = self._status.st_dev
        """The device of the directory (``st_dev``)."""

    def __del__(self) -> None:
        os.close(self.fd)

    def is_same(self, status: os.stat_result) -> bool:
        """Return whether a status is the status of this directory.

        While the directory is open, no other directory can get its inode number.
        """
        return os.path.samestat(status, self._status)

    def still_at(self, root: int) -> bool:
        """Return whether the path below the root still leads to this directory."""
        try:
            return self.is_same(os.stat(self.path, dir_fd=root, follow_symlinks=False))
        except OSError:
            return False


def open_directory(name: str, parent: int) -> int:
    """Open a directory that is not a symbolic link."""
    return os.open(name, _DIRECTORY, dir_fd=parent)


def make_directory(name: str, parent: int) -> int:
    """Open a directory; create it if it is missing. Nothing is synced."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return open_directory(name, parent)
    fd = open_directory(name, parent)
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    wanted = DIRECTORY_MODE | (mode & stat.S_ISGID)
    if mode != wanted:
        os.fchmod(fd, wanted)
    return fd


def sync_directory(fd: int) -> None:
    """Make the names in an open directory durable.

    After XFS has shut a file system down, fsync of a directory still returns 0, and fstat fails.
    """
    os.fsync(fd)
    os.fstat(fd)


@contextmanager
def descend(root: int, names: Sequence[str]) -> Iterator[list[int]]:
    """Open the directories of a path below the root; yield all of them, the root first."""
    opened = [root]
    try:
        for name in names:
            opened.append(open_directory(name, opened[-1]))
        yield opened
    finally:
        for fd in opened[1:]:
            os.close(fd)


def open_file(name: str, parent: int, flags: int = os.O_RDONLY) -> tuple[int, os.stat_result]:
    """Open a regular file that is not a symbolic link, for reading by default.

    Raise FileNotFoundError for anything else: a fifo, a device, a directory.
    """
    fd = os.open(name, flags | _FILE, dir_fd=parent)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "not a regular file")


class NewFile:
    """A file without a name until it is complete.

    On file systems with O_TMPFILE, the file vanishes with its process. Elsewhere, until it is
    closed, the file has a name beginning with ``.partial-`` in the root and is locked.
    """

    def __init__(self, root: int, mode: int = FILE_MODE) -> None:
        self._root = root
        self._partial: str | None = None
        self._size = 0
        self._started = 0
        self.fd = self._open_unnamed(mode)
        if self.fd < 0:
            self._partial = f".partial-{os.urandom(16).hex()}"
            flags = _NEW_FILE | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self.fd = os.open(self._partial, flags, mode, dir_fd=root)
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(self.fd, mode)

    def _open_unnamed(self, mode: int) -> int:
        if _TMPFILE is None or not os.path.exists("/proc/self/fd"):
            return -1
        try:
            return os.open(".", _NEW_FILE | _TMPFILE, mode, dir_fd=self._root)
        except OSError as failure:
            if failure.errno in _NO_TMPFILE:
                return -1
            raise

    @property
    def is_unnamed(self) -> bool:
        """Whether the file has no name yet."""
        return self._partial is None

    def write(self, chunk: bytes | memoryview) -> None:
        """Append the chunk; the disk begins to write early, so that the sync is short."""
        write_all(self.fd, chunk)
        self._size += len(chunk)
        if self._size - self._started >= STARTED_SIZE:
            start_writing(self.fd, self._started, self._size - self._started)
            self._started = self._size

    def link(self, name: str, parent: int) -> None:
        """Link the file to a name; raise FileExistsError, changing nothing, if the name exists."""
        if self._partial is None:
            # Without `src_dir_fd`, CPython 3.11 would link the link in /proc, and not the file.
            source, source_parent = f"/proc/self/fd/{self.fd}", self.fd
        else:
            source, source_parent = self._partial, self._root
        os.link(
            source,
            name,
            src_dir_fd=source_parent,
            dst_dir_fd=parent,
            follow_symlinks=self._partial is None,
        )

    def replace(self, name: str, parent: int) -> None:
        """Link the file to a name, replacing any file of that name."""
        temporary = f".partial-{os.urandom(16).hex()}"
        self.link(temporary, parent)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._partial is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._partial, dir_fd=self._root)
            with suppress(OSError):  # a forked process may have the file open too
                fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)


class OpenFile:
    """An open file with a name, which gets a second name."""

    def __init__(self, fd: int, name: str, parent: int) -> None:
        self.fd = fd
        self._name = name
        self._parent = parent

    def link(self, name: str, parent: int) -> None:
        """Link the file to a second name; raise FileExistsError if the name exists."""
        os.link(self._name, name, src_dir_fd=self._parent, dst_dir_fd=parent, follow_symlinks=False)


def write_all(fd: int, chunk: bytes | memoryview) -> None:
    """Write all of the chunk at the current position of the file."""
    written = os.write(fd, chunk)
    if written < len(chunk):
        rest = memoryview(chunk)
        while written < len(rest):
            written += os.write(fd, rest[written:])
