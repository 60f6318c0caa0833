"""What a kind of storage adds to its examination: its own steps, and what to change."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rex.attach.links.client import Answer, Client, Unreachable
    from rex.attach.storage import Storage
    from rex.core import Error

__all__ = [
    "MAX_ANSWER",
    "MAX_TEXT",
    "OK",
    "Check",
    "Doctor",
    "Step",
    "Verdict",
    "doctors_of",
    "fail",
    "fail_with",
    "ok",
    "one_line",
    "skip",
    "warn",
]

FORBIDDEN = 403
MAX_ANSWER = 65536
"""The bytes of an answer that are looked at; whoever gives it may be anyone."""
MAX_TEXT = 600
OK = "ok"
"""The code of a finding where nothing is wrong."""


class Verdict(enum.Enum):
    """What was found in one step."""

    OK = "ok"
    """It works."""
    WARN = "warn"
    """It works, and there is something to know."""
    FAIL = "fail"
    """An application would fail."""
    SKIP = "skip"
    """It was not tried, for the reason given."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was found in one step of an examination."""

    step: str
    verdict: Verdict
    code: str
    """What was found, for programs (docs/errors.md): `OK` if nothing is wrong."""
    text: str
    """What was found, in one line."""
    advice: tuple[str, ...] = ()
    """What to change, in lines; one that begins with ``$`` is a command."""
    storage: str = ""
    """Which storage it is about."""


class Step(NamedTuple):
    """One step of an examination."""

    name: str
    look: Callable[[], Check]
    needs: Sequence[str] = ()
    """The steps without which this one makes no sense."""


def ok(text: str) -> Check:
    """Return the finding that something works."""
    return Check("", Verdict.OK, OK, text)


def warn(code: str, text: str, *advice: str) -> Check:
    """Return a finding that the operator should know."""
    return Check("", Verdict.WARN, code, text, advice)


def fail(code: str, text: str, *advice: str) -> Check:
    """Return the finding that something does not work."""
    return Check("", Verdict.FAIL, code, text, advice)


def fail_with(error: Error, *advice: str) -> Check:
    """Return the finding that a step failed with an error, under the code of that error."""
    return fail(error.code, one_line(error), *advice)


def skip(code: str, reason: str) -> Check:
    """Return the finding that a step was not tried, and why."""
    return Check("", Verdict.SKIP, code, reason)


def one_line(error: Error) -> str:
    """Return an error's message, setting and payload in one line."""
    return error.headline if error.payload is None else f"{error.headline}: {error.payload}"


class Doctor:
    """What is particular to one storage; whatever it raises is told as what is wrong.

    An `Error` that a step raises is a finding too, with `advice`.
    """

    required: Sequence[str] = ()
    """The steps without which nothing can be tried."""
    methods: Sequence[str] = ("GET", "PUT", "POST")
    """What the pages of other sites do with links."""
    is_older = False
    """Whether nothing new is stored here (setting attach_fallback)."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def first(self) -> list[Step]:
        """Give the steps before anything is stored."""
        return []

    def more(self, reserve: Callable[[], str]) -> list[Step]:
        """Give more steps, after those that every storage has.

        What they store, they store under handles that `reserve` gives; it is removed in the end.
        """
        del reserve
        return []

    @functools.cached_property
    def client(self) -> Client:
        """What sends requests as those do who have a link."""
        from rex.attach.links.client import Client

        return Client(most=MAX_ANSWER)

    def lacks_links(self) -> Check | None:
        """Return the finding that no link can be tried, or None if links can be tried."""
        return None

    def advice(self, step: str, error: Error) -> Sequence[str]:
        """Return what to change where a step failed with an error."""
        del step
        is_full = error.code == "storage-full"
        return ("make room, or give the storage more",) if is_full else ()

    def explain_refusal(self, method: str, answer: Answer) -> Check:
        """Say what is wrong where a link was answered with a refusal."""
        advice = ["attach_url must be the address of the service of this very storage"]
        if answer.status == FORBIDDEN:
            advice.append("and the service must have the same secret (setting attach_secret)")
        found = f"a {method} to {self.storage.url} is answered {answer.status}"
        return fail("link-refused", found, *advice)

    def unreachable(self, failure: Unreachable) -> Check:
        """Say what is wrong where a link leads nowhere."""
        return fail(
            "unreachable",
            f"{self.storage.url} cannot be reached: {failure}",
            "start the service (rex serve), or give its address in attach_url",
        )

    def not_shared(self, origin: str) -> Sequence[str]:
        """Say what to do so that the pages of an origin may use the links."""
        return (f"the service permits {origin} itself: a proxy before it must pass that on",)

    def discard(self, handle: str) -> None:
        """Remove what may be stored under a handle; must not fail where nothing is."""
        from rex.core import Error

        try:
            self.storage.remove(handle)
        except Error as error:
            if error.kind is not Kind.NOT_FOUND:
                raise

    def leave(self) -> None:
        """Undo what `first` has made, at last."""

    def mask(self, text: str) -> str:
        """Give a text without what is secret; all that is told comes through here."""
        return text


def doctors_of(storage: Storage) -> Sequence[Doctor]:
    """Return what examines a storage, or each of those that it is made of."""
    diagnostics = storage.abilities.diagnostics
    return (Doctor(storage),) if diagnostics is None else diagnostics()
