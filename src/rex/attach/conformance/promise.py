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
    "ability_promise",
    "all_promises",
    "failures",
    "link_promise",
    "promise",
    "promises_for",
    "upload_promise",
]

Promise: TypeAlias = "Callable[[Harness], None]"
"""A function that raises, usually AssertionError, if the harness's storage breaks it."""
Needs: TypeAlias = "Callable[[Abilities], bool]"

_REGISTRY: list[tuple[Promise, Needs]] = []
"""Every promise, and whether storages with some abilities must keep it."""


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
    _REGISTRY.append((check, lambda _: True))
    return check


def ability_promise(name: str) -> Callable[[Promise], Promise]:
    """Register a promise of storages with an ability, by the name of its field."""
    return _register(lambda abilities: bool(getattr(abilities, name)))


def link_promise(*, supported: bool, needs: str = "") -> Callable[[Promise], Promise]:
    """Register a promise of storages that can sign links, or of those that cannot.

    With `needs`, it is one of the storages whose `LinkSigner` has this attribute: ``post_links``,
    ``pins_type`` or ``limits_put``; with ``not`` in front, of those that do not.
    """
    name = needs.removeprefix("not ")

    def must(abilities: Abilities) -> bool:
        links = abilities.links
        if links is None or not supported or not needs:
            return (links is not None) == supported
        return bool(getattr(links, name)) == (name == needs)

    return _register(must)


def upload_promise(*, supported: bool) -> Callable[[Promise], Promise]:
    """Register a promise of storages with resumable uploads, or of those without."""
    return _register(lambda abilities: (abilities.resumable is not None) == supported)


def _register(needs: Needs) -> Callable[[Promise], Promise]:
    def add(check: Promise) -> Promise:
        _REGISTRY.append((check, needs))
        return check

    return add


def promises_for(abilities: Abilities) -> tuple[Promise, ...]:
    """Return the promises of a storage with these abilities."""
    return tuple(check for check, needs in _REGISTRY if needs(abilities))


def all_promises() -> tuple[Promise, ...]:
    """Return the promises of all storages, whichever abilities they have."""
    return tuple(check for check, _ in _REGISTRY)


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
