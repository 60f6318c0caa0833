"""Whether this system opens in one call what is no link, and tells what of it is in memory."""

from __future__ import annotations

import tempfile

from rex.attach.backends.local.storage import LocalStorage

__all__ = ["LACKING", "READS_AT_ONCE"]


def _probe() -> bool:
    with tempfile.TemporaryDirectory() as directory, LocalStorage(directory) as storage:
        return storage.read_cached(storage.add("a.txt", b"content")) is not None


READS_AT_ONCE = _probe()
LACKING = () if READS_AT_ONCE else ("reading at once (needs openat2 and a file system that can)",)
"""For `LEFT_OUT`."""
