"""Promises on several resumable uploads: partial uploads, threads, processes, coroutines."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rex.attach.conformance.expectations import (
    HANGS,
    expect,
    expect_content,
    expect_error,
    expect_nothing_stored,
    expect_true,
)
from rex.attach.conformance.promise import upload_promise
from rex.attach.conformance.resumable import LARGE, expect_no_attachment, upload_part
from rex.attach.conformance.samples import MIB, sample, split_chunks
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage


@upload_promise(supported=True)
def a_part_is_never_an_attachment(harness: Harness) -> None:
    """A partial upload never becomes an attachment, even when complete."""
    with harness.storage() as storage:
        for size in (0, 10, LARGE):
            handle = upload_part(storage, sample(size))
            expect_no_attachment(storage, handle)
            upload = storage.uploads.info(handle)
            expect("whether it is partial", True, upload.partial)
            expect("whether it is complete", True, upload.is_complete)
            storage.uploads.remove(handle)
        expect_nothing_stored(harness, storage)


@upload_promise(supported=True)
def uploads_made_as_parts_are_joined(harness: Harness) -> None:
    """Joining stores the bytes of partial uploads in the given order, with repetitions."""
    with harness.storage() as storage:
        contents = [sample(size, "part") for size in (LARGE + 1, 0, 5, LARGE)]
        parts = [upload_part(storage, content) for content in contents]
        order = [3, 2, 1, 0, 2, 3]
        handle = storage.uploads.join(
            "a b.png", [parts[place] for place in order], content_type="x/special"
        )
        expect_content(storage, handle, b"".join(contents[place] for place in order))
        info = storage.info(handle)
        expect("name and type", ("a b.png", "x/special"), (info.name, info.content_type))
        expect("listed", [handle], list(storage))
        expect("garbage in the storage", [], harness.garbage(storage))
        for part in parts:
            expect_error(Kind.NOT_FOUND, "info of a part", storage.uploads.info, part)


@upload_promise(supported=True)
def only_complete_parts_are_joined(harness: Harness) -> None:
    """Joining anything but complete partial uploads is refused, and changes nothing."""
    with harness.storage() as storage:
        part = upload_part(storage, b"abc")
        short = storage.uploads.create("a.bin", size=4, partial=True).handle
        other = storage.uploads.create("a.bin", size=4).handle
        whole = storage.add("a.bin", b"data")
        gone = upload_part(storage, b"gone")
        storage.uploads.remove(gone)
        for kind, *parts in (
            (Kind.CONFLICT, part, short),
            (Kind.CONFLICT, part, other),
            (Kind.CONFLICT, part, whole),
            (Kind.NOT_FOUND, part, gone),
            (Kind.ILL_FORMED, part, "/a.bin"),
        ):
            expect_error(kind, f"join of {parts}", storage.uploads.join, "a.bin", parts)
        expect("listed", [whole], list(storage))
        handle = storage.uploads.join("a.bin", [part])
        expect_content(storage, handle, b"abc")


@upload_promise(supported=True)
def only_one_appends_at_a_time(harness: Harness) -> None:
    """During an append, other changes are `BUSY`, and `info` works."""
    with harness.storage() as storage:
        handle = storage.uploads.create("a.bin", size=6).handle
        with _slow_append(storage, handle, [b"abc", b"def"]):
            append = storage.uploads.append
            expect_error(Kind.BUSY, "append", append, handle, 0, b"xyz")
            expect_error(Kind.BUSY, "remove", storage.uploads.remove, handle)
            expect_true("info returns the offset", storage.uploads.info(handle).offset in (0, 3))
            another = storage.uploads.create("b.bin", size=3).handle
            expect("offset of another upload", 3, append(another, 0, b"abc").offset)
        expect_content(storage, handle, b"abcdef")


@upload_promise(supported=True)
def another_storage_goes_on_with_an_upload(harness: Harness) -> None:
    """A second storage over the same place continues an upload of the first."""
    with harness.storage() as storage:
        other = harness.again(storage)
        pieces = [sample(size, "piece") for size in (10, LARGE, 3, 7)]
        whole = b"".join(pieces)
        for partial in (False, True):
            made = storage.uploads.create(
                "a.bin", size=len(whole), metadata="some metadata", partial=partial
            )
            offset = 0
            for piece, turn in zip(pieces, itertools.cycle((other, storage)), strict=False):
                told = turn.uploads.info(made.handle)
                expect("state", dataclasses.replace(made, offset=offset), told)
                expect("uploads", [made.handle], list(turn.uploads.list()))
                turn.uploads.append(made.handle, offset, piece)
                offset += len(piece)
            handle = other.uploads.join("b.bin", [made.handle]) if partial else made.handle
            expect_content(storage, handle, whole)
            storage.remove(handle)
        expect_nothing_stored(harness, storage)
        if other is not storage:
            other.close()


@upload_promise(supported=True)
def many_uploads_in_pieces_do_not_get_mixed_up(harness: Harness) -> None:
    """Concurrent uploads each get their own bytes."""
    with harness.storage() as storage, ThreadPoolExecutor(8) as pool:

        def live(number: int) -> tuple[str, bytes]:
            data = sample(LARGE if number % 4 == 0 else 5000, str(number))
            handle = storage.uploads.create("same.bin", size=len(data)).handle
            third = len(data) // 3
            for start in (0, third, 2 * third):
                end = len(data) if start == 2 * third else start + third
                storage.uploads.append(handle, start, split_chunks(data[start:end], MIB))
            return handle, data

        for handle, data in pool.map(live, range(8)):
            expect_content(storage, handle, data)
        expect("uploads", [], list(storage.uploads.list()))
        expect("garbage in the storage", [], harness.garbage(storage))


@upload_promise(supported=True)
def coroutines_take_uploads_in_pieces(harness: Harness) -> None:
    """Coroutines upload like the operations; a cancelled append stores the bytes so far."""
    data = sample(LARGE)

    async def live(storage: Storage) -> None:
        uploads = storage.aio.uploads
        upload = await uploads.create("a.bin", size=len(data))
        has_come = asyncio.Event()

        async def hang() -> AsyncIterator[bytes]:
            for chunk in split_chunks(data[: 3 * MIB], MIB):
                yield chunk
            has_come.set()
            await asyncio.Event().wait()

        appending = asyncio.ensure_future(uploads.append(upload.handle, 0, hang()))
        await has_come.wait()
        appending.cancel()
        await asyncio.wait({appending})
        expect("whether it was cancelled", True, appending.cancelled())
        offset = (await uploads.info(upload.handle)).offset
        expect("offset", 3 * MIB, offset)
        await uploads.append(upload.handle, offset, data[offset:])
        expect_content(storage, upload.handle, data)
        part = await uploads.create("a.bin", size=3, partial=True)
        async with await storage.aio.open(upload.handle, length=3) as stream:
            await uploads.append(part.handle, 0, stream)
        expect_content(storage, await uploads.join(None, [part.handle]), data[:3])
        begun = await uploads.create(None)
        await uploads.remove(begun.handle)
        expect("uploads", [], list(storage.uploads.list()))

    with harness.storage() as storage:
        asyncio.run(asyncio.wait_for(live(storage), HANGS))


@contextmanager
def _slow_append(storage: Storage, handle: str, chunks: list[bytes]) -> Iterator[None]:
    """Append in a thread that waits before the last chunk until the block ends."""
    waits, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield from chunks[:-1]
        waits.set()
        go_on.wait(HANGS)
        yield chunks[-1]

    with ThreadPoolExecutor(1) as pool:
        appending = pool.submit(storage.uploads.append, handle, 0, slow())
        try:
            expect_true("the append has begun", waits.wait(HANGS))
            yield
        finally:
            go_on.set()
        appending.result(HANGS)
