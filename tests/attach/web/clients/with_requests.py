"""The client requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 120
CHUNK_SIZE = 256 * 1024


def stream_body(url: str, file: Path) -> str:
    """Upload a file as it is read."""
    with file.open("rb") as stream:
        answer = requests.post(f"{url}/", params={"name": file.name}, data=stream, timeout=SECONDS)
    return _handle(answer)


def post_form(url: str, file: Path) -> str:
    """Upload a file in a form."""
    with file.open("rb") as stream:
        return _handle(requests.post(f"{url}/", files={"file": stream}, timeout=SECONDS))


def download(url: str, target: Path) -> None:
    """Download an attachment as it comes."""
    with (
        requests.get(url, stream=True, timeout=SECONDS) as answer,
        target.open("wb") as file,
    ):
        answer.raise_for_status()
        for chunk in answer.iter_content(CHUNK_SIZE):
            file.write(chunk)


def _handle(answer: requests.Response) -> str:
    answer.raise_for_status()
    [stored] = answer.json()["attachments"]
    handle: str = stored["handle"]
    return handle
