"""The secret of a directory: random bytes in a file that its owner alone may read."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress

from rex.attach.backends.local.directory import NewFile, open_file, sync_directory
from rex.core import Error, Kind

__all__ = ["SECRET_NAME", "own_secret"]

SECRET_NAME = ".secret"  # noqa: S105 - a file's name; listing passes over it
SECRET_MODE = 0o600
SECRET_BYTES = 32


def own_secret(root: int) -> bytes:
    """Give the secret of an open directory; it is made once, and outlasts a power cut.

    Errors: `CONFIGURATION` when what stands there is no such secret, or others may read it.
    """
    try:
        return _read(root)
    except FileNotFoundError:
        pass
    with NewFile(root, SECRET_MODE) as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
        os.fsync(file.fd)
        with suppress(FileExistsError):  # another process was first
            file.link(SECRET_NAME, root)
    sync_directory(root)
    try:
        return _read(root)
    except FileNotFoundError:
        raise _unusable("it is no file") from None


def _read(root: int) -> bytes:
    try:
        fd, status = open_file(SECRET_NAME, root)
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise _unusable("it is a symbolic link") from None
        raise
    try:
        # The owner of the directory may replace the file anyway.
        if status.st_uid not in (os.geteuid(), os.fstat(root).st_uid):
            raise _unusable(f"it belongs to another user ({status.st_uid})")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise _unusable(f"others may use it; its mode must be {SECRET_MODE:04o}")
        secret = os.read(fd, SECRET_BYTES + 1)
    finally:
        os.close(fd)
    if len(secret) != SECRET_BYTES:
        raise _unusable(f"it must have {SECRET_BYTES} bytes")
    return secret


def _unusable(reason: str) -> Error:
    return Error(
        "The secret of the directory of attachments cannot be used; put it right, remove it (all "
        "links end then), or give another",
        f"{SECRET_NAME}: {reason}",
        kind=Kind.CONFIGURATION,
        code="unusable-secret",
        setting="attach_secret",
    )
