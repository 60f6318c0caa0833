"""The attributes of an attachment's file: its content type, digest and upload metadata.

An extended attribute holds them, so that they come and go with the file and no second file needs a
sync. Some file systems, and systems other than Linux, have no extended attributes: there, a small
sidecar file next to the attachment holds them. Its name begins with a dot, as no attachment's does.
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
_from_json = json.JSONDecoder().decode


def attach_attributes(fd: int, attributes: dict[str, str]) -> bool:
    """Set the attributes of an open file; return False if the file system has none."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(fd, NAME, _encode(attributes))
    except OSError:
        return False
    return True


def attributes_of(fd: int) -> dict[str, str] | None:
    """Return the attributes of an open file from its extended attribute, or None without one."""
    try:
        return _decode(os.getxattr(fd, NAME))
    except (OSError, AttributeError):
        return None


def read_attributes(fd: int, name: str, parent: int) -> dict[str, str]:
    """Return the attributes of an open file called `name`; empty if none are recorded."""
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
    """Write the sidecar file with the attributes of the file called `name`, and sync it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside(name), flags, 0o640, dir_fd=parent), "wb") as file:
        file.write(_encode(attributes))
        file.flush()
        os.fsync(file.fileno())


def remove_beside(name: str, parent: int) -> None:
    """Remove the sidecar file of the file called `name`, if it exists."""
    with suppress(FileNotFoundError):
        os.unlink(beside(name), dir_fd=parent)


def beside(name: str) -> str:
    """Return the name of the sidecar file of the file called `name`."""
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.json"


def _encode(attributes: dict[str, str]) -> bytes:
    return _to_json(attributes).encode()


def _decode(recorded: bytes) -> dict[str, str]:
    try:
        attributes = _from_json(recorded.decode())
    except ValueError:
        return {}
    if not isinstance(attributes, dict):
        return {}
    return {key: value for key, value in attributes.items() if isinstance(value, str)}
