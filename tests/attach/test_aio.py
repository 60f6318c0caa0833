"""Coroutines: what is cancelled is not stored, and nobody keeps the others from their turn."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import gc
import os
import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from attach.harnesses import LocalHarness, MemoryHarness
from rex.attach.aio import WORKERS
from rex.attach.conformance.samples import MIB, sample
from rex.attach.reader import Body
from rex.attach.storages.memory import MemoryStorage
from rex.attach.workers import Source
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rex.attach.aio import AsyncReader, AsyncStorage
    from rex.attach.conformance import Harness
    from rex.attach.content import Content

HANGS = 30


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
        assert [] == harness.leftovers(storage)
    assert [] == complaints


def test_joins_do_not_keep_the_others_waiting() -> None:
    """However many there are: each takes as long as its parts are large."""
    storage = MemoryStorage()
    drafts: Any = storage.uploads._drafts
    read, go_on = drafts.read, threading.Event()

    def slow(key: str) -> Iterator[bytes]:
        assert go_on.wait(HANGS)
        return iter(read(key))

    drafts.read = slow
    parts = [storage.uploads.create("a", size=0, is_part=True).handle for _ in range(WORKERS)]

    async def live(aio: AsyncStorage) -> None:
        joins = [asyncio.ensure_future(aio.uploads.join("a", [part])) for part in parts]
        try:
            async with asyncio.timeout(HANGS):
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
            assert go_on.wait(HANGS)

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
        assert await asyncio.to_thread(is_cut_off.wait, HANGS)
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
            assert go_on.wait(HANGS)
            yield from chunks

        return Body(metadata, waiting())

    hooks._get = slow
    handle = storage.add("a.bin", b"content")

    async def live(aio: AsyncStorage) -> None:
        reader = await aio.open(handle)
        read = asyncio.create_task(reader.read(7))
        assert await asyncio.to_thread(is_read.wait, HANGS)
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


def test_a_thread_that_asks_a_loop_that_has_stopped_can_be_cut_off() -> None:
    """Else it would wait for ever, and the process for it."""
    loop: Any = asyncio.new_event_loop()
    is_asked, is_cut_off = threading.Event(), threading.Event()
    ask = loop.call_soon_threadsafe

    def asked(*call: Any) -> None:
        ask(*call)
        is_asked.set()

    async def source_of(content: AsyncIterator[bytes]) -> Source:
        return Source(content)

    async def piece() -> AsyncIterator[bytes]:
        yield b"piece"

    def read() -> None:
        with suppress(concurrent.futures.CancelledError):
            list(source.content)
        is_cut_off.set()

    loop.call_soon_threadsafe = asked
    source = loop.run_until_complete(source_of(piece()))
    threading.Thread(target=read, daemon=True).start()
    assert is_asked.wait(HANGS)
    source.cancel()
    assert is_cut_off.wait(HANGS)
    loop.close()
