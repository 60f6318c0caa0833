"""Random histories of sessions, with faults, and the judgement at their end.

A history is a coroutine; with a plain session it never waits. Afterwards each handle in a row is
in the storage; what no row refers to is exactly what a sweep finds; and where nothing failed, that
is only what never was in a row.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from attach.sqlalchemy.faults import Calls
from attach.sqlalchemy.models import (
    Base,
    Document,
    Draft,
    Page,
    Signed,
    asynchronous,
    synchronous,
)
from rex.attach.backend.garbage import GarbageKind
from rex.attach.maintenance import sweep
from rex.attach.sqlalchemy import add, adopt, aio, attach, referenced_handles
from rex.core import Error

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine

    from attach.sqlalchemy.faults import Fault
    from rex.attach import Storage

__all__ = ["History", "Stage", "judge"]

ANCHOR = 1
"""The page that each history begins with: a sweep refuses to remove all."""
LATER = datetime.timedelta(days=2)
MAX_STEPS = 12
PATIENCE = "60s"
"""A transaction that PostgreSQL keeps longer is a fault of the history itself."""


class Ops(Protocol):
    """What a history does with a session, plain or asynchronous."""

    async def add(self, name: str) -> str:
        """Store an attachment in the session."""

    async def step(self, call: Callable[[Session], Any]) -> Any:
        """Call a function of the plain session."""

    async def end(self, how: str) -> None:
        """Commit, roll back or close the session."""


class PlainOps:
    """Of a plain session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, name: str) -> str:
        """Store an attachment in the session."""
        return add(self._session, name, name)

    async def step(self, call: Callable[[Session], Any]) -> Any:
        """Call a function of the plain session."""
        return call(self._session)

    async def end(self, how: str) -> None:
        """Commit, roll back or close the session."""
        getattr(self._session, how)()


