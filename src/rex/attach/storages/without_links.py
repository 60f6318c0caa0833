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
_RESOLVE_CACHED = 0x20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_USUAL, _CACHED = (
    struct.pack("=QQQ", _FLAGS, 0, _RESOLVE_NO_SYMLINKS | more)  # struct open_how
    for more in (0, _RESOLVE_CACHED)
)
_FORBIDDEN = frozenset({errno.ENOSYS, errno.EPERM})


def open_without_links(path: str, *, is_cached: bool = False) -> int | None:
    """Open what stands at an absolute path for reading, or give None for whatever reason.

    No part of the path may be a link. A fifo or a device may be opened, and keeps nobody waiting.
    With `is_cached`, no disk and no server is asked for any part of the path (Linux 5.12).
    """
    call = _openat2()
    return None if call is None else call(path, _CACHED if is_cached else _USUAL)


@functools.cache
def _openat2() -> Callable[[str, bytes], int | None] | None:
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

    def call(path: str, how: bytes) -> int | None:
        fd: int = syscall(OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how))
        return fd if fd >= 0 else None

    probe = call("/", _USUAL)
    if probe is not None:
        os.close(probe)
    elif ctypes.get_errno() in _FORBIDDEN:
        return None
    return call
