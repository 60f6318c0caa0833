"""Sessions of the fake of Google: resumable uploads, as the JSON interface documents them."""

from __future__ import annotations

import re
from typing import Any

from attach.fake_gcs_signatures import Refused

GRANULE = 256 * 1024
"""What is sent in one request, but for the last, is a multiple of it; less is forgotten."""


class Session:
    """An unfinished upload, or a finished one."""

    def __init__(self, name: str, resource: dict[str, Any], *, once: bool) -> None:
        self.name, self.resource, self.once = name, resource, once
        self.data = bytearray()
        self.is_done = False

    def receive(self, content_range: str, body: bytes) -> bool:
        """Keep the bytes of a request; return whether they are all there.

        The header ``Content-Range`` has the place of the bytes, or only asks for the state.
        """
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", content_range)
        if found is None:
            raise Refused(400, "invalid", f"Failed to parse Content-Range header: {content_range}")
        total = None if found[3] == "*" else int(found[3])
        if found[1] is not None:
            if len(body) != int(found[2]) - int(found[1]) + 1:
                raise Refused(400, "invalid", "the body has another size than its range")
            self._keep(int(found[1]), body, total)
        return total == len(self.data)

    def _keep(self, start: int, body: bytes, total: int | None) -> None:
        size = len(self.data)
        if start > size:
            raise Refused(503, "backendError", "bytes are missing before these")
        is_last = total is not None and start + len(body) == total
        if not is_last and len(body) % GRANULE:
            raise Refused(400, "invalid", "not a multiple of 256 KiB")
        self.data += memoryview(body)[size - start :]
        if not is_last:
            del self.data[len(self.data) // GRANULE * GRANULE :]
