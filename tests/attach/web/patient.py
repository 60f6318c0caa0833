"""The program `rex` as it is, but that it waits for silent clients as long as a test does.

On a busy machine, every client is silent for a while. An import makes other programs as patient.
"""

from __future__ import annotations

from programs import PATIENCE
from rex.core import staged_close
from rex.core.cli import main

staged_close.SILENT_SECONDS = staged_close.MAX_SECONDS = PATIENCE

if __name__ == "__main__":
    main()
