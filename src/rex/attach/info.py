"""What is known of an attachment."""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - resolved at run time
import os
import stat
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Info", "Metadata"]


class Metadata(NamedTuple):
    """What a storage knows of an object that it keeps."""

    size: int
    """In bytes."""
    modified: datetime.datetime
    """When it was stored (aware, UTC)."""
    content_type: str
    """As stored with it (RFC 9110, section 8.3)."""
    etag: str
    """Its entity tag, with the quotes (RFC 9110, section 8.8.3): one for each content."""
    digest: str | None
    """The SHA-256 of its bytes in hexadecimal, where it was recorded."""
    content_encoding: str | None = None
    """The codings that its bytes are in (RFC 9110, section 8.4), if others stored it in some.

    Browsers undo them; `open` does not.
    """
    upload_metadata: str = ""
    """What was recorded of its upload: see `rex.attach.storage.resumable.Upload`."""


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of an attachment."""

    handle: str
    """Its permanent name."""
    name: str
    """The name of the file."""
    size: int
    """In bytes."""
    content_type: str
    """What to serve it as (RFC 9110, section 8.3)."""
    modified: datetime.datetime
    """When it was stored (aware, UTC)."""
    etag: str
    """Its entity tag, with the quotes (RFC 9110, section 8.8.3): one for each content."""
    digest: str | None
    """The SHA-256 of its bytes in hexadecimal, where it was recorded."""
    content_encoding: str | None = None
    """The codings that its bytes are in (RFC 9110, section 8.4), if others stored it in some.

    Browsers undo them; `open` does not.
    """

    def as_stat(self) -> os.stat_result:
        """Give the same as a read-only regular file would; times in seconds since 1970."""
        seconds = self.modified.timestamp()
        nanoseconds = int(seconds) * 10**9 + self.modified.microsecond * 1000
        whole = (stat.S_IFREG | 0o440, 0, 0, 1, 0, 0, self.size, *(int(seconds),) * 3)
        precise = {f"st_{time}time": seconds for time in "amc"}
        precise_ns = {f"st_{time}time_ns": nanoseconds for time in "amc"}
        return os.stat_result(whole, precise | precise_ns)

    def as_dict(self) -> dict[str, object]:
        """Give the same as JSON takes it."""
        return {**dataclasses.asdict(self), "modified": self.modified.isoformat()}
