"""What the failures of the operating system mean: a kind and a phrase for each."""

from __future__ import annotations

import errno

from rex.core import Kind

__all__ = ["explain_os_error"]

_NO_ROOM = (Kind.UNAVAILABLE, "The storage is full")
_NOT_ALLOWED = (Kind.DENIED, "The storage does not permit this")
_NOT_OURS = (Kind.NOT_FOUND, "Attachment does not exist (something else stands in its place)")
_BAD_DISK = (Kind.CORRUPT, "The disk cannot be read or written")
_NO_ANSWER = (Kind.UNAVAILABLE, "The storage does not answer")
_NO_SUPPORT = (Kind.UNSUPPORTED, "The file system cannot keep attachments")

_BY_ERRNO = {
    errno.ENOENT: (Kind.NOT_FOUND, "Attachment does not exist"),
    errno.ELOOP: _NOT_OURS,
    errno.ENOTDIR: _NOT_OURS,
    errno.EISDIR: _NOT_OURS,
    errno.ENXIO: _NOT_OURS,
    errno.EEXIST: (Kind.EXISTS, "Attachment exists already"),
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: (Kind.TOO_LARGE, "Attachment is too large for the file system"),
    errno.ENAMETOOLONG: (Kind.UNSUPPORTED, "The file system cannot hold a name this long"),
    errno.EIO: _BAD_DISK,
    errno.EUCLEAN: _BAD_DISK,
    errno.EBADMSG: _BAD_DISK,
    errno.EXDEV: _NO_SUPPORT,
    errno.EMLINK: _NO_SUPPORT,
    errno.ENOSYS: _NO_SUPPORT,
    errno.EOPNOTSUPP: _NO_SUPPORT,
}


def explain_os_error(failure: OSError) -> tuple[Kind, str]:
    """Say what an error of the system means.

    What is not in the table (too many open files, no memory, a server that went away, …) is a
    state of the machine and not of the attachment, so trying again later may help.
    """
    kind, phrase = _BY_ERRNO.get(failure.errno or 0, _NO_ANSWER)
    return kind, f"{phrase} ({failure.strerror})" if failure.strerror else phrase