class AsyncOps:
    """Of an asynchronous session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, name: str) -> str:
        """Store an attachment in the session."""
        return await aio.add(self._session, name, name)

    async def step(self, call: Callable[[Session], Any]) -> Any:
        """Call a function of the plain session."""
        return await self._session.run_sync(call)

    async def end(self, how: str) -> None:
        """Commit, roll back or close the session."""
        await getattr(self._session, how)()


class History:
    """A random history."""

    def __init__(self, chance: random.Random, ops: Ops, storage: Storage) -> None:
        self._chance = chance
        self._ops = ops
        self._storage = storage
        self._nested: list[Any] = []
        self.steps: list[str] = []
        self.has_failed = False
        """Whether any step failed, so that more than the loose attachments may be left."""
        self.loose: set[str] = set()
        """Attachments that may never have been in a row."""

    async def live(self) -> None:
        """Do some steps, and end."""
        for _ in range(self._chance.randint(3, MAX_STEPS)):
            name = self._chance.choice(STEPS)
            await self._try(name, getattr(self, f"_{name}"))
        how = self._chance.choice(("commit", "commit", "commit", "rollback", "close"))
        await self._try(f"end: {how}", lambda: self._ops.end(how))
        await self._try("close", lambda: self._ops.end("close"))

    def forget(self) -> None:
        """Forget the session, which keeps its connection if closing failed."""
        vars(self).pop("_ops")
        self._nested.clear()

    async def _try(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.steps.append(name)
        try:
            await step()
        except (SQLAlchemyError, Error, asyncio.CancelledError) as failure:
            self.steps.append(f"failed: {type(failure).__name__}")
            self.has_failed = True
            how = self._chance.choice(("rollback", "close", "nothing"))
            if isinstance(failure, asyncio.CancelledError):
                how = "close"  # as the block of a session does
            self._nested.clear()
            if how != "nothing":
                with suppress(SQLAlchemyError):
                    await self._ops.end(how)

    async def _new_handle(self) -> str:
        return await self._ops.add(f"{len(self.steps)}.txt")

    async def _flush(self) -> None:
        await self._ops.step(lambda session: session.flush())

    async def _pick(self) -> Document | None:
        """Return a document that is in the database, flushed."""

        def pick(session: Session) -> Document | None:
            found = session.scalars(select(Document).order_by(Document.id)).all()
            return self._chance.choice(found) if found else None

        found: Document | None = await self._ops.step(pick)
        return found

    async def _create(self) -> None:
        handle = await self._new_handle()
        title = f"title {self._chance.randrange(3)}"
        await self._ops.step(lambda s: s.add(Document(file=handle, title=title)))
        if self._chance.random() < 0.7:
            await self._flush()

    async def _create_signed(self) -> None:
        first, second = await self._new_handle(), await self._new_handle()
        await self._ops.step(lambda s: s.add(Signed(file=first, signature=second)))
        await self._flush()

    async def _add_only(self) -> None:
        self.loose.add(await self._new_handle())

    async def _adopt(self) -> None:
        handle = self._storage.add("adopted.txt", "adopted")

        def adopt_it(session: Session) -> None:
            session.add(Draft(content=adopt(session, handle)))
            session.flush()

        try:
            await self._ops.step(adopt_it)
        except BaseException:
            self.loose.add(handle)
            raise

    async def _replace(self) -> None:
        document = await self._pick()
        if document is not None:
            await self._set(document, "file", await self._new_handle())

    async def _replace_unloaded(self) -> None:
        document = await self._pick()
        if document is not None:
            handle = await self._new_handle()
            await self._ops.step(lambda s: s.expire(document, ["file"]))
            await self._set(document, "file", handle)

    async def _replace_twice(self) -> None:
        document = await self._pick()
        if document is not None:
            first, second = await self._new_handle(), await self._new_handle()
            self.loose.add(first)
            await self._ops.step(lambda _: setattr(document, "file", first))
            await self._set(document, "file", second)

    async def _clear(self) -> None:
        document = await self._pick()
        if document is not None:
            await self._set(document, "file", None)

    async def _set(self, document: Document, name: str, value: str | None) -> None:
        def set_it(session: Session) -> None:
            setattr(document, name, value)
            session.flush()

        await self._ops.step(set_it)

    async def _delete(self) -> None:
        document = await self._pick()
        if document is not None:
            await self._ops.step(lambda s: s.delete(document))
            if self._chance.random() < 0.7:
                await self._flush()

    async def _move(self) -> None:
        """Move an attachment to a draft, in one flush."""
        document = await self._pick()

        def move(session: Session) -> None:
            if document is not None and document.file is not None:
                session.add(Draft(content=document.file))
                if self._chance.random() < 0.5:
                    session.delete(document)
                else:
                    document.file = None
                session.flush()

        await self._ops.step(move)

    async def _move_back(self) -> None:
        """Move an attachment from a draft to a document, in SQL."""

        def move(session: Session) -> None:
            draft = session.scalars(select(Draft.id).where(Draft.content.is_not(None))).first()
            document = session.scalars(select(Document.id)).first()
            if draft is not None and document is not None:
                source = select(Draft.content).where(Draft.id == draft).scalar_subquery()
                session.execute(
                    update(Document).where(Document.id == document).values(file=source),
                    execution_options={"synchronize_session": "fetch"},
                )
                session.execute(delete(Draft).where(Draft.id == draft))

        await self._ops.step(move)

    async def _share(self) -> None:
        document = await self._pick()

        def share(session: Session) -> None:
            if document is not None and document.file is not None:
                session.add(Page(file=document.file))
                session.flush()

        await self._ops.step(share)

    async def _bulk_delete(self) -> None:
        title = f"title {self._chance.randrange(3)}"
        await self._ops.step(
            lambda s: s.execute(
                delete(Document).where(Document.kind == "document", Document.title == title)
            )
        )

    async def _bulk_clear(self) -> None:
        title = f"title {self._chance.randrange(3)}"
        await self._ops.step(
            lambda s: s.execute(update(Document).where(Document.title == title).values(file=None))
        )

    async def _bulk_title(self) -> None:
        await self._ops.step(lambda s: s.execute(update(Document).values(title="title 0")))

    async def _bulk_by_key(self) -> None:
        document = await self._pick()
        if document is not None:
            handle = await self._new_handle()
            await self._ops.step(
                lambda s: s.execute(update(Document), [{"id": document.id, "file": handle}])
            )

    async def _core_delete(self) -> None:
        await self._ops.step(lambda s: s.execute(delete(Draft.__table__)))  # type: ignore[arg-type]

    async def _merge(self) -> None:
        document = await self._pick()
        if document is not None:
            handle = await self._new_handle()

            def merge(session: Session) -> None:
                session.merge(Document(id=document.id, kind=document.kind, file=handle))
                session.flush()

            if type(document) is Document:
                await self._ops.step(merge)
            else:
                self.loose.add(handle)

    async def _expunge(self) -> None:
        document = await self._pick()
        if document is not None:
            await self._ops.step(lambda s: s.expunge(document))

    async def _swallow(self) -> None:
        """Ignore an error of the database, after which PostgreSQL refuses all but a rollback."""

        def swallow(session: Session) -> None:
            with suppress(SQLAlchemyError):
                session.execute(text("SELECT 1 FROM nowhere"))

        if self._chance.random() < 0.3:
            self.has_failed = True
            await self._ops.step(swallow)

    async def _expire(self) -> None:
        await self._ops.step(lambda s: s.flush())
        await self._ops.step(lambda s: s.expire_all())

    async def _savepoint(self) -> None:
        self._nested.append(await self._ops.step(lambda s: s.begin_nested()))

    async def _release(self) -> None:
        if self._nested:
            nested = self._nested.pop(self._chance.randrange(len(self._nested)))
            del self._nested[len(self._nested) :]
            await self._ops.step(lambda _: nested.commit() if nested.is_active else None)

    async def _roll_back_savepoint(self) -> None:
        if self._nested:
            nested = self._nested.pop()
            await self._ops.step(lambda _: nested.rollback() if nested.is_active else None)

    async def _commit(self) -> None:
        self._nested.clear()
        await self._ops.end("commit")

    async def _rollback(self) -> None:
        self._nested.clear()
        await self._ops.end("rollback")

    async def _close(self) -> None:
        self._nested.clear()
        await self._ops.end("close")


WEIGHTS = {
    "create": 5,
    "create_signed": 2,
    "add_only": 1,
    "adopt": 1,
    "replace": 3,
    "replace_unloaded": 1,
    "replace_twice": 1,
    "clear": 1,
    "delete": 2,
    "move": 2,
    "move_back": 1,
    "share": 1,
    "bulk_delete": 2,
    "bulk_clear": 1,
    "bulk_title": 1,
    "bulk_by_key": 1,
    "core_delete": 1,
    "merge": 1,
    "expunge": 1,
    "swallow": 1,
    "expire": 1,
    "savepoint": 4,
    "release": 3,
    "roll_back_savepoint": 2,
    "commit": 4,
    "rollback": 1,
    "close": 1,
}
STEPS = [name for name, weight in WEIGHTS.items() for _ in range(weight)]


class Stage:
    """A database and a storage on which histories live, one after another."""

    def __init__(self, url: str, storage: Storage, *, is_async: bool) -> None:
        self.storage = storage
        self.judges = synchronous(url)
        """The engine of the judge."""
        Base.metadata.create_all(self.judges)
        self.calls = Calls()
        self._is_async = is_async
        self._sessions: Any
        if is_async:
            own = asynchronous(url)
            self._engine, self._sessions = own.sync_engine, async_sessionmaker(own)
        else:
            self._engine = synchronous(url)
            self._sessions = sessionmaker(self._engine)
        self.calls.watch_engine(self._engine)
        attach(self._sessions, storage)
        with Session(self.judges) as session, session.begin():
            if session.get(Page, ANCHOR) is None:
                session.add(Page(id=ANCHOR, file=storage.add("anchor.txt", "anchor")))
        self.calls.watch_storage(storage)

    def live(self, chance: random.Random, fault: Fault | None) -> History:
        """Live a history."""
        self.calls.begin(fault)
        history = asyncio.run(self._live_async(chance)) if self._is_async else self._live(chance)
        self.calls.fault = None
        if history.has_failed or self.calls.hit:
            # After a COMMIT that fails, SQLAlchemy returns its connection to the pool without a
            # ROLLBACK; after a close that fails, only the garbage collector closes it.
            gc.collect()
            self._engine.dispose()
        return history

    def _live(self, chance: random.Random) -> History:
        with self._sessions() as session:
            history = History(chance, PlainOps(session), self.storage)
            with suppress(StopIteration):
                history.live().send(None)
            self.calls.fault = None
        del session
        history.forget()
        return history

    async def _live_async(self, chance: random.Random) -> History:
        session = self._sessions()
        history = History(chance, AsyncOps(session), self.storage)
        self.calls.task, self.calls.loop = asyncio.current_task(), asyncio.get_running_loop()
        with suppress(asyncio.CancelledError):  # at the very end
            async with session:
                await history.live()
        self.calls.fault = None
        del session
        history.forget()
        # A removal goes on after its task is cancelled.
        own = asyncio.current_task()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not own))
        return history

    def clear(self) -> None:
        """Remove all but what histories begin with."""
        with self.judges.begin() as connection:
            for name in ("signed", "documents", "drafts"):
                connection.execute(text(f"DELETE FROM {name}"))  # noqa: S608 - of the models
            connection.execute(text(f"DELETE FROM pages WHERE id <> {ANCHOR}"))  # noqa: S608 - as above
            [anchor] = connection.scalars(text("SELECT file FROM pages"))
        for handle in self.storage:
            if handle != anchor:
                self.storage.remove(handle)

    def close(self) -> None:
        """Close all connections."""
        self.judges.dispose()
        self._engine.dispose()


def judge(stage: Stage, history: History | None) -> tuple[list[str], int]:
    """Return what is wrong after a history, and the number of orphans; None if it was killed."""
    storage = stage.storage
    with stage.judges.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Waits for the transactions of a client that is gone.
            names = ", ".join(Base.metadata.tables)
            connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
            connection.execute(text(f"LOCK TABLE {names}"))
        rows = {*referenced_handles(Base.metadata, connection)}
        now = datetime.datetime.now(datetime.UTC) + LATER
        found = sweep(storage, referenced=[*rows], now=now)
        swept = {each.handle for each in found if each.kind is GarbageKind.ATTACHMENT}
    stored = {*storage}
    orphans = stored - rows
    wrong = [f"{handle} is in a row, and not in the storage" for handle in rows - stored]
    wrong += [f"{handle} is an orphan, and no sweep finds it" for handle in orphans - swept]
    wrong += [f"{handle} is no orphan, and a sweep finds it" for handle in swept - orphans]
    if history is not None and not history.has_failed and not stage.calls.hit:
        wrong += [f"{handle} is left" for handle in orphans - history.loose]
    return wrong, len(orphans)
