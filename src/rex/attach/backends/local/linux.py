"""System calls of Linux for files that the standard library does not offer.

On other systems, on older kernels, and in a sandbox that forbids the calls, these functions return
None or do nothing.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["can_sync_all", "check_written", "open_without_links", "start_writing", "sync_all"]

OPENAT2 = 437
"""The number of the system call on these machines (linux/asm-generic/unistd.h)."""
MACHINES = frozenset({"x86_64", "aarch64", "riscv64", "ppc64le", "s390x"})

_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_CACHED = 0x20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_USUAL, _CACHED = (
    struct.pack("=QQQ", _FLAGS, 0, _RESOLVE_NO_SYMLINKS | more)  # struct open_how
    for more in (0, _RESOLVE_CACHED)
)
_FORBIDDEN = frozenset({errno.ENOSYS, errno.EPERM})
_SYNC_FILE_RANGE_WAIT_BEFORE = 1
_SYNC_FILE_RANGE_WRITE = 2
_SYNCING_ALL = frozenset({"ext4", "xfs"})
"""The file systems whose behaviour after an error of the disk is known."""
_REPORTS_ALL = (5, 17)
"""The first Linux whose syncfs reports an error of the file system, and not of the data alone."""


def open_without_links(path: str, *, is_cached: bool = False) -> int | None:
    """Open an absolute path for reading; return None on any failure.

    No part of the path may be a symbolic link (openat2(2), Linux 5.6). A fifo or a device opens
    without blocking. With `is_cached`, the kernel resolves the path from its caches alone, without
    waiting for a disk or a server (Linux 5.12).
    """
    call = _openat2()
    return None if call is None else call(path, _CACHED if is_cached else _USUAL)


def start_writing(fd: int, start: int, size: int) -> None:
    """Start writing a byte range of a file from memory to the disk.

    This neither waits nor makes the bytes durable; it only shortens a later sync
    (sync_file_range(2)).
    """
    libc = _libc()
    if libc is not None and hasattr(libc, "sync_file_range"):
        libc.sync_file_range(fd, start, size, _SYNC_FILE_RANGE_WRITE)


def can_sync_all(fd: int) -> bool:
    """Check whether `sync_all` is as sure as fsync(2), on the file system of an open file."""
    libc = _libc()
    if libc is None or not (hasattr(libc, "syncfs") and hasattr(libc, "sync_file_range")):
        return False
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < _REPORTS_ALL:
        return False
    return _type_of(os.fstat(fd).st_dev) in _SYNCING_ALL


def sync_all(fd: int) -> None:
    """Make all files and names on the file system of an open file durable (syncfs(2)).

    Errors: `OSError`, but none if the file system has become read-only after an earlier error.
    """
    _raise_failure(_libc().syncfs(fd))


def check_written(fd: int) -> None:
    """Check that the disk took all bytes of an open file that were written from memory to it.

    The kernel keeps a failure for each open file until it has told its process
    (sync_file_range(2)).
    """
    _raise_failure(_libc().sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WAIT_BEFORE))


def _raise_failure(result: int) -> None:
    """Raise the `OSError` of a call to the C library, unless it succeeded."""
    if result != 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _type_of(device: int) -> str | None:
    """Return the type of a mounted file system, by its device number (proc(5), mountinfo)."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                place, _, rest = line.partition(" - ")
                if place.split()[2] == wanted:
                    return rest.split()[0]
    except (OSError, IndexError):
        pass
    return None


@functools.cache
def _libc() -> Any:
    """Return the C library on Linux, or None elsewhere."""
    if os.uname().sysname != "Linux" or os.uname().machine not in MACHINES:
        return None
    try:
        import ctypes
    except ImportError:  # a Python without it, or too many open files
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.syscall.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
    )
    if hasattr(libc, "sync_file_range"):
        libc.sync_file_range.argtypes = (
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_uint,
        )
    return libc


@functools.cache
def _openat2() -> Callable[[str, bytes], int | None] | None:
    libc = _libc()
    if libc is None:
        return None
    import ctypes

    syscall = libc.syscall

    def call(path: str, how: bytes) -> int | None:
        fd: int = syscall(OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how))
        return fd if fd >= 0 else None

    probe = call("/", _USUAL)
    if probe is not None:
        os.close(probe)
    elif ctypes.get_errno() in _FORBIDDEN:
        return None
    return call
