"""The registry of promises, and the runner that finds broken ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.backend.abilities import Abilities
    from rex.attach.conformance.harness import Harness

__all__ = [
    "Failure",
    "Promise",
    "all_promises",
    "failures",
    "link_promise",
    "promise",
    "promises_for",
    "upload_promise",
]

Promise: TypeAlias = "Callable[[Harness], None]"
"""A function that raises, usually AssertionError, if the harness's storage breaks it."""

_GENERAL: list[Promise] = []
_WITH_LINKS: list[Promise] = []
_WITHOUT_LINKS: list[Promise] = []
_WITH_UPLOADS: list[Promise] = []
_WITHOUT_UPLOADS: list[Promise] = []


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that a storage broke."""

    promise: str
    """The name of the promise, a sentence."""
    how: str
    """The expected and the actual result."""
    cause: BaseException

    def __str__(self) -> str:
        return f"{self.promise.replace('_', ' ')}: {self.how}"


def promise(check: Promise) -> Promise:
    """Register a promise of every storage."""
    _GENERAL.append(check)
    return check


def link_promise(*, supported: bool) -> Callable[[Promise], Promise]:
    """Register a promise of storages that can sign links, or of those that cannot."""

    def add(check: Promise) -> Promise:
        (_WITH_LINKS if supported else _WITHOUT_LINKS).append(check)
        return check

    return add


def upload_promise(*, supported: bool) -> Callable[[Promise], Promise]:
    """Register a promise of storages with resumable uploads, or of those without."""

    def add(check: Promise) -> Promise:
        (_WITH_UPLOADS if supported else _WITHOUT_UPLOADS).append(check)
        return check

    return add


def promises_for(abilities: Abilities) -> tuple[Promise, ...]:
    """Return the promises of a storage with these abilities."""
    return (
        *_GENERAL,
        *(_WITHOUT_LINKS if abilities.links is None else _WITH_LINKS),
        *(_WITHOUT_UPLOADS if abilities.resumable is None else _WITH_UPLOADS),
    )


def all_promises() -> tuple[Promise, ...]:
    """Return the promises of all storages, whichever abilities they have."""
    return (*_GENERAL, *_WITH_LINKS, *_WITHOUT_LINKS, *_WITH_UPLOADS, *_WITHOUT_UPLOADS)


def failures(harness: Harness, promises: tuple[Promise, ...] | None = None) -> list[Failure]:
    """Test all promises, or the given ones; return those that are broken."""
    broken = []
    for check in _promises_of(harness) if promises is None else promises:
        try:
            check(harness)
        except Exception as failure:  # noqa: BLE001 - any exception breaks the promise
            how = str(failure) or repr(failure)
            if not isinstance(failure, AssertionError):
                how = f"{type(failure).__name__}: {how}"
            broken.append(Failure(check.__name__, how, failure))
    return broken


def _promises_of(harness: Harness) -> tuple[Promise, ...]:
    with harness.storage() as storage:
        return promises_for(storage.abilities)
