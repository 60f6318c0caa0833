"""A path opened in one call that follows no link at all, where the system can: openat2(2).

Linux has it since 5.6, and the standard library not yet. A sandbox may forbid it. Whoever gets
None walks the path one directory at a time, which finds the same and takes a call for each.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["open_without_links"]

OPENAT2 = 437
"""The number of the call, on these machines (linux/asm-generic/unistd.h)."""
MACHINES = frozenset({"x86_64", "aarch64", "riscv64", "ppc64le", "s390x"})

_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS = 0x04
_FORBIDDEN = frozenset({errno.ENOSYS, errno.EPERM})


def open_without_links(path: str) -> int | None:
    """Open what stands at an absolute path for reading, or give None for whatever reason.

    No part of the path may be a link. A fifo or a device may be opened, and keeps nobody waiting.
    """
    call = _openat2()
    return None if call is None else call(path)


@functools.cache
def _openat2() -> Callable[[str], int | None] | None:
    if os.uname().sysname != "Linux" or os.uname().machine not in MACHINES:
        return None
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
    )
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    how = struct.pack("=QQQ", flags, 0, _RESOLVE_NO_SYMLINKS)  # struct open_how

    def call(path: str) -> int | None:
        fd: int = syscall(OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how))
        return fd if fd >= 0 else None

    probe = call("/")
    if probe is not None:
        os.close(probe)
    elif ctypes.get_errno() in _FORBIDDEN:
        return None
    return call
