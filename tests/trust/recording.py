"""The application of `trust.hooks`: it records each upload in a file, durably and slowly."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach import StoredUpload

LOG = "HOOK_LOG"
"""The environment variable with the path of the file."""
MAX_PAUSE = 0.03
"""Seconds."""
BREAK = "HOOK_BREAK"
"""The environment variable that makes the service call ``on_stored`` after the response."""


def complete(_: StoredUpload) -> None:
    """Take a while."""
    _pause()


def stored(upload: StoredUpload) -> None:
    """Record the handle; the file is synced before the client is acknowledged."""
    _pause()
    with open(os.environ[LOG], "ab", buffering=0) as log:  # noqa: PTH123 - unbuffered
        # A kill may cut a line at the end of a page of memory, so each begins with a line break.
        log.write(f"\n{json.dumps(upload.handle)}\n".encode())
        os.fsync(log)
    _pause()


def read(log: Path) -> Iterator[str]:
    """Yield the handles of a file, but not one that a kill has cut."""
    for line in log.read_text().split("\n"):
        with suppress(ValueError):
            yield json.loads(line)


def _break() -> None:
    from rex.attach.storage.hooks import Hooks

    call: Any = Hooks.stored

    def call_later(self: Hooks, upload: StoredUpload) -> None:
        threading.Thread(target=call, args=(self, upload)).start()

    setattr(Hooks, "stored", call_later)  # noqa: B010 - mypy forbids to assign it


def _pause() -> None:
    time.sleep(random.uniform(0, MAX_PAUSE))


if BREAK in os.environ:
    _break()
