"""What is recorded with a file in a directory: its content type and its digest.

It stands in an extended attribute of the file, so that it comes and goes with the file and costs
no second file to sync. Where there are none (some file systems, and systems other than Linux), it
stands in a small file beside it whose name begins with a dot, which no attachment's name does.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

__all__ = [
    "attach_attributes",
    "attributes_of",
    "beside",
    "read_attributes",
    "remove_beside",
    "write_beside",
]

NAME = "user.rex.attach"

_to_json = json.JSONEncoder(separators=(",", ":")).encode


def attach_attributes(fd: int, attributes: dict[str, str]) -> bool:
    """Record the attributes on an open file; False where the file system cannot."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(fd, NAME, _encode(attributes))
    except OSError:
        return False
    return True


def attributes_of(fd: int) -> dict[str, str] | None:
    """Read the attributes recorded on an open file, or give None where there are none."""
    try:
        return _decode(os.getxattr(fd, NAME))
    except (OSError, AttributeError):
        return None


def read_attributes(fd: int, name: str, parent: int) -> dict[str, str]:
    """Read the attributes of an open file called `name`; none where none are recorded."""
    attributes = attributes_of(fd)
    if attributes is not None:
        return attributes
    try:
        fd = os.open(beside(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return {}
    with os.fdopen(fd, "rb") as file:
        return _decode(file.read(65536))


def write_beside(attributes: dict[str, str], name: str, parent: int) -> None:
    """Record the attributes of a file called `name` in a file beside it, and sync that."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside(name), flags, 0o640, dir_fd=parent), "wb") as file:
        file.write(_encode(attributes))
        file.flush()
        os.fsync(file.fileno())


def remove_beside(name: str, parent: int) -> None:
    """Remove the file that `write_beside` made, if there is one."""
    with suppress(FileNotFoundError):
        os.unlink(beside(name), dir_fd=parent)


def beside(name: str) -> str:
    """Give the name of the file that has the attributes of a file called `name`."""
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.json"


def _encode(attributes: dict[str, str]) -> bytes:
    return _to_json(attributes).encode()


def _decode(recorded: bytes) -> dict[str, str]:
    try:
        attributes = json.loads(recorded.decode())
    except ValueError:
        return {}
    if not isinstance(attributes, dict):
        return {}
    return {key: value for key, value in attributes.items() if isinstance(value, str)}
