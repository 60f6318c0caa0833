"""The client tuspy; what it uploads, requests downloads, on which it is built."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tusclient.client import TusClient

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_SIZE = 5 * 1024 * 1024


def upload(url: str, file: Path) -> str:
    """Upload a file with one request beside that which begins it, as tuspy does by itself."""
    return _upload(url, file, sys.maxsize)


def upload_chunks(url: str, file: Path) -> str:
    """Upload a file, 5 MiB with each request."""
    return _upload(url, file, CHUNK_SIZE)


def _upload(url: str, file: Path, chunk_size: int) -> str:
    service = f"{url}/tus"
    with file.open("rb") as stream:
        uploader = TusClient(service).uploader(
            file_stream=stream, chunk_size=chunk_size, metadata={"filename": file.name}
        )
        uploader.upload()
    return str(uploader.url).removeprefix(service)
