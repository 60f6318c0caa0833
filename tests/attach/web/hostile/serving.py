"""The program `rex` as it is, but that it logs all it can, and may keep attachments in memory."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from rex.attach import opening
from rex.core import server
from rex.core.cli import main

configured = vars(server)["log_configuration"]


def log_all(*args: Any, **options: Any) -> dict[str, Any]:
    """Return the configuration of the log, with all lines of all libraries."""
    found = configured(*args, **options)
    return {**found, "root": {**found["root"], "level": "DEBUG"}}


vars(server)["log_configuration"] = log_all

if "IN_MEMORY" in os.environ:  # which is nothing that a setting could ask for
    local, *_, memory = opening.BACKENDS
    opening.BACKENDS = (dataclasses.replace(local, factory=memory.factory),)

if __name__ == "__main__":
    main()
