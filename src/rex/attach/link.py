"""A presigned link: the permission for one request, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

__all__ = ["PresignedLink"]


class PresignedLink(NamedTuple):
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
        place = self.url.partition("?")[0]
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
