"""What is read of an attachment from its first byte to its last, compared with its SHA-256."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.core import Error, Kind

if TYPE_CHECKING:
    from hashlib import _Hash

    from rex.attach.info import Info

__all__ = ["Comparison", "compare"]


class Comparison:
    """Hashes what a reader is about to return, and compares it before the last bytes are returned.

    Only reading in order is compared: at a byte that does not follow on the one before, the
    comparison ends, and at the first byte of the attachment it begins again.
    """

    def __init__(self, info: Info) -> None:
        self._info = info
        self._hash: _Hash | None = None
        self._position = 0

    def update(self, position: int, data: bytes | memoryview) -> None:
        """Take note of bytes that are about to be returned, which begin at a position.

        Errors: `CORRUPT` when they are the last ones and the SHA-256 of all is another, each time
        they are about to be returned.
        """
        if self._info.digest is None:
            return
        if position == 0:
            from hashlib import sha256

            self._hash = sha256()
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
    """Compare all bytes of an attachment. Errors: `CORRUPT`."""
    if info.digest is not None:
        from hashlib import sha256

        _check(info, sha256(content))


def _check(info: Info, found: _Hash) -> None:
    if found.hexdigest() != info.digest:
        raise Error(
            "Attachment is damaged",
            f"{info.handle}: its SHA-256 is {found.hexdigest()}, and was {info.digest}",
            kind=Kind.CORRUPT,
        )
