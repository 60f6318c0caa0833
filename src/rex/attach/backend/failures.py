"""The meaning of failures: kind, code and message for each operating system error."""

from __future__ import annotations

import errno
from typing import NamedTuple

from rex.core import Error, Kind

__all__ = ["Meaning", "explain_os_error"]


class Meaning(NamedTuple):
    """The meaning of a failure: the fields of the `Error` to raise."""

    kind: Kind
    message: str
    code: str = ""
    setting: str | None = None

    def error(self, payload: object) -> Error:
        """Return the error with this payload."""
        return Error(self.message, payload, kind=self.kind, code=self.code, setting=self.setting)

    def because(self, reason: str) -> Meaning:
        """Return the meaning with a reason after its message; unchanged without a reason."""
        return self._replace(message=f"{self.message} ({reason})") if reason else self


_NO_ROOM = Meaning(Kind.UNAVAILABLE, "The storage is full", code="storage-full")
_NOT_ALLOWED = Meaning(Kind.DENIED, "The storage denies access")
_NOT_OURS = Meaning(Kind.NOT_FOUND, "Attachment does not exist (its path is not a regular file)")
_BAD_DISK = Meaning(Kind.CORRUPT, "The disk cannot be read or written")
_NO_ANSWER = Meaning(Kind.UNAVAILABLE, "The storage does not respond")
_NO_SUPPORT = Meaning(Kind.UNSUPPORTED, "The file system does not support attachments")

_BY_ERRNO = {
    errno.ENOENT: Meaning(Kind.NOT_FOUND, "Attachment does not exist"),
    errno.ELOOP: _NOT_OURS,
    errno.ENOTDIR: _NOT_OURS,
    errno.EISDIR: _NOT_OURS,
    errno.ENXIO: _NOT_OURS,
    errno.EEXIST: Meaning(Kind.EXISTS, "Attachment exists already"),
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: Meaning(Kind.TOO_LARGE, "Attachment is too large for the file system"),
    errno.ENAMETOOLONG: Meaning(Kind.UNSUPPORTED, "The file name is too long for the file system"),
    errno.EIO: _BAD_DISK,
    errno.EUCLEAN: _BAD_DISK,
    errno.EBADMSG: _BAD_DISK,
    errno.EXDEV: _NO_SUPPORT,
    errno.EMLINK: _NO_SUPPORT,
    errno.ENOSYS: _NO_SUPPORT,
    errno.EOPNOTSUPP: _NO_SUPPORT,
}


def explain_os_error(failure: OSError) -> Meaning:
    """Return the meaning of an operating system error.

    An error that is not in the table (too many open files, out of memory, a lost server, …)
    concerns the machine and not the attachment, so that a retry may succeed: `UNAVAILABLE`.
    """
    return _BY_ERRNO.get(failure.errno or 0, _NO_ANSWER).because(failure.strerror or "")
