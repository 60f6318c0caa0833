"""Coroutines: what is cancelled is not stored, and nobody keeps the others from their turn."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import gc
import io
import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fastapi import FastAPI, UploadFile

from attach.harnesses import LocalHarness, MemoryHarness
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.conformance.samples import MIB, sample
from rex.attach.content.reader import Body
from rex.attach.storage.aio import WORKERS
from rex.attach.storage.workers import Source, Workers, feed_call
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from rex.attach.conformance import Harness
    from rex.attach.content.content import AsyncBinaryFile, Content
    from rex.attach.storage.aio import AsyncReader, AsyncStorage


def test_adds_cancelled_at_random_moments_leave_nothing() -> None:
    """Of any content, 50 at a time; and the event loop has nothing to complain about."""
    chance = random.Random(1)  # noqa: S311 - the same moments each time, as far as that goes
    harness = LocalHarness()
    complaints: list[dict[str, Any]] = []

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(chance.random() / 2000)
            yield bytes(chance.choice([1, 1000, 300_000]))

    async def cancelled(aio: AsyncStorage) -> str | None:
        content: Any = chance.choice([pieces(), bytes(100), iter([b"a"] * 50)])
        add = asyncio.create_task(aio.add("a.bin", content))
        await asyncio.sleep(chance.random() / 50)
        add.cancel()
        try:
            return await add
        except asyncio.CancelledError:
            return None

    async def live(aio: AsyncStorage) -> set[str | None]:
        asyncio.get_running_loop().set_exception_handler(lambda _, found: complaints.append(found))
        rounds = [await asyncio.gather(*(cancelled(aio) for _ in range(50))) for _ in range(6)]
        gc.collect()
        return {handle for acknowledged in rounds for handle in acknowledged}

    with harness.storage() as storage:
        acknowledged = asyncio.run(live(storage.aio))
        assert acknowledged - {None} == set(storage)
        assert None in acknowledged
        assert [] == harness.garbage(storage)
    assert [] == complaints


def test_archives_do_not_keep_the_others_waiting() -> None:
    """However many there are: the threads that read for them are few."""
    storage = MemoryStorage()
    hooks: Any = storage
    get, go_on = hooks._get, threading.Event()

    def slow(key: str, start: int, end: int | None) -> Body:
        assert go_on.wait(PATIENCE)
        body: Body = get(key, start, end)
        return body

    hooks._get = slow
    handle = storage.add("a", b"content")

    async def live(aio: AsyncStorage) -> None:
        archives = [await aio.zip([handle]) for _ in range(WORKERS)]
        reads = [asyncio.ensure_future(anext(archive)) for archive in archives]
        await asyncio.sleep(0)  # they begin
        try:
            async with asyncio.timeout(PATIENCE):
                assert 7 == (await aio.info(handle)).size
        finally:
            go_on.set()
            await asyncio.gather(*reads)
        for archive in archives:
            await archive.close()

    with storage:
        asyncio.run(live(storage.aio))


def test_many_links_are_signed_in_a_thread() -> None:
    """Though each needs no server: those of a CDN take a millisecond each."""
    storage = open_storage("s3://bucket?region=eu-west-1", access_key="key", secret_key="secret")
    handle, threads = storage.reserve("a"), set()

    def handles() -> Iterator[str]:
        threads.add(threading.get_ident())
        yield handle

    with storage:
        asyncio.run(storage.aio.download_links(handles()))
    assert {threading.get_ident()}.isdisjoint(threads)
    assert len(threads) == 1


def test_joins_do_not_keep_the_others_waiting() -> None:
    """However many there are: each takes as long as its parts are large."""
    storage = MemoryStorage()
    drafts: Any = storage.uploads._backend
    read, go_on = drafts.read, threading.Event()

    def slow(key: str) -> Iterator[bytes]:
        assert go_on.wait(PATIENCE)
        return iter(read(key))

    drafts.read = slow
    parts = [storage.uploads.create("a", size=0, partial=True).handle for _ in range(WORKERS)]

    async def live(aio: AsyncStorage) -> None:
        joins = [asyncio.ensure_future(aio.uploads.join("a", [part])) for part in parts]
        try:
            async with asyncio.timeout(PATIENCE):
                assert 1 == (await aio.info(await aio.add("b", b"x"))).size
        finally:
            go_on.set()
            await asyncio.gather(*joins)

    with storage:
        asyncio.run(live(storage.aio))


def test_a_task_that_is_cancelled_twice_has_ended_only_when_its_thread_has() -> None:
    """As when several requests end the same upload: what comes after it finds nothing held."""
    storage = MemoryStorage()
    hooks: Any = storage
    is_cut_off, go_on = threading.Event(), threading.Event()

    def slow(_: str, content: Content, __: str) -> None:
        try:
            list(content)
        finally:
            is_cut_off.set()
            assert go_on.wait(PATIENCE)

    hooks._put = slow

    async def live(aio: AsyncStorage) -> None:
        is_asked = asyncio.Event()

        async def silence() -> AsyncIterator[bytes]:
            is_asked.set()
            await asyncio.Event().wait()
            yield b""

        add = asyncio.create_task(aio.add("a.bin", silence()))
        await is_asked.wait()
        for _ in range(3):
            add.cancel()
            await asyncio.sleep(0)
        assert await asyncio.to_thread(is_cut_off.wait, PATIENCE)
        assert not add.done()
        go_on.set()
        await asyncio.wait({add})
        assert add.cancelled()

    with storage:
        asyncio.run(live(storage.aio))


def test_what_a_cancelled_task_left_reading_is_closed_when_it_has_read() -> None:
    """As when a client leaves while its bytes are on their way from the disk."""
    storage = MemoryStorage()
    hooks: Any = storage
    is_read, go_on = threading.Event(), threading.Event()
    get = hooks._get

    def slow(key: str, start: int, end: int | None) -> Body:
        metadata, chunks, _ = get(key, start, end)

        def waiting() -> Iterator[bytes]:
            is_read.set()
            assert go_on.wait(PATIENCE)
            yield from chunks

        return Body(metadata, waiting())

    hooks._get = slow
    handle = storage.add("a.bin", b"content")

    async def live(aio: AsyncStorage) -> None:
        reader = await aio.open(handle)
        read = asyncio.create_task(reader.read(7))
        assert await asyncio.to_thread(is_read.wait, PATIENCE)
        read.cancel()
        await asyncio.wait({read})
        closing = asyncio.create_task(reader.close())
        assert 7 == (await aio.info(handle)).size
        assert not closing.done()
        go_on.set()
        await closing

    with storage:
        asyncio.run(live(storage.aio))


@pytest.mark.parametrize("harness", [MemoryHarness(), LocalHarness()], ids=["memory", "directory"])
@pytest.mark.parametrize("piece", [-1, 1000, 300_000])
def test_damage_is_noticed_before_the_last_bytes_are_given(harness: Harness, piece: int) -> None:
    """Whether they are read in a thread, or at once in the event loop."""
    data = sample(MIB)

    async def live(aio: AsyncStorage) -> None:
        handle = await aio.add("a.bin", data)
        assert harness.damage(aio.storage, handle)
        got = bytearray()

        async def read_all(stream: AsyncReader) -> None:
            while chunk := await stream.read(piece):
                got.extend(chunk)

        async with await aio.open(handle) as stream:
            with pytest.raises(Error, match="Attachment is damaged") as caught:
                await read_all(stream)
            assert caught.value.kind is Kind.CORRUPT
            assert len(got) < MIB
            with pytest.raises(Error, match="Attachment is damaged"):
                await stream.read(MIB)
            assert MIB - 5 == await stream.seek(-5, os.SEEK_END)
            assert data[-5:] == await stream.read()

    with harness.storage() as storage:
        asyncio.run(live(storage.aio))


async def an_upload(data: bytes) -> UploadFile:
    """Return what FastAPI passes to an endpoint: a form's file, here without a name."""
    return UploadFile(io.BytesIO(data))


