"""Tails of resumable uploads: objects with the bytes after the last part.

A tail that a part has taken bytes from still counts for the others, so that the acknowledged offset
of an upload never decreases. The name of a tail has the offset of its first byte, and its size.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rex.attach.backend.resumable import continued_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rex.attach.backends.objects.objects import Objects

__all__ = ["Tail", "longest_tail", "read_tail", "replace_tail"]

_NAME = re.compile(r"tail-([0-9]{1,18})-([0-9]{1,18})")


class Tail(NamedTuple):
    """A tail; if it has no bytes, there is none."""

    start: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """The name of its object in the folder of the upload."""
        return f"tail-{self.start}-{self.size}"

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.start + self.size


def longest_tail(names: Iterable[str], kept: int) -> Tail:
    """Return the tail that goes farthest, of those that follow or overlap the first `kept` bytes.

    `names` are those of all objects in the folder of the upload.
    """
    tails = (Tail(int(m[1]), int(m[2])) for name in names if (m := _NAME.fullmatch(name)))
    reached = (tail for tail in tails if tail.start <= kept)
    return max(reached, key=lambda tail: tail.end, default=Tail())


class _State(Protocol):
    """The state of an upload with a tail."""

    @property
    def key(self) -> str: ...
    @property
    def kept(self) -> int: ...
    @property
    def tail(self) -> Tail: ...


def read_tail(objects: Objects, folder: str, state: _State) -> bytes:
    """Return the bytes after the `kept` ones, from the tail in the folder of the upload.

    Errors: `CONFLICT` if another server continued the upload and removed the tail.
    """
    if state.tail.end <= state.kept:
        return b""
    try:
        data = objects.read(f"{folder}{state.tail.name}")
    except FileNotFoundError:
        raise continued_elsewhere(state.key) from None
    return data[state.kept - state.tail.start :]


def replace_tail(objects: Objects, folder: str, before: Tail, kept: int, data: bytes) -> None:
    """Store the bytes after the first `kept`, then remove the tail that was `before`."""
    tail = Tail(kept, len(data))
    objects.write(f"{folder}{tail.name}", data)
    if before.size and before != tail:
        objects.delete(f"{folder}{before.name}")
