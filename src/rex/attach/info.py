"""Metadata of attachments."""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - resolved at run time
import os
import stat
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Info", "Metadata", "is_unchanged"]


class Metadata(NamedTuple):
    """Metadata of a stored object, as a backend returns it."""

    size: int
    """Size in bytes."""
    modified: datetime.datetime
    """Time of storing (aware, UTC)."""
    content_type: str
    """Stored content type (RFC 9110, section 8.3)."""
    etag: str
    """Entity tag in quotes (RFC 9110, section 8.8.3): different for different content."""
    digest: str | None
    """SHA-256 of the bytes in hexadecimal, if recorded."""
    content_encoding: str | None = None
    """Content codings of the bytes (RFC 9110, section 8.4), if another program stored any.

    Browsers decode them; `open` does not.
    """
    upload_metadata: str = ""
    """Recorded metadata of the upload: see `rex.attach.storage.resumable.Upload`."""


@dataclass(frozen=True, slots=True)
class Info:
    """Metadata of an attachment."""

    handle: str
    """Permanent name of the attachment."""
    name: str
    """File name."""
    size: int
    """Size in bytes."""
    content_type: str
    """Content type for responses (RFC 9110, section 8.3)."""
    modified: datetime.datetime
    """Time of storing (aware, UTC)."""
    etag: str
    """Entity tag in quotes (RFC 9110, section 8.8.3): different for different content."""
    digest: str | None
    """SHA-256 of the bytes in hexadecimal, if recorded."""
    content_encoding: str | None = None
    """Content codings of the bytes (RFC 9110, section 8.4), if another program stored any.

    Browsers decode them; `open` does not.
    """

    def as_stat(self) -> os.stat_result:
        """Return an `os.stat_result` of a read-only regular file; times in seconds since 1970."""
        seconds = self.modified.timestamp()
        nanoseconds = int(seconds) * 10**9 + self.modified.microsecond * 1000
        whole = (stat.S_IFREG | 0o440, 0, 0, 1, 0, 0, self.size, *(int(seconds),) * 3)
        precise = {
            "st_atime": seconds,
            "st_mtime": seconds,
            "st_ctime": seconds,
            "st_atime_ns": nanoseconds,
            "st_mtime_ns": nanoseconds,
            "st_ctime_ns": nanoseconds,
        }
        return os.stat_result(whole, precise)

    def as_dict(self) -> dict[str, object]:
        """Return the metadata as a dict for JSON; the time is in UTC, as RFC 3339 writes it."""
        modified = self.modified.isoformat().replace("+00:00", "Z")
        return {**dataclasses.asdict(self), "modified": modified}


def is_unchanged(now: Info | Metadata, before: Info) -> bool:
    """Check that an attachment has the same content as before.

    After a copy to another storage, only the entity tag differs.
    """
    same_tag = now.etag == before.etag
    return now.size == before.size and (same_tag or (now.digest or "") == before.digest)
