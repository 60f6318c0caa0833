"""The promises that were written down, and the runner that tells which a storage breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.conformance.harness import Harness

__all__ = [
    "Failure",
    "Promise",
    "failures",
    "link_promise",
    "promise",
    "promises_for",
    "upload_promise",
]

Promise: TypeAlias = "Callable[[Harness], None]"
"""A function that raises, mostly AssertionError, when the harness's storage breaks the promise."""

_GENERAL: list[Promise] = []
_WITH_LINKS: list[Promise] = []
_WITHOUT_LINKS: list[Promise] = []
_WITH_UPLOADS: list[Promise] = []
_WITHOUT_UPLOADS: list[Promise] = []


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that a storage broke."""

    promise: str
    """Its name, which is a sentence."""
    how: str
    """What was expected and what happened."""
    cause: BaseException

    def __str__(self) -> str:
        return f"{self.promise.replace('_', ' ')}: {self.how}"


def promise(check: Promise) -> Promise:
    """Add a promise that every storage makes."""
    _GENERAL.append(check)
    return check


def link_promise(*, supported: bool) -> Callable[[Promise], Promise]:
    """Add a promise of the storages that can sign links, or of those that cannot."""

    def add(check: Promise) -> Promise:
        (_WITH_LINKS if supported else _WITHOUT_LINKS).append(check)
        return check

    return add


def upload_promise(*, supported: bool) -> Callable[[Promise], Promise]:
    """Add a promise of the storages that take uploads in pieces, or of those that do not."""

    def add(check: Promise) -> Promise:
        (_WITH_UPLOADS if supported else _WITHOUT_UPLOADS).append(check)
        return check

    return add


def promises_for(*, links: bool, uploads: bool = True) -> tuple[Promise, ...]:
    """Give the promises of a storage that can sign links and takes uploads in pieces, or not."""
    return (
        *_GENERAL,
        *(_WITH_LINKS if links else _WITHOUT_LINKS),
        *(_WITH_UPLOADS if uploads else _WITHOUT_UPLOADS),
    )


def failures(harness: Harness, promises: tuple[Promise, ...] | None = None) -> list[Failure]:
    """Put all promises, or those given, to the test; tell which were broken, and how."""
    broken = []
    for check in _promises_of(harness) if promises is None else promises:
        try:
            check(harness)
        except Exception as failure:  # noqa: BLE001 - whatever comes out breaks the promise
            how = str(failure) or repr(failure)
            if not isinstance(failure, AssertionError):
                how = f"{type(failure).__name__}: {how}"
            broken.append(Failure(check.__name__, how, failure))
    return broken


def _promises_of(harness: Harness) -> tuple[Promise, ...]:
    return promises_for(links=harness.links, uploads=harness.uploads)
