"""The client httpx, asynchronous."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECONDS = 120
CHUNK_SIZE = 256 * 1024


def stream_body(url: str, file: Path) -> str:
    """Upload a file as it is read; its size is not told beforehand."""
    return asyncio.run(_upload(url, file))


def download(url: str, target: Path) -> None:
    """Download an attachment as it comes."""
    asyncio.run(_download(url, target))


async def _upload(url: str, file: Path) -> str:
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        answer = await client.post(f"{url}/", params={"name": file.name}, content=_chunks(file))
    [stored] = answer.raise_for_status().json()["attachments"]
    handle: str = stored["handle"]
    return handle


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(file, "rb") as stream:
        while chunk := await stream.read(CHUNK_SIZE):
            yield chunk


async def _download(url: str, target: Path) -> None:
    async with (
        httpx.AsyncClient(timeout=SECONDS) as client,
        client.stream("GET", url) as answer,
        await anyio.open_file(target, "wb") as file,
    ):
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            await file.write(chunk)
