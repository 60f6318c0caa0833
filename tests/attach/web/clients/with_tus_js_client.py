"""The client tus-js-client, under node; what it uploads, curl downloads."""

from __future__ import annotations

import json
from pathlib import Path

from programs import BIN, run

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
    done = run(BIN / "node", HERE / "upload.mjs", json.dumps(task))
    assert 0 == done.returncode, done.stderr
    return done.stdout.removeprefix(service)
