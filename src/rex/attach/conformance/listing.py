"""Promises on listing: a listing yields each attachment once, in order, lazily."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import expect, expect_error, expect_true
from rex.attach.conformance.promise import promise
from rex.attach.handle import show
from rex.core import Kind

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage

BEFORE_ALL = "/0001/01/01/00000000-0000-4000-8000-000000000000/a"
AFTER_ALL = "/9999/12/31/ffffffff-ffff-4fff-bfff-ffffffffffff/z"
DAY = datetime.timedelta(days=1)


@promise
def an_empty_storage_lists_nothing(harness: Harness) -> None:
    """An empty storage can be listed, with every argument."""
    with harness.storage() as storage:
        expect("all", [], list(storage))
        expect("of a day", [], list(storage.list(day="2026-11-23")))
        expect("after a handle", [], list(storage.list(after=BEFORE_ALL)))


@promise
def attachments_are_listed_in_the_order_of_their_handles(harness: Harness) -> None:
    """A listing yields each handle once, in lexicographical order."""
    with harness.storage() as storage:
        handles = [storage.add(f"{number}.txt", b"data") for number in range(30)]
        expect("all", sorted(handles), list(storage))
        expect("all, with list", sorted(handles), list(storage.list()))


@promise
def a_long_listing_is_whole(harness: Harness) -> None:
    """A listing of several pages yields each handle once, in order, from any handle on."""
    with harness.storage() as storage:
        with ThreadPoolExecutor(16) as pool:
            handles = sorted(pool.map(lambda n: storage.add(f"{n}", b""), range(harness.many)))
        expect_same("all", handles, list(storage))
        middle = harness.many // 2
        expect_same("after the middle", handles[middle + 1 :], list_after(storage, handles[middle]))
        expect_same("after the last but one", handles[-1:], list_after(storage, handles[-2]))
        expect_same("of the days", handles, sorted(_list_days(storage, handles)))


@promise
def a_listing_is_an_iterator(harness: Harness) -> None:
    """A listing yields handles one by one, and may be abandoned."""
    with harness.storage() as storage:
        handles = sorted(storage.add("a.txt", b"data") for _ in range(3))
        for listing in (storage.list(), iter(storage)):
            expect_true("the listing is an iterator", isinstance(listing, Iterator))
            expect("first", handles[0], next(listing))
            expect("second", handles[1], next(listing))
        expect("listed again", handles, list(storage))


@promise
def a_listing_after_a_handle_begins_behind_it(harness: Harness) -> None:
    """`after` omits the handle itself and all handles before it, whether it exists or not."""
    with harness.storage() as storage:
        handles = sorted(storage.add("b.txt", b"data") for _ in range(10))
        for at, handle in enumerate(handles):
            expect(f"after number {at}", handles[at + 1 :], list_after(storage, handle))
            folder = handle.rpartition("/")[0]
            expect("after a name before", handles[at:], list_after(storage, f"{folder}/a"))
            expect("after a name behind", handles[at + 1 :], list_after(storage, f"{folder}/c"))
        expect("after a day before", handles, list_after(storage, BEFORE_ALL))
        expect("after a day to come", [], list_after(storage, AFTER_ALL))
        storage.remove(handles[4])
        expect("after a removed handle", handles[5:], list_after(storage, handles[4]))


@promise
def a_listing_of_a_day_has_that_day_alone(harness: Harness) -> None:
    """`day`, a date or a string, restricts a listing to the handles made on that day."""
    with harness.storage() as storage:
        handles = sorted(storage.add("a.txt", b"data") for _ in range(5))
        expect("of today and its neighbours", handles, sorted(_list_days(storage, handles)))
        day = _day(handles[0])
        same = [handle for handle in handles if _day(handle) == day]
        expect("of the day as a date", same, list(storage.list(day=day)))
        expect("of the day as text", same, list(storage.list(day=day.isoformat())))
        for other in (day - DAY, day + 2 * DAY, datetime.date.min, datetime.date.max):
            expect(f"of {other}", [], list(storage.list(day=other)))


@promise
def day_and_after_hold_together(harness: Harness) -> None:
    """With both `day` and `after`, a listing yields the handles that satisfy both."""
    with harness.storage() as storage:
        handles = sorted(storage.add("a.txt", b"data") for _ in range(5))
        day = _day(handles[0])
        same = [handle for handle in handles if _day(handle) == day]
        expect("after the first", same[1:], list(storage.list(day=day, after=same[0])))
        expect("after a day before", same, list(storage.list(day=day, after=BEFORE_ALL)))
        expect("after a day to come", [], list(storage.list(day=day, after=AFTER_ALL)))
        expect("of a different day", [], list(storage.list(day=day - DAY, after=BEFORE_ALL)))


@promise
def an_ill_formed_listing_is_refused_at_once(harness: Harness) -> None:
    """`list` itself raises `ILL_FORMED`, not the first step of the iteration."""
    with harness.storage() as storage:
        loose: Any = storage
        now = datetime.datetime.now(datetime.UTC)
        for day in (
            "",
            "today",
            "2026-13-01",
            "2026-02-30",
            "2026-11-23\n",
            "26-11-23",
            "2026-1-5",
            "20261123",
            7,
            now,
        ):
            what = f"list(day={day!a})"
            expect_error(Kind.ILL_FORMED, what, loose.list, day=day)
        for after in ("", "/", "2026", 7, AFTER_ALL[1:], AFTER_ALL + "\n"):
            what = f"list(after={show(after)!a})"
            expect_error(Kind.ILL_FORMED, what, loose.list, after=after)


@promise
def what_is_reserved_is_not_listed(harness: Harness) -> None:
    """`reserve` makes a new handle and stores nothing."""
    with harness.storage() as storage:
        handles = {storage.reserve("same.txt") for _ in range(10)}
        expect("different handles", 10, len(handles))
        expect("attachments listed", [], list(storage))
        expect("garbage in the storage", [], harness.garbage(storage))


@promise
def a_listing_goes_on_while_others_add_and_remove(harness: Harness) -> None:
    """Concurrent adds and removals neither break a listing nor hide other attachments."""
    with harness.storage() as storage:
        steady = sorted(storage.add("steady.txt", b"data") for _ in range(40))
        stop = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(_come_and_go, storage, stop) for _ in range(2)]
            try:
                for _ in range(10):
                    listed = list(storage)
                    expect("handles in order", sorted(set(listed)), listed)
                    expect("handles that stay", steady, sorted({*steady} & {*listed}))
            finally:
                stop.set()
            for worker in busy:
                worker.result()
        expect("all, afterwards", steady, list(storage))


@promise
def a_listing_survives_the_removal_of_what_it_lists(harness: Harness) -> None:
    """A caller that removes each attachment as it is listed reaches all of them."""
    with harness.storage() as storage:
        handles = sorted(storage.add("a.txt", b"data") for _ in range(20))
        listed = []
        for handle in storage:
            listed.append(handle)
            storage.remove(handle)
        expect("listed while removing", handles, listed)
        expect("left", [], list(storage))


def list_after(storage: Storage, handle: str) -> list[str]:
    """Return the handles after a handle."""
    return list(storage.list(after=handle))


def expect_same(what: str, expected: list[str], actual: list[str]) -> None:
    """Assert that two long listings are equal; show missing and unexpected handles."""
    expect(f"{what}: missing", [], sorted({*expected} - {*actual})[:3])
    expect(f"{what}: unexpected", [], sorted({*actual} - {*expected})[:3])
    expect(f"{what}: number", len(expected), len(actual))
    expect_true(f"{what}: is in order", expected == actual)


def _day(handle: str) -> datetime.date:
    return datetime.date(*map(int, handle.split("/")[1:4]))


def _list_days(storage: Storage, handles: list[str]) -> Iterator[str]:
    """Yield the listings of the days of the handles, and of the days before and after."""
    days = {_day(handle) + offset for handle in handles for offset in (-DAY, 0 * DAY, DAY)}
    for day in days:
        yield from storage.list(day=day)


def _come_and_go(storage: Storage, stop: threading.Event) -> None:
    while not stop.is_set():
        handles = [storage.add("passing.txt", b"data") for _ in range(3)]
        for handle in handles:
            storage.remove(handle)
