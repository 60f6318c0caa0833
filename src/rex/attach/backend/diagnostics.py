"""What a backend adds to the diagnosis: its own steps, and advice."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rex.attach.links.client import Answer, Client, Unreachable
    from rex.core import Error

__all__ = [
    "CLOCK_ADVICE",
    "MAX_ANSWER",
    "MAX_TEXT",
    "OK",
    "Check",
    "Doctor",
    "Step",
    "Verdict",
    "compare_clocks",
    "fail",
    "fail_with",
    "in_order",
    "ok",
    "one_line",
    "skip",
    "warn",
]

FORBIDDEN = 403
MAX_ANSWER = 65536
"""The bytes of a response that are read; the server that sends it is not trusted."""
MAX_TEXT = 600
OK = "ok"
"""The code of a check that found no problem."""


class Verdict(enum.Enum):
    """The verdict of a check."""

    OK = "ok"
    """The step works."""
    WARN = "warn"
    """The step works, with a limitation that the operator should know."""
    FAIL = "fail"
    """An application would fail."""
    SKIP = "skip"
    """The step was skipped, for the given reason."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one step of a diagnosis."""

    step: str
    verdict: Verdict
    code: str
    """The result for programs (docs/reference/errors.md): `OK` if nothing is wrong."""
    text: str
    """The result, in one line."""
    advice: tuple[str, ...] = ()
    """What to change, in lines; a line that begins with ``$`` is a command."""
    storage: str = ""
    """The storage that was checked."""
    cause: str = ""
    """The step whose failure is the reason why this step was skipped."""


SKEW_WARNED = 30
"""Seconds between the clocks."""
CLOCK_ADVICE = ("synchronise both clocks by NTP:", "$ timedatectl set-ntp true")


class Step(NamedTuple):
    """One step of a diagnosis."""

    name: str
    look: Callable[[], Check]
    needs: Sequence[str] = ()
    """The steps that must succeed before this step."""


def in_order(checks: Mapping[str, Callable[[], Check]]) -> list[Step]:
    """Return steps each of which needs the one before it."""
    names = [*checks]
    return [Step(name, checks[name], names[:at][-1:]) for at, name in enumerate(names)]


def compare_clocks(skew: float | None, limit: float, *, is_refused: bool = False) -> Check:
    """Check the seconds by which this machine's clock is ahead; None means unknown.

    From `limit` on, or if it `is_refused`, the server refuses signatures.
    """
    if skew is None:
        return ok("the server does not send its time")
    seconds = abs(skew)
    if seconds <= SKEW_WARNED and not is_refused:
        return ok(f"{seconds:.0f} s from the clock of the server")
    direction = "ahead of" if skew > 0 else "behind"
    text = f"the clock of this machine is {seconds:.0f} s {direction} the clock of the server"
    return (fail if is_refused or seconds > limit else warn)("clock-skew", text, *CLOCK_ADVICE)


def ok(text: str) -> Check:
    """Return a check with the verdict `OK`."""
    return Check("", Verdict.OK, OK, text)


def warn(code: str, text: str, *advice: str) -> Check:
    """Return a check with the verdict `WARN`."""
    return Check("", Verdict.WARN, code, text, advice)


def fail(code: str, text: str, *advice: str) -> Check:
    """Return a check with the verdict `FAIL`."""
    return Check("", Verdict.FAIL, code, text, advice)


def fail_with(error: Error, *advice: str) -> Check:
    """Return a check with the verdict `FAIL`, and the code and text of an error."""
    return fail(error.code, one_line(error), *advice)


def skip(code: str, reason: str) -> Check:
    """Return a check with the verdict `SKIP`."""
    return Check("", Verdict.SKIP, code, reason)


def one_line(error: Error) -> str:
    """Return an error's message, setting and payload in one line."""
    return error.headline if error.payload is None else f"{error.headline}: {error.payload}"


class Diagnosed(Protocol):
    """What a doctor itself uses of its storage."""

    url: str | None

    def remove(self, handle: str) -> None:
        """Remove an attachment."""


S = TypeVar("S", bound=Diagnosed)


class Doctor(Generic[S]):
    """What is particular to one storage; an exception of a step becomes a failed check.

    An `Error` that a step raises becomes a check with `advice`.
    """

    required: Sequence[str] = ()
    """The steps that must succeed before anything is stored."""
    methods: Sequence[str] = ("GET", "PUT", "POST")
    """The methods that pages of other origins use with links."""
    headers = "cache-control,content-disposition,content-encoding,content-type,if-none-match"
    """The request headers that a page sends with an upload, in lower case and in order (Fetch)."""
    is_older = False
    """Whether this is the older storage, which gets nothing new (setting attach_fallback)."""

    def __init__(self, storage: S) -> None:
        self.storage = storage

    def first(self) -> list[Step]:
        """Return the steps that run before anything is stored."""
        return []

    def more(self, reserve: Callable[[], str]) -> list[Step]:
        """Return more steps, which run after those of every storage.

        They must store under handles from `reserve`, which are removed afterwards.
        """
        del reserve
        return []

    @functools.cached_property
    def client(self) -> Client:
        """The client that follows links."""
        from rex.attach.links.client import Client

        return Client(most=MAX_ANSWER)

    def lacks_links(self) -> Check | None:
        """Return a skipped check if links cannot be tried, or None."""
        return None

    def advice(self, step: str, error: Error) -> Sequence[str]:
        """Return what to change after a step failed with an error."""
        del step
        is_full = error.code == "storage-full"
        return ("free some space, or enlarge the storage",) if is_full else ()

    def explain_refusal(self, method: str, answer: Answer) -> Check:
        """Return a check for a link that was refused."""
        advice = ["attach_url must be the address of the service over this storage"]
        if answer.status == FORBIDDEN:
            advice.append("and the service must have the same secret (setting attach_secret)")
        found = f"{method} to {self.storage.url} returned the status {answer.status}"
        return fail("link-refused", found, *advice)

    def unreachable(self, failure: Unreachable) -> Check:
        """Return a check for a link whose server cannot be reached."""
        return fail(
            "unreachable",
            f"{self.storage.url} cannot be reached: {failure}",
            "start the service (rex serve), or correct its address in attach_url",
        )

    def not_shared(self, origin: str) -> Sequence[str]:
        """Return what to change so that pages of an origin may use the links."""
        return (f"the service allows {origin}: a proxy in front of it must pass CORS headers on",)

    def discard(self, handle: str) -> None:
        """Remove the attachment of a handle, if it exists."""
        from rex.core import Error

        try:
            self.storage.remove(handle)
        except Error as error:
            if error.kind is not Kind.NOT_FOUND:
                raise

    def leave(self) -> None:
        """Undo what `first` created."""

    def mask(self, text: str) -> str:
        """Return a text without its secrets; every printed text passes through here."""
        return text
