"""What the clients of all object servers share: failures, retries, error documents."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from rex.attach.backend.failures import Meaning
from rex.core import Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Collection, Mapping

__all__ = [
    "FIRST_PAUSE",
    "LONGEST_PAUSE",
    "PASSING_STATUSES",
    "UNKNOWN",
    "Listed",
    "ServerFailure",
    "element",
    "retry",
]

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
"""Seconds between two attempts of a request; each pause is about twice the previous pause."""
PASSING_STATUSES = (408, 429, 500, 502, 503, 504)
MAX_TEXT = 300
UNKNOWN = Meaning(Kind.UNAVAILABLE, "The request to the server failed")
"""The meaning of an error code that is not listed."""

T = TypeVar("T")

_sleep = time.sleep


class ServerFailure(Exception):  # noqa: N818 - it becomes an `Error`
    """An error response of the server, with its code and message; or no response.

    `meaning` has the kind and message for users; `is_passing` is whether a retry may succeed.
    """

    codes: ClassVar[Mapping[str, Meaning]] = {}
    """The meanings of the error codes of the server."""
    passing: ClassVar[Collection[str | int]] = ()
    """The codes and statuses after which a retry may succeed."""

    def __init__(
        self, code: str, message: str = "", *, status: int = 0, is_passing: bool = False
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.is_passing = is_passing or code in self.passing or status in self.passing
        meaning = self.codes.get(code, UNKNOWN)
        details = ": ".join(text for text in (code, message) if text)[:MAX_TEXT]
        is_vague = meaning.kind is Kind.UNAVAILABLE and details.isprintable()
        self.meaning = meaning.because(details) if is_vague else meaning
        self.kind = meaning.kind


class Listed(NamedTuple):
    """An object in a listing."""

    name: str
    size: int
    modified: datetime.datetime


def retry(ask: Callable[[], T], seconds: float) -> T:
    """Call a function until it succeeds or fails for good, for at most `seconds`."""
    deadline, pause = _now() + seconds, FIRST_PAUSE
    while True:
        try:
            return ask()
        except ServerFailure as failure:
            if not failure.is_passing or _now() + pause > deadline:
                raise
        _sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
        pause = min(2 * pause, LONGEST_PAUSE)


def element(text: str, name: str) -> str:
    """Return the text of an XML element; the sender is not trusted, so there is no XML parser."""
    found = re.search(rf"<{name}>([^<]{{0,2000}})</{name}>", text)
    return found[1] if found else ""


def _now() -> float:
    return time.monotonic()
