"""Presigned links: permission for one request, as a value; and their duration."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping  # noqa: TC003 - resolved at run time
from dataclasses import dataclass

from rex.attach.handle import show
from rex.core import Error, Kind

__all__ = ["MAX_LINK_SECONDS", "PresignedLink", "link_seconds", "round_down", "window_seconds"]

MAX_LINK_SECONDS = 7 * 24 * 3600
"""Maximum duration of a link in seconds: the limit of Signature Version 4."""


_TOKEN = re.compile(r"/[\w-]+\.[\w-]{43}/\Z")
"""The token of a form, at the end of the URL of a service link."""


@dataclass(frozen=True, slots=True)
class PresignedLink:
    """Everything that a client needs to make one request without credentials.

    Anyone with the link can make the request until the link expires, so treat the link as a secret:
    its `repr` shows neither the signature nor the form fields.
    """

    method: str
    """``POST`` (a form), ``PUT`` or ``GET``."""
    url: str
    headers: Mapping[str, str]
    """Signed headers, to send unchanged."""
    fields: Mapping[str, str]
    """Signed form fields, to send before the part named ``file``."""
    expires_at: datetime.datetime
    """Time of expiry (aware, UTC)."""
    receipt: str = ""
    """What the client of an upload presents to `Storage.claim`; empty without an owner."""

    def __repr__(self) -> str:
        place = _TOKEN.sub("/.../", self.url.partition("?")[0])
        return f"PresignedLink({self.method} {place}, expires {self.expires_at:%Y-%m-%dT%H:%M:%SZ})"

    def as_dict(self) -> dict[str, object]:
        """Return the link as a dict for JSON, to hand it to its user."""
        return {
            "method": self.method,
            "url": self.url,
            "headers": dict(self.headers),
            "fields": dict(self.fields),
            "expires_at": f"{self.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            **({"receipt": self.receipt} if self.receipt else {}),
        }


def link_seconds(expires: float | datetime.timedelta) -> float:
    """Return the duration of a link in seconds.

    Errors: `ILL_FORMED` if it is not between 1 and `MAX_LINK_SECONDS`.
    """
    seconds = expires.total_seconds() if isinstance(expires, datetime.timedelta) else expires
    if not isinstance(seconds, int | float) or not 1 <= seconds <= MAX_LINK_SECONDS:
        raise Error(
            f"The duration of a link must be 1 second to 7 days ({MAX_LINK_SECONDS} seconds)",
            show(seconds),
            kind=Kind.ILL_FORMED,
        )
    return seconds


def window_seconds(window: float | datetime.timedelta, duration: float) -> int:
    """Return the window of a link in whole seconds, 0 for a link without one.

    Errors: `ILL_FORMED` unless it is 0, or at least a second and shorter than `duration`.
    """
    seconds = window.total_seconds() if isinstance(window, datetime.timedelta) else window
    if not isinstance(seconds, int | float) or not (seconds == 0 or 1 <= seconds < int(duration)):
        raise Error(
            "The window of a link must be at least a second, and shorter than the link's duration",
            f"{show(seconds)}; the duration is {duration} seconds",
            kind=Kind.ILL_FORMED,
        )
    return int(seconds)


def round_down(moment: float, window: int) -> float:
    """Return the start of the window that has a moment, in seconds since 1970.

    The windows begin at the multiples of their length in seconds. With 0, it is the moment itself.
    """
    return int(moment) // window * window if window else moment
