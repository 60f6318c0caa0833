"""Promises on `put`: an attachment never changes, and a caller may retry."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import (
    HANGS,
    expect,
    expect_content,
    expect_error,
    expect_nothing_stored,
    expect_raises,
    expect_true,
)
from rex.attach.conformance.promise import ability_promise, promise, upload_promise
from rex.attach.conformance.samples import MIB, at_once, fail_after, sample, split_chunks
from rex.core import Error, Kind

# One promise loses a response between the backend method and the operation.
# ruff: noqa: SLF001

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage

SIZES = (1000, 9 * MIB)
"""In bytes: content for one request to a server, and for several."""


@promise
def what_is_put_under_a_reserved_handle_comes_back(harness: Harness) -> None:
    """`put` stores an attachment like `add`, with the given content type."""
    with harness.storage() as storage:
        for size in (0, *SIZES):
            handle, data = storage.reserve("a b.png"), sample(size)
            storage.put(handle, split_chunks(data, MIB), content_type="x/special")
            expect_content(storage, handle, data)
            info = storage.info(handle)
            expect("name and type", ("a b.png", "x/special"), (info.name, info.content_type))
            expect("attachments listed", [handle], list(storage))
            storage.remove(handle)
        expect_nothing_stored(harness, storage)


@promise
def other_bytes_are_not_put_over_an_attachment(harness: Harness) -> None:
    """`put` of different bytes of any size is `EXISTS`, and changes nothing."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, data = storage.reserve("a.bin"), sample(size)
            storage.put(handle, data)
            before = storage.info(handle)
            for other in (b"", sample(size, "other"), data[:-1], data + b"x", sample(9 * MIB, "x")):
                for content in (other, split_chunks(other, MIB)):
                    expect_error(Kind.EXISTS, "put", storage.put, handle, content)
            expect_content(storage, handle, data)
            expect("metadata", before, storage.info(handle))
        added = storage.add("a.bin", b"data")
        expect_error(Kind.EXISTS, "put over an added attachment", storage.put, added, b"other")
        expect_content(storage, added, b"data")
        expect("garbage in the storage", [], harness.garbage(storage))


@promise
def the_same_bytes_can_be_put_again(harness: Harness) -> None:
    """`put` of the same bytes succeeds and changes nothing: a caller may retry."""
    with harness.storage() as storage:
        for size in (0, *SIZES):
            handle, data = storage.reserve("a.bin"), sample(size)
            storage.put(handle, data)
            before = storage.info(handle)
            for content in (data, split_chunks(data, MIB)):
                storage.put(handle, content)
            harness.again(storage).put(handle, data)
            expect_content(storage, handle, data)
            expect("metadata", before, storage.info(handle))
        expect("garbage in the storage", [], harness.garbage(storage))


@promise
def the_same_bytes_of_another_type_exist_already(harness: Harness) -> None:
    """`put` of the same bytes with a different content type is `EXISTS`."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, data = storage.reserve("a.bin"), sample(size)
            storage.put(handle, data, content_type="x/one")
            expect_error(Kind.EXISTS, "put", storage.put, handle, data, content_type="x/other")
            expect("content type", "x/one", storage.info(handle).content_type)


@promise
def a_put_that_is_not_idempotent_takes_place_once(harness: Harness) -> None:
    """With `idempotent` false, the same bytes are `EXISTS`: a link works once."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, data = storage.reserve("a.bin"), sample(size)
            storage.put(handle, data, idempotent=False)
            expect_error(Kind.EXISTS, "put", storage.put, handle, data, idempotent=False)
            expect_content(storage, handle, data)


@promise
def of_several_who_put_at_once_one_succeeds(harness: Harness) -> None:
    """Of concurrent puts, one succeeds and the others are `EXISTS`; its bytes are stored."""
    with harness.storage() as storage:
        large, small = 9 * MIB, 1000
        for sizes in ((small,) * 4, (large, large), (large, large + 1), (large, small)) * 2:
            contents = [sample(size, str(number)) for number, size in enumerate(sizes)]
            handle = storage.reserve("a.bin")
            outcomes = at_once([_make_putter(storage, handle, content) for content in contents])
            winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
            expect(f"winners among {outcomes}", 1, len(winners))
            kinds = {getattr(outcome, "kind", outcome) for outcome in outcomes}
            expect("outcomes", {None, Kind.EXISTS}, kinds)
            expect_content(storage, handle, contents[winners[0]])
        expect("garbage in the storage", [], harness.garbage(storage))


@ability_promise("create_once")
def of_many_who_put_at_any_size_one_succeeds(harness: Harness) -> None:
    """Of many concurrent puts of more than 8 MiB, one succeeds and the others are `EXISTS`."""
    with harness.storage() as storage:
        for _ in range(2):
            contents = [sample(9 * MIB, str(number)) for number in range(5)]
            handle = storage.reserve("a.bin")
            outcomes = at_once([_make_putter(storage, handle, content) for content in contents])
            winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
            expect(f"winners among {outcomes}", 1, len(winners))
            kinds = {getattr(outcome, "kind", outcome) for outcome in outcomes}
            expect("outcomes", {None, Kind.EXISTS}, kinds)
            expect_content(storage, handle, contents[winners[0]])


