"""Storages broken on purpose in what they list."""

from __future__ import annotations

import itertools
import unicodedata
from typing import TYPE_CHECKING

from attach.broken import caught_by
from rex.attach.backends.memory.storage import MemoryStorage

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator


@caught_by("attachments_are_listed_in_the_order_of_their_handles", "a_long_listing_is_whole")
class ListsInTheOrderOfAdding(MemoryStorage):
    """Keys are listed as they were added."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        wanted = set(super()._list(day, after))
        return iter([key for key in self._objects if key in wanted])


@caught_by("a_long_listing_is_whole")
class ListsOnePage(MemoryStorage):
    """The listing ends after a thousand."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        return itertools.islice(super()._list(day, after), 1000)


@caught_by("attachments_are_listed_in_the_order_of_their_handles", "a_listing_is_an_iterator")
class ListsTwice(MemoryStorage):
    """Every key is listed twice."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        return (key for key in super()._list(day, after) for _ in range(2))


@caught_by("a_listing_after_a_handle_begins_behind_it", "a_long_listing_is_whole")
class IgnoresAfter(MemoryStorage):
    """The listing always begins at the beginning."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        del after
        return super()._list(day, None)


@caught_by("a_listing_after_a_handle_begins_behind_it", "day_and_after_hold_together")
class BeginsWithAfter(MemoryStorage):
    """The listing begins with the handle after which it should."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        first = [after] if after in self._objects and after is not None else []
        return itertools.chain(first, super()._list(day, after))


@caught_by("a_listing_after_a_handle_begins_behind_it")
class NeedsWhatItBeginsAfter(MemoryStorage):
    """The listing is empty when the handle after which to begin is not there."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        found = after is None or after in self._objects
        return super()._list(day, after) if found else iter([])


@caught_by("a_listing_of_a_day_has_that_day_alone", "day_and_after_hold_together")
class IgnoresTheDay(MemoryStorage):
    """All days are listed."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        del day
        return super()._list(None, after)


@caught_by("day_and_after_hold_together")
class TakesDayOrAfter(MemoryStorage):
    """Given a day, the listing forgets after which handle to begin."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        return super()._list(day, after if day is None else None)


@caught_by("a_listing_survives_the_removal_of_what_it_lists")
class ListsWhatChanges(MemoryStorage):
    """The listing runs over the live keys and fails when they change."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        wanted = set(super()._list(day, after))
        self._objects = dict(sorted(self._objects.items()))
        return (key for key in self._objects if key in wanted)


@caught_by("names_in_every_script_are_kept", "a_name_in_the_form_of_apple_is_the_same_name")
class ListsDecomposedNames(MemoryStorage):
    """Names come back decomposed (NFD), as from some file systems."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        return (unicodedata.normalize("NFD", key) for key in super()._list(day, after))
