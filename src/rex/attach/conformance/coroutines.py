"""Promises on `storage.aio`: the operations as coroutines, and content that can be cut off."""

from __future__ import annotations

import asyncio
import io
import itertools
import threading
from typing import TYPE_CHECKING, Any, ParamSpec

from rex.attach.conformance.expectations import HANGS, expect, expect_nothing_stored, expect_true
from rex.attach.conformance.promise import promise
from rex.attach.conformance.samples import MIB, fail_after, sample, split_chunks
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from rex.attach.conformance.harness import Harness
    from rex.attach.storage.aio import AsyncStorage

P = ParamSpec("P")


@promise
def coroutines_do_what_the_verbs_do(harness: Harness) -> None:
    """`storage.aio` and the synchronous operations see the same attachments."""

    async def live(aio: AsyncStorage) -> None:
        handle = await aio.add("a.txt", b"data", content_type="x/special")
        other = aio.storage.add("b.txt", "text")
        expect("info", aio.storage.info(handle), await aio.info(handle))
        expect("stat", 4, (await aio.stat(other)).st_size)
        expect("listed", sorted([handle, other]), [listed async for listed in aio])
        expect("listed after", [], [h async for h in aio.list(after=max(handle, other))])
        await aio.remove(handle)
        expect("left", [other], list(aio.storage))
        await aio.check()
        reserved = await aio.reserve("c.txt")
        await _expect_kind(Kind.NOT_FOUND, aio.open, reserved)

    _run(harness, live)


@promise
def coroutines_refuse_what_the_verbs_refuse(harness: Harness) -> None:
    """Coroutines raise the same errors as the operations."""

    async def live(aio: AsyncStorage) -> None:
        missing = aio.storage.reserve("a.txt")
        for operation in (aio.open, aio.info, aio.stat, aio.remove):
            await _expect_kind(Kind.NOT_FOUND, operation, missing)
            await _expect_kind(Kind.ILL_FORMED, operation, "/a.txt")
        await _expect_kind(Kind.ILL_FORMED, aio.upload_link, "/a.txt")
        await _expect_kind(Kind.ILL_FORMED, aio.download_link, "/a.txt")
        text: Any = io.StringIO("text")
        await _expect_kind(Kind.ILL_FORMED, aio.add, "a.txt", text)

    _run(harness, live)


@promise
def every_content_can_be_added_by_coroutine(harness: Harness) -> None:
    """`aio.add` accepts the content that `add` accepts, and asynchronous iterables of bytes."""
    data = sample(9 * MIB)

    async def live(aio: AsyncStorage) -> None:
        contents = (
            data,
            io.BytesIO(data),
            split_chunks(data, MIB),
            [data],
            _later(split_chunks(data, MIB)),
        )
        for content in contents:
            async with await aio.open(await aio.add("a.bin", content)) as stream:
                expect("content", data, await stream.read())
        async with await aio.open(await aio.add("a.bin", _later(iter([])))) as stream:
            expect("no content", b"", await stream.read())

    _run(harness, live)


@promise
def an_asynchronous_file_can_be_added(harness: Harness) -> None:
    """`add`, `put` and `append` read a file with an asynchronous `read` to its end."""
    data = sample(9 * MIB)

    async def live(aio: AsyncStorage) -> None:
        original = await aio.add("a.bin", _AsyncFile(data))
        async with await aio.open(original) as stream:
            copy = await aio.add("b.bin", stream)
        reserved = await aio.reserve("c.bin")
        await aio.put(reserved, _AsyncFile(data))
        for handle in (original, copy, reserved):
            async with await aio.open(handle) as stream:
                expect("content", data, await stream.read())
        failure = OSError("mine")
        try:
            await aio.add("a.bin", _AsyncFile(data, failure))
        except OSError as raised:
            expect_true("the exception of the file propagates unchanged", raised is failure)
        else:
            raise AssertionError("a file that fails was stored")

    _run(harness, live)


@promise
def an_asynchronous_reader_can_seek(harness: Harness) -> None:
    """`aio.open` returns a reader that can read, seek and tell its position."""
    data = sample(2 * MIB)

    async def live(aio: AsyncStorage) -> None:
        handle = await aio.add("a.bin", data)
        async with await aio.open(handle) as stream:
            expect("info", await aio.info(handle), stream.info)
            expect("first bytes", data[:10], await stream.read(10))
            expect("position", 10, stream.tell())
            expect("seek", len(data) - 5, await stream.seek(-5, io.SEEK_END))
            expect("last bytes", data[-5:], await stream.read())
            expect("seek back", 7, await stream.seek(7))
            expect("rest", data[7:], await stream.read())

    _run(harness, live)


@promise
def coroutines_run_side_by_side(harness: Harness) -> None:
    """Concurrent coroutines store, read and remove attachments independently."""

    async def live(aio: AsyncStorage) -> None:
        async def one(number: int) -> None:
            data = sample(3000, str(number))
            handle = await aio.add("a.bin", _later(split_chunks(data, 999)))
            async with await aio.open(handle) as stream:
                expect("content", data, await stream.read())
            await aio.remove(handle)

        await asyncio.gather(*(one(number) for number in range(40)))

    _run(harness, live)


