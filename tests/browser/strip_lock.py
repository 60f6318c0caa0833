"""Take the addresses of sponsors out of a lock file, in which npm writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    path = Path(sys.argv[1])
    lock = json.loads(path.read_text())
    for package in lock["packages"].values():
        package.pop("funding", None)
    path.write_text(json.dumps(lock, indent=2) + "\n")
