"""The client tus-js-client, under node; what it uploads, curl downloads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
IS_INSTALLED = (HERE.parents[2] / "browser/node_modules/tus-js-client").is_dir()


def upload(url: str, file: Path) -> str:
    """Upload a file with one request beside that which begins it."""
    return _upload(url, file, {})


def upload_in_parallel(url: str, file: Path) -> str:
    """Upload three parts of a file at the same time, and have them joined."""
    return _upload(url, file, {"parallelUploads": 3})


def _upload(url: str, file: Path, options: dict[str, object]) -> str:
    service = f"{url}/tus"
    task = {"file": str(file), "options": {"endpoint": service, **options}}
    done = subprocess.run(
        [Path(sys.executable).with_name("node"), HERE / "upload.mjs", json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.removeprefix(service)
