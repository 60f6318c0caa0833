"""The secret of a directory: random bytes in a file that only its owner may read."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from rex.attach.backends.local.directory import NewFile, open_file, sync_directory
from rex.core import Error, Kind

__all__ = ["SECRET_NAME", "own_secret"]

SECRET_NAME = ".secret"  # noqa: S105 - the name of a file, which listings skip
SECRET_MODE = 0o600
SECRET_BYTES = 32


def own_secret(root: int) -> bytes:
    """Return the secret of an open directory; generate it, durably, if it is missing.

    Errors: `CONFIGURATION` if the file is not a secret, or if other users may read it.
    """
    try:
        return _read(root)
    except FileNotFoundError:
        pass
    with NewFile(root, SECRET_MODE) as file:
        file.write(os.urandom(SECRET_BYTES))
        os.fsync(file.fd)
        with suppress(FileExistsError):  # another process was first
            file.link(SECRET_NAME, root)
    sync_directory(root)
    try:
        return _read(root)
    except FileNotFoundError:
        raise _unusable("it is not a file") from None


def _read(root: int) -> bytes:
    try:
        fd, status = open_file(SECRET_NAME, root)
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise _unusable("it is a symbolic link") from None
        raise
    try:
        # The owner of the directory can replace the file anyway.
        if status.st_uid not in (os.geteuid(), os.fstat(root).st_uid):
            raise _unusable(f"it belongs to another user ({status.st_uid})")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise _unusable(f"other users may read or write it; its mode must be {SECRET_MODE:04o}")
        secret = os.read(fd, SECRET_BYTES + 1)
    finally:
        os.close(fd)
    if len(secret) != SECRET_BYTES:
        raise _unusable(f"its size must be {SECRET_BYTES} bytes")
    return secret


def _unusable(reason: str) -> Error:
    return Error(
        "The secret of the directory of attachments cannot be used; correct it, remove it (which "
        "ends all links), or set another secret",
        f"{SECRET_NAME}: {reason}",
        kind=Kind.CONFIGURATION,
        code="unusable-secret",
        setting="attach_secret",
    )
