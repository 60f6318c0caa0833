"""A presigned link: the permission for one request, as a value; and how long one may last."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping  # noqa: TC003 - resolved at run time
from dataclasses import dataclass

from rex.attach.handle import show
from rex.core import Error, Kind

__all__ = ["MAX_LINK_SECONDS", "PresignedLink", "link_seconds"]

MAX_LINK_SECONDS = 7 * 24 * 3600
"""The longest that a link may last: the limit of Signature Version 4."""


_TOKEN = re.compile(r"/[\w-]+\.[\w-]{43}/\Z")
"""The permission to send a form, at the end of an address of the service."""


@dataclass(frozen=True, slots=True)
class PresignedLink:
    """All that a client needs to make one request, without any key of its own.

    Whoever holds the link may make the request until it expires, so it is a secret of its user:
    its repr shows neither the signature nor the form.
    """

    method: str
    """``POST`` (a form), ``PUT`` or ``GET``."""
    url: str
    headers: Mapping[str, str]
    """Headers to send just as they are; they are signed."""
    fields: Mapping[str, str]
    """Form fields to send before the part named ``file``; they are signed."""
    expires_at: datetime.datetime
    """When it stops working (aware, UTC)."""

    def __repr__(self) -> str:
        place = _TOKEN.sub("/.../", self.url.partition("?")[0])
        return f"PresignedLink({self.method} {place}, expires {self.expires_at:%Y-%m-%dT%H:%M:%SZ})"

    def as_dict(self) -> dict[str, object]:
        """Give the link as JSON takes it, to hand it to its user."""
        return {
            "method": self.method,
            "url": self.url,
            "headers": dict(self.headers),
            "fields": dict(self.fields),
            "expires_at": f"{self.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        }


def link_seconds(expires: float | datetime.timedelta) -> float:
    """Give the seconds that a link is to last.

    Errors: `ILL_FORMED` unless that is from a second to `MAX_LINK_SECONDS`.
    """
    seconds = expires.total_seconds() if isinstance(expires, datetime.timedelta) else expires
    if not isinstance(seconds, int | float) or not 1 <= seconds <= MAX_LINK_SECONDS:
        raise Error(
            f"A link lasts from 1 second to 7 days ({MAX_LINK_SECONDS} seconds)",
            show(seconds),
            kind=Kind.ILL_FORMED,
        )
    return seconds
