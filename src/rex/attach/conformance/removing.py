"""Promises on removing: a removed attachment is gone, without a trace."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rex.attach.conformance.expectations import (
    expect,
    expect_error,
    expect_nothing_stored,
    expect_true,
)
from rex.attach.conformance.promise import ability_promise, promise
from rex.attach.conformance.samples import MIB, at_once, sample
from rex.core import Kind

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage


@promise
def what_is_removed_is_gone(harness: Harness) -> None:
    """After `remove`, every operation raises `NOT_FOUND` with the handle, also `remove`."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        storage.remove(handle)
        _expect_not_there(storage, handle)
        expect_nothing_stored(harness, storage)


@promise
def a_storage_tells_whether_it_has_an_attachment(harness: Harness) -> None:
    """`in` is True for an attachment, and False for a removed one or for anything else."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        expect("in, when stored", True, handle in storage)
        storage.remove(handle)
        for other in (handle, storage.reserve("a.txt"), "/etc/passwd", None, 7):
            expect(f"{other!a} in", False, other in storage)


@promise
def what_never_was_is_not_found(harness: Harness) -> None:
    """A handle without an attachment is `NOT_FOUND`, even next to an attachment."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"data")
        folder = handle.rpartition("/")[0]
        for other in (storage.reserve("a.txt"), f"{folder}/b.txt", f"{folder}/a.tx"):
            _expect_not_there(storage, other)
        expect("attachments left", [handle], list(storage))


@promise
def removing_one_leaves_the_others(harness: Harness) -> None:
    """`remove` removes only the attachment of its handle."""
    with harness.storage() as storage:
        handles = sorted(storage.add("same.txt", str(number)) for number in range(6))
        for handle in handles[::2]:
            storage.remove(handle)
        expect("attachments left", handles[1::2], list(storage))
        for handle in handles[1::2]:
            with storage.open(handle) as stream:
                expect("size of the content left", 1, len(stream.read()))


@promise
def removing_leaves_no_traces(harness: Harness) -> None:
    """Removed attachments leave neither directories nor parts nor records."""
    with harness.storage() as storage:
        handles = [storage.add(f"{size}.bin", sample(size)) for size in (0, 10, 9 * MIB)]
        expect("garbage in the storage", [], harness.garbage(storage))
        for handle in handles:
            storage.remove(handle)
        expect_nothing_stored(harness, storage)
        expect_true("the storage accepts attachments again", storage.add("a.txt", b"data"))


@promise
def of_two_removers_at_least_one_succeeds(harness: Harness) -> None:
    """Concurrent removals of one attachment succeed or raise `NOT_FOUND`."""
    with harness.storage() as storage:
        for number in range(6):
            handle = storage.add(f"{number}.txt", b"data")
            outcomes = at_once([partial(storage.remove, handle)] * 2)
            kinds = [getattr(outcome, "kind", outcome) for outcome in outcomes]
            expect_true(f"one remover succeeds: {kinds}", None in kinds)
            expect("outcomes of the removers", set(), {*kinds} - {None, Kind.NOT_FOUND})
            _expect_not_there(storage, handle)
        expect_nothing_stored(harness, storage)


@ability_promise("one_remover")
def of_several_removers_exactly_one_succeeds(harness: Harness) -> None:
    """Of concurrent removals of one attachment, one succeeds and the others are `NOT_FOUND`."""
    with harness.storage() as storage:
        for number in range(6):
            handle = storage.add(f"{number}.txt", b"data")
            outcomes = at_once([partial(storage.remove, handle)] * 4)
            kinds = [getattr(outcome, "kind", outcome) for outcome in outcomes]
            expect("successful removers", 1, kinds.count(None))
            expect("outcomes of the others", 3, kinds.count(Kind.NOT_FOUND))
        expect_nothing_stored(harness, storage)


@promise
def adding_and_removing_at_once_loses_nothing(harness: Harness) -> None:
    """Removing the last attachment of a day does not disturb a concurrent add."""
    with harness.storage() as storage:

        def add_and_remove() -> None:
            for number in range(15):
                handle = storage.add(f"{number}.txt", b"data")
                with storage.open(handle) as stream:
                    expect("content", b"data", stream.read())
                storage.remove(handle)

        expect("outcomes", [None] * 8, at_once([add_and_remove] * 8))
        expect_nothing_stored(harness, storage)


def _expect_not_there(storage: Storage, handle: str) -> None:
    for name in ("open", "info", "stat", "remove"):
        operation = getattr(storage, name)
        error = expect_error(Kind.NOT_FOUND, name, operation, handle)
        expect_true(f"the error of {name} names the handle", handle in str(error))
