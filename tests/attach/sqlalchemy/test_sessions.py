"""What sessions store and remove: each rule, on SQLite with real savepoints and on PostgreSQL."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

import postgresql
from attach.sqlalchemy.models import Base, Document, Draft, Page, Signed
from rex.attach.sqlalchemy import add, adopt, attach
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach import Storage

LEFT_OUT = postgresql.LEFT_OUT

Sessions = sessionmaker[Session]


@pytest.fixture
def sessions(engine: Engine, storage: Storage) -> Sessions:
    """Give sessions that are attached to the storage."""
    sessions = sessionmaker(engine)
    attach(sessions, storage)
    return sessions


def stored(sessions: Sessions, model: type[Any] = Document, name: str = "file") -> str:
    """Commit a row with an attachment; return its handle."""
    with sessions.begin() as session:
        handle = add(session, "a.txt", b"old")
        session.add(model(**{name: handle}))
    return handle


def test_a_committed_row_keeps_its_attachment(sessions: Sessions, storage: Storage) -> None:
    """And its handle is a plain string."""
    handle = stored(sessions)
    with sessions() as session:
        assert [handle] == [*session.scalars(text("SELECT file FROM documents"))]
        assert handle == session.get_one(Document, 1).file
    assert [handle] == [*storage]


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_a_rollback_removes_what_was_added(sessions: Sessions, storage: Storage, end: str) -> None:
    """Also an end without a word."""
    session = sessions()
    session.add(Document(file=add(session, "a.txt", b"new")))
    session.flush()
    getattr(session, end)()
    assert [] == [*storage]


def test_an_exception_in_a_block_removes_what_was_added(
    sessions: Sessions, storage: Storage
) -> None:
    """The usual failure."""

    def fail() -> None:
        with sessions.begin() as session:
            session.add(Document(file=add(session, "a.txt", b"new")))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [] == [*storage]


def test_a_session_without_a_query_removes_what_was_added(
    sessions: Sessions, storage: Storage
) -> None:
    """`add` begins a transaction that the database does not see."""
    with sessions() as session:
        add(session, "a.txt", b"new")
        assert 1 == len([*storage])
    assert [] == [*storage]


def test_a_flush_that_fails_removes_what_was_added_with_the_rollback(
    sessions: Sessions, storage: Storage
) -> None:
    """Here, a second row with the same attachment."""
    old = stored(sessions)
    with sessions() as session:
        session.add(Document(file=add(session, "a.txt", b"new")))
        session.add(Document(file=old))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        assert [old] == [*storage]


def test_a_replaced_attachment_goes_after_the_commit(sessions: Sessions, storage: Storage) -> None:
    """Not before."""
    old = stored(sessions)
    with sessions() as session:
        document = session.get_one(Document, 1)
        new = document.file = add(session, "b.txt", b"new")
        session.flush()
        assert sorted([old, new]) == [*storage]
        session.commit()
        assert [new] == [*storage]


def test_a_replaced_attachment_stays_after_a_rollback(sessions: Sessions, storage: Storage) -> None:
    """And the new one goes."""
    old = stored(sessions)
    with sessions() as session:
        session.get_one(Document, 1).file = add(session, "b.txt", b"new")
        session.flush()
        session.rollback()
    assert [old] == [*storage]


def test_a_value_that_was_not_loaded_is_removed_when_it_is_replaced(
    sessions: Sessions, storage: Storage
) -> None:
    """A commit expires it, so that the session does not know it."""
    stored(sessions)
    with sessions() as session:
        document = session.get_one(Document, 1)
        session.commit()
        document.file = new = add(session, "b.txt", b"new")
        session.commit()
    assert [new] == [*storage]


@pytest.mark.parametrize("is_loaded", [True, False])
def test_the_attachment_of_a_deleted_row_goes_after_the_commit(
    sessions: Sessions, storage: Storage, *, is_loaded: bool
) -> None:
    """With its other attachments, of all tables of the model."""
    with sessions.begin() as session:
        document = Signed(file=add(session, "a", b"1"), signature=add(session, "b", b"2"))
        session.add(document)
    with sessions() as session:
        document = session.get_one(Signed, 1)
        if not is_loaded:
            session.expire(document, ["file", "signature"])
        session.delete(document)
        session.flush()
        assert 2 == len([*storage])
        session.commit()
    assert [] == [*storage]


def test_a_deleted_row_keeps_its_attachment_after_a_rollback(
    sessions: Sessions, storage: Storage
) -> None:
    """The row is back."""
    old = stored(sessions)
    with sessions() as session:
        session.delete(session.get_one(Document, 1))
        session.flush()
        session.rollback()
    assert [old] == [*storage]


def test_a_savepoint_that_is_rolled_back_removes_only_its_own(
    sessions: Sessions, storage: Storage
) -> None:
    """The file of the enclosing transaction stays: the peers lose it."""
    with sessions() as session:
        outer = add(session, "a.txt", b"1")
        session.add(Document(file=outer))
        session.flush()
        nested = session.begin_nested()
        session.add(Document(file=add(session, "b.txt", b"2")))
        session.flush()
        nested.rollback()
        session.commit()
    assert [outer] == [*storage]


@pytest.mark.parametrize("does_delete", [True, False])
def test_what_a_released_savepoint_removes_stays_if_the_root_is_rolled_back(
    sessions: Sessions, storage: Storage, *, does_delete: bool
) -> None:
    """RELEASE gives its changes to the parent."""
    old = stored(sessions)
    with sessions() as session:
        with session.begin_nested():
            document = session.get_one(Document, 1)
            if does_delete:
                session.delete(document)
            else:
                document.file = add(session, "b.txt", b"2")
        session.rollback()
    assert [old] == [*storage]


@pytest.mark.parametrize("does_commit", [True, False])
def test_released_savepoints_within_savepoints_follow_the_root(
    sessions: Sessions, storage: Storage, *, does_commit: bool
) -> None:
    """Two levels up."""
    old = stored(sessions)
    with sessions() as session:
        with session.begin_nested(), session.begin_nested():
            session.get_one(Document, 1).file = new = add(session, "b.txt", b"2")
        (session.commit if does_commit else session.rollback)()
    assert [new if does_commit else old] == [*storage]


def test_a_savepoint_around_a_released_one_removes_its_attachments(
    sessions: Sessions, storage: Storage
) -> None:
    """The inner RELEASE does not count then."""
    with sessions() as session:
        outer = session.begin_nested()
        with session.begin_nested():
            session.add(Document(file=add(session, "b.txt", b"2")))
        outer.rollback()
        session.commit()
    assert [] == [*storage]


def test_nothing_is_removed_while_the_transaction_is_open(
    sessions: Sessions, storage: Storage
) -> None:
    """A savepoint's attachments go with the end of the root, outside of the transaction."""
    with sessions() as session:
        nested = session.begin_nested()
        add(session, "b.txt", b"2")
        nested.rollback()
        assert 1 == len([*storage])
        session.commit()
        assert [] == [*storage]


