"""Asynchronous sessions: aiosqlite and psycopg."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, sessionmaker

import postgresql
from attach.sqlalchemy.models import Document, asynchronous
from programs import PATIENCE
from rex.attach.sqlalchemy import adopt, aio, attach, referenced_handles
from rex.attach.sqlalchemy.removal import WORKERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Engine

    from rex.attach import Storage

    Sessions = async_sessionmaker[AsyncSession]


LEFT_OUT = postgresql.LEFT_OUT


@pytest.fixture
def run(
    url: str, engine: Engine, storage: Storage
) -> Callable[[Callable[[Sessions], Awaitable[None]]], None]:
    """Give a function that runs a test with sessions that are attached to the storage."""
    assert engine is not None  # the tables are there

    async def main(test: Callable[[Sessions], Awaitable[None]]) -> None:
        own = asynchronous(url)
        sessions = async_sessionmaker(own)
        attach(sessions, storage)
        try:
            await test(sessions)
        finally:
            await own.dispose()

    return lambda test: asyncio.run(main(test))


async def stored(sessions: Sessions) -> str:
    """Commit a row with an attachment; return its handle."""
    async with sessions.begin() as session:
        handle = await aio.add(session, "a.txt", b"old")
        session.add(Document(file=handle))
    return handle


def test_commits_and_rollbacks_remove_as_in_other_sessions(run: Any, storage: Storage) -> None:
    """Replaced, rolled back, deleted, in bulk."""

    async def test(sessions: Sessions) -> None:
        old = await stored(sessions)
        async with sessions() as session:
            (await session.get_one(Document, 1)).file = await aio.add(session, "b.txt", b"new")
            await session.flush()
            await session.rollback()
            assert [old] == [*storage]
            document = await session.get_one(Document, 1)
            document.file = new = await aio.add(session, "b.txt", b"new")
            await session.commit()
            assert [new] == [*storage]
            await session.execute(delete(Document))
            await session.commit()
            assert [] == [*storage]

    run(test)


def test_a_value_that_was_not_loaded_can_be_replaced(run: Any, storage: Storage) -> None:
    """The flush loads it, where the session may wait."""

    async def test(sessions: Sessions) -> None:
        await stored(sessions)
        async with sessions() as session:
            document = await session.get_one(Document, 1)
            await session.commit()
            document.file = new = await aio.add(session, "b.txt", b"new")
            await session.commit()
            assert [new] == [*storage]

    run(test)


def test_savepoints_follow_the_root(run: Any, storage: Storage) -> None:
    """As the peers do not."""

    async def test(sessions: Sessions) -> None:
        old = await stored(sessions)
        async with sessions() as session:
            async with session.begin_nested():
                await session.delete(await session.get_one(Document, 1))
            await session.rollback()
        assert [old] == [*storage]

    run(test)


def test_the_event_loop_goes_on_while_attachments_are_removed(
    run: Any, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal waits for the loop, which therefore must run."""
    goes_on = threading.Event()
    delete_key = storage._delete

    def wait(key: str) -> None:
        assert goes_on.wait(PATIENCE)
        delete_key(key)

    async def test(sessions: Sessions) -> None:
        async with sessions() as session:
            session.add(Document(file=await aio.add(session, "a.txt", b"1")))
            await session.flush()
            monkeypatch.setattr(storage, "_delete", wait)
            closing = asyncio.create_task(session.close())
            asyncio.get_running_loop().call_later(0.01, goes_on.set)
            await closing
        assert [] == [*storage]

    run(test)


def test_a_cancelled_task_removes_what_it_added(run: Any, storage: Storage) -> None:
    """When its block ends."""

    async def test(sessions: Sessions) -> None:
        added = asyncio.Event()

        async def work() -> None:
            async with sessions() as session:
                session.add(Document(file=await aio.add(session, "a.txt", b"1")))
                await session.flush()
                added.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await added.wait()
        assert 1 == len([*storage])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [] == [*storage]

    run(test)


def test_removals_go_on_after_their_task_is_cancelled(
    run: Any, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that wait for a thread: nothing else would remove them but a sweep."""
    began, goes_on, done = (threading.Event() for _ in range(3))
    delete_key = storage._delete
    count = WORKERS * 2

    def wait(key: str) -> None:
        began.set()
        assert goes_on.wait(PATIENCE)
        delete_key(key)
        if not [*storage]:
            done.set()

    async def test(sessions: Sessions) -> None:
        async with sessions.begin() as session:
            handles = [await aio.add(session, "a.txt", b"1") for _ in range(count)]
            session.add_all([Document(file=handle) for handle in handles])
        monkeypatch.setattr(storage, "_delete", wait)

        async def work() -> None:
            async with sessions() as session:
                await session.execute(delete(Document))
                await session.commit()

        task = asyncio.create_task(work())
        assert await asyncio.to_thread(began.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert count == len([*storage])
        goes_on.set()
        assert await asyncio.to_thread(done.wait, PATIENCE)

    run(test)


def test_scoped_sessions_and_own_classes_are_recognised(
    url: str, engine: Engine, storage: Storage
) -> None:
    """Whatever makes the sessions, and a session itself."""
    assert engine is not None  # as above

    class OwnSession(Session):
        """A class of the application."""

    async def main() -> None:
        own = asynchronous(url)
        inner = sessionmaker(class_=OwnSession)
        scoped = async_scoped_session(async_sessionmaker(own), asyncio.current_task)
        plain = async_sessionmaker(own)
        cases: list[tuple[Any, Any]] = [
            (scoped, scoped),
            (plain, plain()),
            (own_class := async_sessionmaker(own, sync_session_class=OwnSession), own_class()),
            (of_factory := async_sessionmaker(own, sync_session_class=inner), of_factory()),
            (single := AsyncSession(own), single),
        ]
        for sessions, session in cases:
            attach(sessions, storage)
            attach(sessions, storage)
            made = session if sessions in (scoped, single) else sessions()
            made.add(Document(file=await aio.add(made, "a.txt", b"1")))
            adopt(made, storage.add("b.txt", b"2"))
            await made.flush()
            assert 2 == len([*storage])
            await made.rollback()
            assert [] == [*storage]
            await made.close()
            await session.close()
        await own.dispose()

    asyncio.run(main())


def test_references_of_an_asynchronous_engine(run: Any, url: str) -> None:
    """Through a connection of it."""

    async def test(sessions: Sessions) -> None:
        handle = await stored(sessions)
        own = asynchronous(url)
        async with own.connect() as connection:
            found = await connection.run_sync(
                lambda plain: [*referenced_handles(Document.metadata, plain)]
            )
        await own.dispose()
        assert [handle] == found

    run(test)
