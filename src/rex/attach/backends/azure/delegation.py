"""User delegation keys, which sign links where the credentials are tokens."""

from __future__ import annotations

import datetime
import threading
from typing import TYPE_CHECKING

from rex.attach.backends.objects.requests import element
from rex.attach.links.sas import DelegationKey

if TYPE_CHECKING:
    from rex.attach.backends.azure.control import AzureControl

__all__ = ["DelegationKeys"]

LIFETIME = datetime.timedelta(days=7)
"""The longest lifetime that Azure allows."""
RENEWED = datetime.timedelta(hours=1)
"""The age from which a key is replaced by a younger one if a link would outlast it."""
SKEW = datetime.timedelta(minutes=15)
_FORM = "%Y-%m-%dT%H:%M:%SZ"


class DelegationKeys:
    """The user delegation key of an account, fetched when a link needs it."""

    def __init__(self, control: AzureControl) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._key: DelegationKey | None = None
        self._since = datetime.datetime.min.replace(tzinfo=datetime.UTC)

    @property
    def is_cached(self) -> bool:
        """Whether there is a key that is not about to be replaced."""
        return self._key is not None and _now() - self._since < RENEWED

    def for_link(self, expires_at: datetime.datetime) -> tuple[DelegationKey, datetime.datetime]:
        """Return a key, and when a link that it signs expires: with the key, at the latest."""
        with self._lock:
            key = self._key
            outlasts = key is None or expires_at > key.expires_at
            if key is None or (outlasts and not self.is_cached):
                key = self._key = self._fetch()
                self._since = _now()
        return key, min(expires_at, key.expires_at)

    def _fetch(self) -> DelegationKey:
        now = _now()
        body = (
            f"<KeyInfo><Start>{now - SKEW:{_FORM}}</Start>"
            f"<Expiry>{now + LIFETIME - SKEW:{_FORM}}</Expiry></KeyInfo>"
        )
        query = {"restype": "service", "comp": "userdelegationkey"}
        headers = {"Content-Type": "application/xml"}
        answer = self._control.ask("POST", None, query, headers, body.encode())
        text = answer.body.decode(errors="replace")
        return DelegationKey(
            object_id=element(text, "SignedOid"),
            tenant_id=element(text, "SignedTid"),
            start=element(text, "SignedStart"),
            expiry=element(text, "SignedExpiry"),
            service=element(text, "SignedService"),
            version=element(text, "SignedVersion"),
            value=element(text, "Value"),
        )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
