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


def upload_by_draft_05(url: str, file: Path) -> str:
    """Upload a file in chunks, by the IETF's protocol."""
    return _upload_ietf(url, file, {"protocol": "ietf-draft-05", "chunkSize": 5 * 1024 * 1024})


def upload_by_draft_03(url: str, file: Path) -> str:
    """Upload a file with the creation, by an older version of the IETF's protocol."""
    return _upload_ietf(url, file, {"protocol": "ietf-draft-03", "uploadDataDuringCreation": True})


def _upload_ietf(url: str, file: Path, options: dict[str, object]) -> str:
    path = _run(f"{url}/", file, options).removeprefix(url)
    return path.removeprefix("/uploads")


def _upload(url: str, file: Path, options: dict[str, object]) -> str:
    service = f"{url}/tus"
    return _run(service, file, options).removeprefix(service)


def _run(endpoint: str, file: Path, options: dict[str, object]) -> str:
    """Upload a file; return the address of the upload."""
    task = {"file": str(file), "options": {"endpoint": endpoint, **options}}
    done = run(BIN / "node", HERE / "upload.mjs", json.dumps(task))
    assert 0 == done.returncode, done.stderr
    return done.stdout