@promise
def what_asynchronous_content_raises_comes_out_as_it_is(harness: Harness) -> None:
    """The exception of an iterable, asynchronous or not, propagates; nothing is stored."""

    async def live(aio: AsyncStorage) -> None:
        for failure in (ValueError("mine"), FileNotFoundError(2, "mine")):
            for content in (_later(fail_after(failure, 10 * MIB)), fail_after(failure, MIB)):
                try:
                    await aio.add("a.bin", content)
                except (ValueError, FileNotFoundError) as raised:
                    expect_true("the same exception object is raised", raised is failure)
                else:
                    raise AssertionError("content that fails was stored")

    _run(harness, live)


@promise
def many_copies_at_once_do_not_wait_for_each_other(harness: Harness) -> None:
    """Any number of concurrent adds that read from the same storage finish."""

    async def live(aio: AsyncStorage) -> None:
        original = await aio.add("a.txt", b"data")

        async def copy() -> str:
            async with await aio.open(original) as stream:

                async def chunks() -> AsyncIterator[bytes]:
                    while chunk := await stream.read(1):
                        yield chunk

                return await aio.add("copy.txt", chunks())

        copies = asyncio.gather(*(copy() for _ in range(48)))
        handles = await asyncio.wait_for(copies, HANGS)
        expect("different copies", 48, len(set(handles)))

    _run(harness, live)


@promise
def a_cancelled_add_leaves_nothing(harness: Harness) -> None:
    """An add that is cancelled while it waits for asynchronous content stores nothing."""

    async def live(aio: AsyncStorage) -> None:
        for size in (0, 10, 10 * MIB):
            waiting = asyncio.Event()
            add = asyncio.create_task(aio.add("a.bin", _stuck(size, waiting)))
            await waiting.wait()
            add.cancel()
            await _expect_cancelled(add)

    _run(harness, live)


@promise
def a_cancelled_add_stops_reading(harness: Harness) -> None:
    """An add that is cancelled while a thread reads an endless iterable stops."""

    async def live(aio: AsyncStorage) -> None:
        loop, reading = asyncio.get_running_loop(), asyncio.Event()
        for after in (1, 12):
            reading.clear()
            cancelled = threading.Event()
            content = _endless(_Waiting(loop, reading, cancelled), after)
            add = asyncio.create_task(aio.add("a.bin", content))
            await reading.wait()
            add.cancel()
            await asyncio.sleep(0)
            cancelled.set()
            await _expect_cancelled(add)
            expect("attachments left", [], list(aio.storage))

    _run(harness, live)


@promise
def a_cancelled_add_is_undone_where_it_cannot_be_stopped(harness: Harness) -> None:
    """An attachment is removed again if its content ends before the cancellation is noticed."""

    async def live(aio: AsyncStorage) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(10):
            reading, cancelled = asyncio.Event(), threading.Event()
            content = _Waiting(loop, reading, cancelled)
            add = asyncio.create_task(aio.add("a.bin", content))
            await reading.wait()
            add.cancel()
            await asyncio.sleep(0)
            cancelled.set()
            await _expect_cancelled(add)
            expect("attachments left", [], list(aio.storage))

    _run(harness, live)


def _run(harness: Harness, live: Callable[[AsyncStorage], Coroutine[None, None, None]]) -> None:
    """Run a promise on `storage.aio`; remove its attachments, and expect nothing else."""
    with harness.storage() as storage:

        async def run() -> None:
            reports: list[str] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
            await live(storage.aio)
            expect("reports of the event loop", [], reports)

        asyncio.run(run())
        for handle in list(storage):
            storage.remove(handle)
        expect_nothing_stored(harness, storage)


async def _expect_kind(
    kind: Kind, operation: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs
) -> None:
    try:
        await operation(*args, **kwargs)
    except Error as error:
        expect("kind of the error", kind, error.kind)
    else:
        raise AssertionError(f"expected an error of the kind {kind}")


async def _expect_cancelled(add: asyncio.Task[str]) -> None:
    done, _ = await asyncio.wait({add}, timeout=HANGS)
    expect_true("a cancelled add ends", add in done)
    expect_true("a cancelled add reports its cancellation", add.cancelled())


async def _later(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


class _AsyncFile:
    """A file with an asynchronous `read`, which may raise at its end."""

    def __init__(self, data: bytes, failure: Exception | None = None) -> None:
        self._file = io.BytesIO(data)
        self._failure = failure

    async def read(self, size: int = -1, /) -> bytes:
        await asyncio.sleep(0)
        chunk = self._file.read(size)
        if not chunk and self._failure is not None:
            raise self._failure
        return chunk


async def _stuck(size: int, waiting: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield `size` bytes, then wait forever."""
    for chunk in split_chunks(sample(size), MIB):
        yield chunk
    waiting.set()
    await asyncio.Event().wait()


class _Waiting:
    """An iterable that signals its first read, and yields its only chunk after a cancellation."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, reading: asyncio.Event, cancelled: threading.Event
    ) -> None:
        self._loop = loop
        self._reading = reading
        self._cancelled = cancelled

    def __iter__(self) -> Iterator[bytes]:
        self._loop.call_soon_threadsafe(self._reading.set)
        self._cancelled.wait()
        return iter([b"data"])


def _endless(waiting: _Waiting, after: int) -> Iterator[bytes]:
    """Yield `after` chunks, wait for the cancellation, then yield chunks forever."""
    yield from itertools.repeat(bytes(MIB), after)
    yield from waiting
    yield from itertools.repeat(bytes(MIB))