@promise
def all_who_put_the_same_bytes_at_once_succeed(harness: Harness) -> None:
    """Concurrent puts of the same bytes all succeed."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, data = storage.reserve("a.bin"), sample(size)
            outcomes = at_once([_make_putter(storage, handle, data) for _ in range(3)])
            expect("outcomes", [None] * 3, outcomes)
            expect_content(storage, handle, data)
        expect("garbage in the storage", [], harness.garbage(storage))


@promise
def a_put_whose_answer_was_lost_can_be_repeated(harness: Harness) -> None:
    """A caller that gets an error although the attachment was stored can repeat the put."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, data = storage.reserve("a.bin"), sample(size)
            loose: Any = storage
            put = storage._put

            def lost(*arguments: Any, put: Callable[..., None] = put) -> None:
                put(*arguments)
                raise Error("The response was lost", kind=Kind.UNAVAILABLE)

            loose._put = lost
            try:
                expect_error(Kind.UNAVAILABLE, "put", storage.put, handle, data)
            finally:
                del loose._put
            storage.put(handle, data)
            expect_content(storage, handle, data)
            expect_error(Kind.EXISTS, "put of others", storage.put, handle, b"other")


@promise
def a_put_that_fails_takes_nothing_away(harness: Harness) -> None:
    """A put whose content fails leaves an existing attachment, and otherwise nothing."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, failure = storage.reserve("a.bin"), ValueError("broken")
            expect_raises(ValueError, "put", storage.put, handle, fail_after(failure, size))
            expect_nothing_stored(harness, storage)
            data = sample(size)
            storage.put(handle, data)
            for content in (fail_after(failure, size), fail_after(failure, size + 1)):
                expect_raises(Exception, "put", storage.put, handle, content)
            expect_error(Kind.CORRUPT, "put", storage.put, handle, data, digest="0" * 64)
            expect_content(storage, handle, data)
            expect("garbage in the storage", [], harness.garbage(storage))
            storage.remove(handle)


@promise
def a_put_that_is_cancelled_takes_nothing_back(harness: Harness) -> None:
    """A cancelled put removes nothing: an earlier put may have stored the attachment."""
    with harness.storage() as storage:
        for size in SIZES:
            handle, data = storage.reserve("a.bin"), sample(size)
            storage.put(handle, data)
            asyncio.run(_cancel_put(storage, handle, data))
            expect_content(storage, handle, data)


@upload_promise(supported=True)
def an_upload_in_pieces_does_not_replace_what_was_put(harness: Harness) -> None:
    """Of a resumable upload and a put, the second one is `EXISTS`."""
    with harness.storage() as storage:
        for size in SIZES:
            data, other = sample(size), sample(size, "other")
            handle = storage.uploads.create("a.bin", size=size).handle
            storage.uploads.append(handle, 0, data[:-1])
            storage.put(handle, other)
            append = storage.uploads.append
            expect_error(Kind.EXISTS, "append", append, handle, size - 1, data[-1:])
            expect_content(storage, handle, other)
            storage.uploads.remove(handle)
            expect_content(storage, handle, other)

            handle = storage.uploads.create("a.bin", size=size).handle
            storage.uploads.append(handle, 0, data)
            expect_error(Kind.EXISTS, "put", storage.put, handle, other)
            expect_content(storage, handle, data)


@upload_promise(supported=True)
def of_an_upload_and_a_put_at_once_one_succeeds(harness: Harness) -> None:
    """Of a concurrent resumable upload and put, one succeeds; its bytes are stored."""
    with harness.storage() as storage:
        for size in (*SIZES, *SIZES):
            contents = [sample(size, "upload"), sample(size, "put")]
            handle = storage.uploads.create("a.bin", size=size).handle
            append, first = storage.uploads.append, contents[0]
            append(handle, 0, first[:-1])
            outcomes = at_once(
                [
                    lambda: append(handle, size - 1, first[-1:]),  # noqa: B023 - called in here
                    _make_putter(storage, handle, contents[1]),
                ]
            )
            winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
            expect(f"winners among {outcomes}", 1, len(winners))
            expect_content(storage, handle, contents[winners[0]])
            if winners == [1]:
                storage.uploads.remove(handle)
        expect("garbage in the storage", [], harness.garbage(storage))


def _make_putter(storage: Storage, handle: str, content: bytes) -> Callable[[], None]:
    return lambda: storage.put(handle, content)


async def _cancel_put(storage: Storage, handle: str, data: bytes) -> None:
    """Put in a task that is cancelled after the attachment is stored, before `put` returns."""
    loop, done, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    loose: Any = storage
    put = storage.put

    def slow(*arguments: Any, **options: Any) -> None:
        try:
            put(*arguments, **options)
        finally:
            loop.call_soon_threadsafe(done.set)
        go_on.wait(HANGS)

    loose.put = slow
    try:
        putting = asyncio.create_task(storage.aio.put(handle, data))
        await asyncio.wait_for(done.wait(), HANGS)
        putting.cancel()
        await asyncio.sleep(0)
        go_on.set()
        (outcome,) = await asyncio.gather(putting, return_exceptions=True)
        expect_true(
            "a cancelled put reports its cancellation", isinstance(outcome, asyncio.CancelledError)
        )
    finally:
        del loose.put
