"""Content that is held in a temporary file until its checksum is verified."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tempfile
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, BinaryIO

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rex.attach.web.body import Body

__all__ = ["ROOM", "ChecksumError", "NoRoomError", "Room", "receive_verified"]

GIB = 1024**3
MAX_BYTES = GIB
"""The largest content with a checksum."""


class ChecksumError(Exception):
    """The content does not match its checksum."""


class NoRoomError(Exception):
    """The temporary files of this process have reached their size limit."""


class Room:
    """The size limit of all temporary files of a process together."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def check(self, size: int) -> None:
        """Check that `size` bytes are available. Errors: `NoRoomError`."""
        if size > self._left:
            raise NoRoomError

    def take(self, size: int) -> None:
        """Reserve `size` bytes; a negative size releases them. Errors: `NoRoomError`."""
        with self._lock:
            self.check(size)
            self._left -= size


ROOM = Room(2 * GIB)


@asynccontextmanager
async def receive_verified(body: Body, algorithm: str, digest: bytes) -> AsyncIterator[BinaryIO]:
    """Receive a body and yield a file with its bytes, if they match the digest.

    Errors: `ChecksumError`, `NoRoomError`, those of `Body`; `TOO_LARGE` over `MAX_BYTES`.
    """
    body.limit(MAX_BYTES)
    ROOM.check(body.content_length or 0)
    taken = 0
    found = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with tempfile.TemporaryFile() as file:
            async for chunk in body:
                ROOM.take(len(chunk))
                taken += len(chunk)
                found.update(chunk)
                await _write(file, chunk)
            if not hmac.compare_digest(found.digest(), digest):
                raise ChecksumError
            file.seek(0)
            yield file
    finally:
        ROOM.take(-taken)


async def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        await asyncio.to_thread(file.write, chunk)
    except OSError as failure:
        raise Error(
            "Temporary file cannot be written",
            failure.strerror,
            kind=Kind.UNAVAILABLE,
        ) from failure
