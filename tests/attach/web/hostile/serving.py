"""The program `rex` as it is, but that it logs all it can, and may keep attachments in memory."""

from __future__ import annotations

import logging
import os

from rex.attach import opening as wiring
from rex.attach.backends.memory import MemoryStorage
from rex.core.cli import main

logging.basicConfig(level=logging.DEBUG)

if "IN_MEMORY" in os.environ:  # which is nothing that a setting could ask for
    wiring._KINDS[wiring.DIRECTORY] = lambda settings: MemoryStorage(**wiring._options(settings))

if __name__ == "__main__":
    main()
