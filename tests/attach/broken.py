"""The register of storages broken on purpose, and of the promises that must catch them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.storage import Storage

__all__ = ["BROKEN", "caught_by"]

S = TypeVar("S", bound="type[Storage]")

BROKEN: dict[type[Storage], tuple[str, ...]] = {}
"""The broken storages, each with the names of promises that it breaks."""


def caught_by(*promises: str) -> Callable[[S], S]:
    """Register a broken storage with the promises that catch it, among others."""

    def register(broken: S) -> S:
        BROKEN[broken] = promises
        return broken

    return register
