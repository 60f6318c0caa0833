"""Attachments of any content, type and name, and what must be equal wherever they go."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rex.attach.storage import Storage

SIZES = (0, 1, 1000, 100_000)
LARGE = 9 * 1024 * 1024
"""More than any server gets in one request."""
NAMES = ("a.txt", "ü b.png", "c.tar.gz", "no extension", "100%.pdf", "中文 & +.txt")


def fill(storage: Storage, number: int) -> None:
    """Add attachments, one of a hundred of them large: the 51st, the 151st and so on."""
    chance = random.Random(16)  # noqa: S311 - contents, no secrets
    for each in range(number):
        size = LARGE if each % 100 == 50 else chance.choice(SIZES)
        name = NAMES[each % len(NAMES)]
        storage.add(name, chance.randbytes(size), content_type=f"text/x-{each % 7}")


def described(storage: Storage) -> dict[str, tuple[int, str, str | None]]:
    """Return the size, type and digest of each attachment."""
    found = {}
    for handle in storage:
        info = storage.info(handle)
        found[handle] = info.size, info.content_type, info.digest
    return found
