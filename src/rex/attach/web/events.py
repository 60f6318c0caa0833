"""The route ``/events``: a server notifies of uploads that clients sent straight to it."""

from __future__ import annotations

import base64
from collections import Counter
from hmac import compare_digest
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from rex.attach.web.access import NOT_ALLOWED
from rex.attach.web.body import read_json
from rex.attach.web.event_formats import read_events, subscription_of
from rex.attach.web.section import Section
from rex.core import Error, Kind
from rex.core.log import get_logger
from rex.core.printable import printable
from rex.core.web import problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.web.event_formats import Created

__all__ = ["Events"]

log = get_logger("rex.attach")

MAX_BYTES = 1024 * 1024
MAX_SHOWN_URL = 2048
OUTCOMES = ("notified", "ignored", "refused")

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="events"'}
"""SNS sends its credentials only in response to a challenge with a realm (RFC 7617)."""


class Events(Section):
    """The server's notifications of attachments that it has stored.

    The server has a key of its own (setting attach_events_key); neither the access rule nor the
    origin of a page counts here.
    """

    prefix = "/events"

    async def receive(self, request: Request) -> Response:
        """Receive an event notification of the server."""
        if not self._has_key(request):
            detail = "The events key is required."
            return problem(401, detail, Kind.DENIED.value, _CHALLENGE, code=NOT_ALLOWED)
        body = await read_json(request, stall_seconds=self._stall_seconds, max_size=MAX_BYTES)
        url = subscription_of(body)
        if url is None:
            counts = await self._notify_all(read_events(body))
        else:
            # Fetching an address from a request would let its sender use this machine's network.
            shown = printable(url[:MAX_SHOWN_URL])
            log.warning("SNS asks to confirm a subscription; if it is yours, open %s", shown)
            counts = Counter(ignored=1)
        return JSONResponse({outcome: counts[outcome] for outcome in OUTCOMES})

    def _has_key(self, request: Request) -> bool:
        """Check the key, which is a bearer token or the password of HTTP Basic."""
        key = self._service.options.events_key
        given = _credentials(request.headers.get("authorization", ""))
        return key is not None and compare_digest(given, key.reveal().encode())

    async def _notify_all(self, events: Iterable[Created | None]) -> Counter[str]:
        """Notify the application of all objects; count the outcomes.

        Errors: those of `Storage.notify`, after the last object. The server then repeats all.
        """
        counts: Counter[str] = Counter()
        failures: list[Error] = []
        for event in events:
            try:
                counts[await self._notify(event)] += 1
            except Error as error:
                failures.append(error)
        for failure in failures[1:]:  # the response logs the first
            log.error("%s", failure)
        if failures:
            raise failures[0]
        return counts

    async def _notify(self, event: Created | None) -> str:
        """Notify the application of an object; return the outcome.

        Errors: those of `Storage.notify`.
        """
        handle = None if event is None else self._handle_of(event)
        if handle is None:
            return "ignored"
        try:
            await self._storage.aio.notify(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:  # removed since
                return "ignored"
            if error.kind is not Kind.REFUSED:
                raise
            # The bytes stay, since the application may have accepted them before.
            log.info("refused: %s: %s", handle, printable(str(error)))
            return "refused"
        return "notified"

    def _handle_of(self, event: Created) -> str | None:
        """Return the handle of an object, or None if it is not an attachment of the storage."""
        if event.bucket != self._storage.multipart.bucket:
            return None
        try:
            return self._storage.handle_of_key(event.key)
        except Error:
            return None


def _credentials(header: str) -> bytes:
    """Return the token or the password in a header Authorization (RFC 6750, RFC 7617)."""
    scheme, _, given = header.partition(" ")
    value = given.strip().encode("latin-1")
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except ValueError:
        return b""
