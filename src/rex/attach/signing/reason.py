"""Why a link is refused, as values; and how what others wrote is shown there."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Certainty", "Comparison", "Reason", "certain", "likely", "possible", "quoted"]


class Certainty(enum.Enum):
    """How sure a reason is."""

    CERTAIN = "certain"
    """The link or the answer says so, or the signature proves it."""
    LIKELY = "likely"
    """It would be refused so, and speaks for itself more than anything else does."""
    POSSIBLE = "possible"
    """It would be refused so, and nothing speaks against it."""


class Reason(NamedTuple):
    """One reason for which a link is refused."""

    certainty: Certainty
    reason: str
    """What is wrong, as a sentence."""
    evidence: str
    """What in the link, the answer or the settings says so."""
    change: str
    """What to change."""


class Comparison(NamedTuple):
    """What a storage knows of a link: how it differs from its settings, and its signature."""

    reasons: list[Reason]
    checked: list[str]
    """What was compared, in a few words each."""
    method: str | None = None
    """The method that the link is signed for, if its signature is right as it stands."""
    is_changed: bool = False
    """Whether its signature is not right for any method."""


def certain(reason: str, evidence: str, change: str) -> Reason:
    """Give a reason that is certain."""
    return Reason(Certainty.CERTAIN, reason, evidence, change)


def likely(reason: str, evidence: str, change: str) -> Reason:
    """Give a reason that is likely."""
    return Reason(Certainty.LIKELY, reason, evidence, change)


def possible(reason: str, evidence: str, change: str) -> Reason:
    """Give a reason that is possible."""
    return Reason(Certainty.POSSIBLE, reason, evidence, change)


def quoted(text: str, limit: int = 200) -> str:
    """Show what others wrote: in one line, without control characters, not at length."""
    printable = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return printable if len(text) <= limit else f"{printable[:limit]}..."
