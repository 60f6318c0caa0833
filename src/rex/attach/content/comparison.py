"""Verification of the digest while an attachment is read from start to end."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from rex.attach.info import is_unchanged
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from rex.attach.info import Info, Metadata

__all__ = ["Comparison", "check_unchanged", "compare", "load_sha256"]


class Comparison:
    """Hash the bytes that a reader is about to return, and verify the digest before the last ones.

    Only sequential reading is verified: after a seek, verification stops until the reader returns
    to the first byte.
    """

    def __init__(self, info: Info) -> None:
        self._info = info
        self._hash: _Hash | None = None
        self._position = 0

    def update(self, position: int, data: bytes | memoryview) -> None:
        """Hash bytes that are about to be returned; `position` is the offset of the first one.

        Errors: `CORRUPT` if these are the last bytes and the digest differs; again at each
        attempt to read them.
        """
        if self._info.digest is None:
            return
        if position == 0:
            self._hash = load_sha256()()
        elif position != self._position:
            self._hash = None
        if self._hash is None:
            return
        end = position + len(data)
        is_last = end == self._info.size
        found = self._hash.copy() if is_last else self._hash
        found.update(data)
        if is_last:
            _check(self._info, found)
        else:
            self._position = end


def compare(info: Info, content: bytes | memoryview) -> None:
    """Verify the digest of a whole attachment. Errors: `CORRUPT`."""
    if info.digest is not None:
        _check(info, load_sha256()(content))


def check_unchanged(now: Info | Metadata, before: Info) -> None:
    """Check that an attachment still has the content of before. Errors: `CORRUPT`."""
    if not is_unchanged(now, before):
        raise Error("Attachment changed while being read", before.handle, kind=Kind.CORRUPT)


@functools.cache
def load_sha256() -> Callable[..., _Hash]:
    """Return `hashlib.sha256`, imported at the first use: its import is slow."""
    from hashlib import sha256

    return sha256


def _check(info: Info, found: _Hash) -> None:
    if found.hexdigest() != info.digest:
        raise Error(
            "Attachment is damaged",
            f"{info.handle}: expected SHA-256 {info.digest}, got {found.hexdigest()}",
            kind=Kind.CORRUPT,
        )
