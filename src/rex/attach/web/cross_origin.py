"""The error for a cross-origin request, which names a remedy, and its log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rex.attach.handle import show
from rex.attach.web.paths import root_of
from rex.core import Error, Kind
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

__all__ = ["cross_origin"]

MAX_PAIRS = 100
"""The maximum number of pairs of origins to log within `FORGET_SECONDS`."""
FORGET_SECONDS = 3600
MAX_SHOWN = 200

log = get_logger("rex.attach")


def cross_origin(request: Request, own: Sequence[str]) -> Error:
    """Return the error for a request from a page that is not of the origins `own`; log it."""
    origin = request.headers.get("origin")
    service = " or ".join(_shown(each) for each in own)
    if origin is None:
        page, remedy = "another origin", "allow its origin with attach_origins"
    else:
        page = _shown(origin)
        remedy = f"allow {page} with attach_origins{_behind_proxy(request, page, own)}"
    words = f"the page is from {page}, the service is {service}; {remedy}"
    if _seen.is_new((page, service)):
        log.warning("Cross-origin request refused: %s", words)
    return Error("Cross-origin request refused", words, kind=Kind.DENIED, code="cross-origin")


def _behind_proxy(request: Request, page: str, own: Sequence[str]) -> str:
    """Return what to set if the page is of the service, and a proxy hides that."""
    host = page.partition("://")[2]
    if not host:  # "null" is not the origin of a service
        return ""
    is_same_host = host in [each.partition("://")[2] for each in own]
    header = "X-Forwarded-Proto (rex serve --trusted-proxies)" if is_same_host else "Host"
    return (
        f"; if it is the service, behind a proxy, set attach_url to {page}{root_of(request)} or "
        f"let the proxy send {header}"
    )


def _shown(origin: str) -> str:
    text = show(origin)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


class _Seen:
    """The pairs of origins that are in the log already; bounded, since clients choose them."""

    def __init__(self) -> None:
        self._pairs: set[tuple[str, str]] = set()
        self._since = 0.0

    def is_new(self, pair: tuple[str, str]) -> bool:
        """Check whether to log a pair, and remember it."""
        now = time.monotonic()
        if not self._pairs or now - self._since > FORGET_SECONDS:
            self._pairs, self._since = set(), now
        if pair in self._pairs or len(self._pairs) >= MAX_PAIRS:
            return False
        self._pairs.add(pair)
        return True


_seen = _Seen()
