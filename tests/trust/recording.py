"""The application of `trust.hooks`: it records each upload in a file, durably and slowly."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        log.write(f"{upload.handle}\n".encode())
        os.fsync(log)
    _pause()


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