def fail_commit(engine: Engine, *, after: bool) -> None:
    """Make the next COMMIT fail as if the connection broke, before or after it took place."""
    dialect: Any = engine.dialect
    do_commit = dialect.do_commit

    def fail(connection: Any) -> None:
        if after:
            do_commit(connection)
        dialect.do_commit = do_commit
        raise dialect.dbapi.OperationalError("lost")

    dialect.do_commit = fail


@pytest.mark.parametrize("after", [True, False])
def test_an_unanswered_commit_removes_nothing(
    sessions: Sessions,
    storage: Storage,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    *,
    after: bool,
) -> None:
    """The database may have committed, or not; the log says which handles a sweep decides."""
    old = stored(sessions)
    with sessions() as session:
        session.get_one(Document, 1).file = new = add(session, "b.txt", b"2")
        session.flush()
        fail_commit(engine, after=after)
        with pytest.raises(DBAPIError):
            session.commit()
    assert sorted([old, new]) == [*storage]
    assert sorted([old, new]) == sorted(record.handle for record in caplog.records)  # type: ignore[attr-defined]


def test_an_outcome_that_cannot_be_checked_removes_nothing(
    sessions: Sessions, storage: Storage, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A table of the models does not exist, so that not all rows can be asked."""
    old = stored(sessions)
    Page.__table__.drop(engine)  # type: ignore[attr-defined]
    with sessions() as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert [old] == [*storage]
    assert old == caplog.records[-1].handle  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [Error("no", kind=Kind.UNAVAILABLE), ZeroDivisionError()])
def test_a_removal_that_fails_does_not_fail_the_commit(
    sessions: Sessions,
    storage: Any,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log has the handle, and a sweep removes the attachment."""
    old = stored(sessions)

    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(storage, "_delete", fail)
    with sessions.begin() as session:
        session.delete(session.get_one(Document, 1))
    assert [old] == [*storage]
    last = caplog.records[-1]
    assert (old, logging.WARNING) == (last.handle, last.levelno)  # type: ignore[attr-defined]


def test_an_attachment_that_is_gone_already_is_not_a_failure(
    sessions: Sessions, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep was faster."""
    storage.remove(stored(sessions))
    with sessions.begin() as session:
        session.delete(session.get_one(Document, 1))
    assert [] == [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("is_together", [True, False])
def test_a_handle_that_moves_to_another_row_keeps_its_attachment(
    sessions: Sessions, storage: Storage, *, is_together: bool
) -> None:
    """From a draft to a document, in one flush or in two."""
    old = stored(sessions, Draft, "content")
    with sessions.begin() as session:
        draft = session.get_one(Draft, 1)
        session.delete(draft)
        if not is_together:
            session.flush()
        session.add(Document(file=old))
    assert [old] == [*storage]


def test_a_row_that_takes_the_place_of_a_deleted_one_replaces_its_attachment(
    sessions: Sessions, storage: Storage
) -> None:
    """SQLAlchemy makes one UPDATE of a DELETE and an INSERT with the same key."""
    stored(sessions)
    with sessions.begin() as session:
        session.delete(session.get_one(Document, 1))
        new = add(session, "b.txt", b"2")
        session.add(Document(id=1, file=new))
    assert [new] == [*storage]


def test_a_shared_attachment_is_never_removed(sessions: Sessions, storage: Storage) -> None:
    """Two pages have it, and even after both only a sweep removes it."""
    old = stored(sessions, Page)
    with sessions.begin() as session:
        session.add(Page(file=old))
    for _ in range(2):
        with sessions.begin() as session:
            session.delete(session.scalars(select(Page)).first())
        assert [old] == [*storage]


def test_a_shared_column_keeps_the_attachment_of_another_row(
    sessions: Sessions, storage: Storage
) -> None:
    """The document goes; the page still has its file."""
    old = stored(sessions)
    with sessions.begin() as session:
        session.add(Page(file=old))
    with sessions.begin() as session:
        session.delete(session.get_one(Document, 1))
    assert [old] == [*storage]


def test_a_transaction_that_the_database_has_aborted_keeps_the_attachment(
    sessions: Sessions, storage: Storage, engine: Engine
) -> None:
    """PostgreSQL answers COMMIT without an error, and rolls back."""
    old = stored(sessions)
    with sessions() as session:
        session.delete(session.get_one(Document, 1))
        session.flush()
        with pytest.raises(DBAPIError):
            session.connection().exec_driver_sql("SELECT 1 FROM nowhere")
        session.commit()
    with engine.connect() as connection:
        rows = [*connection.scalars(text("SELECT file FROM documents"))]
    assert rows == [*storage]
    assert ([old] if engine.dialect.name == "postgresql" else []) == rows


def test_a_session_in_a_transaction_of_its_connection_decides_nothing(
    sessions: Sessions, storage: Storage, engine: Engine
) -> None:
    """As in test suites: the connection rolls back what the session committed."""
    old = stored(sessions)
    with engine.connect() as connection:
        outer = connection.begin()
        with sessions(bind=connection, join_transaction_mode="create_savepoint") as session:
            session.delete(session.get_one(Document, 1))
            session.commit()
            add(session, "b.txt", b"2")
            session.rollback()
            assert [old] == [*storage]
        outer.rollback()
    assert [old] == [*storage]


@pytest.mark.parametrize("mode", ["rollback_only", "control_fully", "conditional_savepoint"])
def test_a_session_closed_in_a_transaction_of_its_connection_leaves_what_goes_on(
    sessions: Sessions, storage: Storage, engine: Engine, mode: Any
) -> None:
    """The rows may be committed later."""
    with engine.connect() as connection:
        outer = connection.begin()
        with sessions(bind=connection, join_transaction_mode=mode) as session:
            session.add(Document(file=add(session, "b.txt", b"2")))
            session.flush()
        if outer.is_active:
            outer.commit()
        else:
            outer.close()
        assert [*connection.scalars(text("SELECT file FROM documents"))] == [*storage]


def test_a_session_that_is_only_collected_removes_nothing(
    sessions: Sessions, storage: Storage
) -> None:
    """SQLAlchemy does not tell its end: sweep."""
    session: Session | None = sessions()
    assert session is not None
    handle = add(session, "b.txt", b"2")
    session = None
    gc.collect()
    assert [handle] == [*storage]


def test_a_two_phase_commit_removes_what_was_replaced(storage: Storage, engine: Engine) -> None:
    """PREPARE counts as sent."""
    if engine.dialect.name != "postgresql":
        return
    sessions = sessionmaker(engine, twophase=True)
    attach(sessions, storage)
    old = stored(sessions)
    with sessions() as session:
        session.get_one(Document, 1).file = new = add(session, "b.txt", b"2")
        session.prepare()
        assert sorted([old, new]) == [*storage]
        session.commit()
        assert [new] == [*storage]
        session.get_one(Document, 1).file = lost = add(session, "c.txt", b"3")
        session.prepare()
        session.rollback()
    assert sorted([new, lost]) == [*storage]


def test_adopted_attachments_are_as_added_ones(sessions: Sessions, storage: Storage) -> None:
    """They were stored before the transaction began."""
    handle = storage.add("big.bin", b"1")
    with sessions() as session:
        assert handle == adopt(session, handle)
        session.rollback()
        assert [] == [*storage]
        with pytest.raises(Error) as raised:
            adopt(session, "/etc/passwd")
        assert Kind.ILL_FORMED is raised.value.kind


def test_merged_objects_replace_attachments(sessions: Sessions, storage: Storage) -> None:
    """A detached copy has a new file."""
    stored(sessions)
    with sessions.begin() as session:
        new = add(session, "b.txt", b"2")
        session.merge(Document(id=1, kind="document", file=new))
    assert [new] == [*storage]


def test_expunged_objects_count_as_never_added(sessions: Sessions, storage: Storage) -> None:
    """What no row refers to at the commit is left to sweep."""
    old = stored(sessions)
    with sessions.begin() as session:
        document = session.get_one(Document, 1)
        document.file = loose = add(session, "b.txt", b"2")
        session.expunge(document)
    assert sorted([old, loose]) == [*storage]


def test_sessions_without_autoflush_and_expiry_remove_the_same(
    storage: Storage, engine: Engine
) -> None:
    """Two options that change when values are loaded and written."""
    sessions = sessionmaker(engine, autoflush=False, expire_on_commit=False)
    attach(sessions, storage)
    with sessions() as session, session.begin():
        document = Document(file=add(session, "a.txt", b"1"))
        session.add(document)
    with sessions() as session:
        session.add(document)
        document.file = new = add(session, "b.txt", b"2")
        session.commit()
    assert [new] == [*storage]


def test_tenants_are_told_apart(storage: Storage, engine: Engine) -> None:
    """Another schema may have a row with the same handle, which is another database's."""
    if engine.dialect.name != "postgresql":
        return
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA tenant"))
    of_tenant = engine.execution_options(schema_translate_map={None: "tenant"})
    Base.metadata.create_all(of_tenant)
    sessions = sessionmaker(of_tenant)
    attach(sessions, storage)
    old = stored(sessions)
    with sessions() as session:
        [found] = session.scalars(select(Document))
        session.delete(found)
        session.commit()
    assert old not in storage
    plain = sessionmaker(engine)
    attach(plain, storage)
    with plain() as session:
        session.connection(execution_options={"schema_translate_map": {None: "tenant"}})
        session.add(Document(file=add(session, "a.txt", b"1")))
        session.commit()
        session.connection(execution_options={"schema_translate_map": {None: "tenant"}})
        add(session, "a.txt", b"1")
        session.rollback()
    assert 1 == len([*storage])


def test_a_session_is_attached_once(storage: Storage, engine: Engine) -> None:
    """Again to the same storage is nothing; to another one is an error."""
    sessions = sessionmaker(engine)
    attach(sessions, storage)
    attach(sessions, storage)
    session = sessions()
    attach(session, storage)
    add(session, "a.txt", b"1")
    session.rollback()
    assert [] == [*storage]
    with pytest.raises(Error) as raised:
        attach(sessions, type(storage)())
    assert Kind.CONFIGURATION is raised.value.kind


def test_a_session_that_is_not_attached_stores_nothing(storage: Storage, engine: Engine) -> None:
    """The error says what to do; a session in a transaction is attached too late."""
    with Session(engine) as session:
        with pytest.raises(Error, match="attach") as raised:
            add(session, "a.txt", b"1")
        assert Kind.CONFIGURATION is raised.value.kind
        session.begin()
        with pytest.raises(Error) as raised:
            attach(session, storage)
        assert Kind.CONFIGURATION is raised.value.kind
        session.rollback()
        attach(session, storage)
        add(session, "a.txt", b"1")
        assert session.in_transaction()
    assert [] == [*storage]


def test_a_session_without_autobegin_must_begin(storage: Storage, engine: Engine) -> None:
    """Nothing is stored otherwise."""
    sessions = sessionmaker(engine, autobegin=False)
    attach(sessions, storage)
    with sessions() as session:
        with pytest.raises(Error) as raised:
            add(session, "a.txt", b"1")
        assert Kind.CONFIGURATION is raised.value.kind
        assert [] == [*storage]
        with session.begin():
            add(session, "a.txt", b"1")
    assert 1 == len([*storage])
