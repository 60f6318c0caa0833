"""The program `rex` as it is, but that it logs all it can, and may keep attachments in memory."""

from __future__ import annotations

import dataclasses
import logging
import os

from rex.attach import opening
from rex.core.cli import main

logging.basicConfig(level=logging.DEBUG)

if "IN_MEMORY" in os.environ:  # which is nothing that a setting could ask for
    local, _, memory = opening.BACKENDS
    opening.BACKENDS = (dataclasses.replace(local, factory=memory.factory),)

if __name__ == "__main__":
    main()
