"""Ids of blocks: the tag of an upload, the offset of the block and its size."""

from __future__ import annotations

import base64
import re
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rex.attach.backends.azure.control import Block

__all__ = ["Chained", "block_id", "chain", "new_tag", "read_id", "tagged_at"]

_FORM = re.compile("([0-9a-f]{16})([0-9a-f]{16})([0-9a-f]{8})")


class Chained(NamedTuple):
    """A block in the chain of an upload."""

    id: str
    size: int
    is_committed: bool


def new_tag() -> str:
    """Return the tag of an upload: the time in seconds since 1970, and a random number."""
    return f"{int(time.time()):08x}{secrets.token_hex(4)}"


def tagged_at(tag: str) -> int:
    """Return when a tag was made, in seconds since 1970."""
    return int(tag[:8], 16)


def block_id(tag: str, offset: int, size: int) -> str:
    """Return the id of a block; all ids in a blob must have the same length."""
    return base64.b64encode(f"{tag}{offset:016x}{size:08x}".encode()).decode()


def read_id(given: str) -> tuple[str, int, int]:
    """Return the tag, offset and size in the id of a block; the tag is empty in a foreign id."""
    try:
        found = _FORM.fullmatch(base64.b64decode(given, validate=True).decode("ascii"))
    except ValueError:
        found = None
    return ("", 0, 0) if found is None else (found[1], int(found[2], 16), int(found[3], 16))


def chain(blocks: Iterable[Block], tag: str) -> list[Chained]:
    """Return the longest chain of an upload's blocks: each begins where the one before it ends."""
    by_offset: dict[int, list[Chained]] = {}
    for block in blocks:
        found, offset, size = read_id(block.id)
        if found == tag and size == block.size > 0:
            by_offset.setdefault(offset, []).append(Chained(*block))
    best: dict[int, tuple[int, Chained | None]] = {}
    for offset in sorted(by_offset, reverse=True):
        candidates = by_offset[offset]
        ends = [
            (best.get(offset + each.size, (offset + each.size, None))[0], each)
            for each in candidates
        ]
        best[offset] = max(ends, key=lambda pair: pair[0])
    found_chain: list[Chained] = []
    offset = 0
    while offset in best:
        block_there = best[offset][1]
        assert block_there is not None  # noqa: S101 - set above
        found_chain.append(block_there)
        offset += block_there.size
    return found_chain