async def a_file(data: bytes) -> anyio.AsyncFile[bytes]:
    """Return an asynchronous file, which iterates over its lines."""
    return anyio.wrap_file(io.BytesIO(data))


async def a_stream(data: bytes) -> asyncio.StreamReader:
    """Return what asyncio reads from a connection."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def a_reader(data: bytes) -> AsyncReader:
    """Return an open attachment of another storage."""
    aio = MemoryStorage().aio
    return await aio.open(await aio.add("a.bin", data))


ASYNC_FILES = [an_upload, a_file, a_stream, a_reader]


@pytest.mark.parametrize("source", ASYNC_FILES)
@pytest.mark.parametrize("size", [0, 5, 3 * MIB + 5])
def test_asynchronous_files_of_every_make_are_content(
    source: Callable[[bytes], Awaitable[AsyncBinaryFile]], size: int
) -> None:
    """For `add`, `put` and `uploads.append`; they are read to their end."""
    data = sample(size)

    async def live(aio: AsyncStorage) -> None:
        added = await aio.add(None, await source(data))
        put = await aio.reserve(None)
        await aio.put(put, await source(data))
        uploaded = (await aio.uploads.create(None)).handle
        await aio.uploads.append(uploaded, 0, await source(data), size=size)
        for handle in (added, put, uploaded):
            async with await aio.open(handle) as stream:
                assert data == await stream.read()
                assert "attachment" == stream.name

    with MemoryStorage() as storage:
        asyncio.run(live(storage.aio))


def test_an_endpoint_stores_what_it_is_sent() -> None:
    """The first line that users of FastAPI write, with the types that mypy sees."""
    storage = MemoryStorage()
    app = FastAPI()

    @app.post("/")
    async def endpoint(file: UploadFile) -> str:
        return await storage.aio.add(file.filename, file, content_type=file.content_type)

    async def live() -> str:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            answer = await client.post("/", files={"file": ("ü.png", sample(2 * MIB), "image/png")})
            handle: str = answer.raise_for_status().json()
            return handle

    with storage:
        info = storage.info(asyncio.run(live()))
    assert ("ü.png", 2 * MIB, "image/png") == (info.name, info.size, info.content_type)


def test_text_of_an_asynchronous_file_is_refused() -> None:
    """As that of any other file, with a hint."""

    async def live(aio: AsyncStorage) -> None:
        async with await anyio.open_file(__file__) as file:
            text: Any = file
            with pytest.raises(Error, match=r"got str \(open the file in binary mode\)") as caught:
                await aio.add("a.py", text)
        assert caught.value.kind is Kind.ILL_FORMED

    with MemoryStorage() as storage:
        asyncio.run(live(storage.aio))


def test_a_cancelled_add_of_an_asynchronous_file_leaves_nothing() -> None:
    """Cancelled while the file is awaited, and nothing is read of it afterwards."""
    reads = 0

    class Hanging:
        async def read(self, size: int, /) -> bytes:
            nonlocal reads
            reads += 1
            if reads > 1:
                is_waiting.set()
                await asyncio.Event().wait()
            return bytes(size)

    async def live(aio: AsyncStorage) -> None:
        add = asyncio.create_task(aio.add("a.bin", Hanging()))
        await asyncio.wait_for(is_waiting.wait(), PATIENCE)
        add.cancel()
        await asyncio.wait({add})
        assert add.cancelled()

    is_waiting = asyncio.Event()
    with MemoryStorage() as storage:
        asyncio.run(live(storage.aio))
        assert [] == list(storage)
    assert 2 == reads


def test_an_asynchronous_reader_has_the_attributes_of_a_file() -> None:
    """As `Reader` has; and seeking before its start is an OSError."""

    async def live(aio: AsyncStorage) -> None:
        async with await aio.open(await aio.add("a b.txt", b"content"), length=3) as stream:
            assert ("a b.txt", "rb") == (stream.name, stream.mode)
            with pytest.raises(OSError, match="negative seek position") as caught:
                await stream.seek(-1)
            assert errno.EINVAL == caught.value.errno
            assert b"con" == await stream.read()

    with MemoryStorage() as storage:
        asyncio.run(live(storage.aio))


def test_a_thread_that_is_slower_than_its_content_ends_when_the_task_is_cancelled() -> None:
    """Else the thread gets content until that ends, and the task waits for the thread."""
    has_begun, yielded = threading.Event(), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal yielded
        while yielded < 1000:
            yielded += 1
            yield b"x" * MIB
            await asyncio.sleep(0)

    def read(chunks: Any) -> None:
        for _ in chunks:
            has_begun.set()
            time.sleep(0.001)

    async def act() -> int:
        workers, source = Workers(2), Source(endless())
        call = workers.submit(read, source.content)
        feeding = asyncio.ensure_future(feed_call(call, source, workers))
        while not has_begun.is_set():  # noqa: ASYNC110 - a thread might be told of it late
            await asyncio.sleep(0)
        at = yielded
        feeding.cancel()
        await asyncio.wait({feeding})
        workers.close()
        assert feeding.cancelled()
        return yielded - at

    assert asyncio.run(act()) <= 3


def test_a_thread_that_asks_a_loop_that_has_stopped_can_be_cut_off() -> None:
    """Else it would wait for ever, and the process for it."""
    loop = asyncio.new_event_loop()
    is_cut_off = threading.Event()

    async def source_of(content: AsyncIterator[bytes]) -> Source:
        return Source(content)

    async def piece() -> AsyncIterator[bytes]:
        yield b"piece"

    def read() -> None:
        with suppress(concurrent.futures.CancelledError):
            list(source.content)
        is_cut_off.set()

    source: Any = loop.run_until_complete(source_of(piece()))
    threading.Thread(target=read, daemon=True).start()
    source.cancel()
    assert is_cut_off.wait(PATIENCE)
    loop.close()
