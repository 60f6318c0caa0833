"""Bulk statements: the old values of their rows are selected first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import bindparam, delete, event, select, update
from sqlalchemy.orm import Session, aliased, sessionmaker

import postgresql
from attach.sqlalchemy.models import Document, Draft, Page, Signed
from rex.attach.sqlalchemy import add, attach

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from rex.attach import Storage

LEFT_OUT = postgresql.LEFT_OUT

Sessions = sessionmaker[Session]


@pytest.fixture
def sessions(engine: Engine, storage: Storage) -> Sessions:
    """Give sessions that are attached to the storage, and three documents and a draft."""
    sessions = sessionmaker(engine)
    attach(sessions, storage)
    with sessions.begin() as session:
        for number in (1, 2, 3):
            handle = add(session, f"{number}.txt", b"old")
            session.add(Document(id=number, title=f"title {number}", file=handle))
        session.add(Draft(id=1, content=add(session, "draft.txt", b"old")))
    return sessions


def names(storage: Storage) -> list[str]:
    """Return the names of all attachments."""
    return sorted(handle.rpartition("/")[2] for handle in storage)


ALL = ["1.txt", "2.txt", "3.txt", "draft.txt"]


def move_in_sql(session: Session) -> None:
    """Move the attachment of the draft to the first document, which loses its own."""
    source = select(Draft.content).where(Draft.id == 1).scalar_subquery()
    session.execute(
        update(Document).where(Document.id == 1).values(file=source),
        execution_options={"synchronize_session": False},
    )
    session.execute(delete(Draft))


STATEMENTS: dict[str, tuple[Callable[[Session], object], list[str]]] = {
    "delete": (lambda s: s.execute(delete(Document).where(Document.id == 2)), ["2.txt"]),
    "delete all": (lambda s: s.execute(delete(Document)), ["1.txt", "2.txt", "3.txt"]),
    "delete by a parameter": (
        lambda s: s.execute(delete(Document).where(Document.id == bindparam("n")), {"n": 2}),
        ["2.txt"],
    ),
    "delete in a table": (
        lambda s: s.execute(delete(Document.__table__).where(Document.__table__.c.id == 2)),  # type: ignore[arg-type]
        ["2.txt"],
    ),
    "delete by a query": (lambda s: s.query(Document).filter_by(id=2).delete(), ["2.txt"]),
    "delete by another table": (
        lambda s: s.execute(
            delete(Document).where(Document.id.in_(select(Draft.id))),
            execution_options={"synchronize_session": False},
        ),
        ["1.txt"],
    ),
    "delete with returning": (
        lambda s: s.scalars(delete(Document).where(Document.id == 2).returning(Document.id)).all(),
        ["2.txt"],
    ),
    "delete nothing": (lambda s: s.execute(delete(Document).where(Document.id == 9)), []),
    "update to nothing": (
        lambda s: s.execute(update(Document).where(Document.id > 1).values(file=None)),
        ["2.txt", "3.txt"],
    ),
    "update by column": (
        lambda s: s.execute(update(Document).where(Document.id == 1).values({Document.file: None})),
        ["1.txt"],
    ),
    "update of an attribute with another name": (
        lambda s: s.execute(update(Draft).values(content=None)),
        ["draft.txt"],
    ),
    "update of an attribute with another name, by parameters": (
        lambda s: s.execute(update(Draft).where(Draft.id == 1), {"file": None}),
        ["draft.txt"],
    ),
    "update by primary keys": (
        lambda s: s.execute(update(Document), [{"id": 1, "file": None}, {"id": 3, "file": None}]),
        ["1.txt", "3.txt"],
    ),
    "update by ordered values": (
        lambda s: s.execute(
            update(Document).where(Document.id == 1).ordered_values(("title", "x"), ("file", None))
        ),
        ["1.txt"],
    ),
    "update in a table, many times": (
        lambda s: s.execute(
            update(Document.__table__)  # type: ignore[arg-type]
            .where(Document.__table__.c.id == bindparam("n"))
            .values(file=None),
            [{"n": 1}, {"n": 2}],
        ),
        ["1.txt", "2.txt"],
    ),
    "update by a query": (
        lambda s: s.query(Document).filter_by(id=1).update({"file": None}),
        ["1.txt"],
    ),
    "update of other columns": (lambda s: s.execute(update(Document).values(title="x")), []),
    "update to the same": (
        lambda s: s.execute(update(Document).values(file=Document.file)),
        [],
    ),
    "a move in SQL": (move_in_sql, ["1.txt"]),
}


@pytest.mark.parametrize("does_commit", [True, False])
@pytest.mark.parametrize("what", STATEMENTS)
def test_a_bulk_statement_removes_the_replaced_attachments_after_the_commit(
    sessions: Sessions, storage: Storage, what: str, *, does_commit: bool
) -> None:
    """And none after a rollback."""
    execute, gone = STATEMENTS[what]
    with sessions() as session:
        execute(session)
        assert names(storage) == ALL
        (session.commit if does_commit else session.rollback)()
    assert [name for name in ALL if not does_commit or name not in gone] == names(storage)


def test_a_statement_for_a_model_of_two_tables_concerns_one(
    sessions: Sessions, storage: Storage
) -> None:
    """Its own; the rows of the base stay."""
    with sessions.begin() as session:
        session.add(Signed(id=4, file=add(session, "4.txt", b""), signature=add(session, "s", b"")))
    with sessions.begin() as session:
        session.execute(
            delete(Signed).where(Signed.signature.is_not(None)),
            execution_options={"synchronize_session": False},
        )
    assert ["1.txt", "2.txt", "3.txt", "4.txt", "draft.txt"] == names(storage)


def test_a_statement_for_an_alias_is_recognised(sessions: Sessions, storage: Storage) -> None:
    """As SQLAlchemy permits it for UPDATE."""
    other = aliased(Document)
    with sessions.begin() as session:
        session.execute(
            update(other).where(other.id == 1).values(file=None),
            execution_options={"synchronize_session": False},
        )
    assert ["2.txt", "3.txt", "draft.txt"] == names(storage)


def test_shared_attachments_stay_after_bulk_statements(
    sessions: Sessions, storage: Storage
) -> None:
    """Only a sweep removes them."""
    with sessions.begin() as session:
        session.add(Page(file=add(session, "page.txt", b"")))
    with sessions.begin() as session:
        session.execute(delete(Page))
    assert [*ALL, "page.txt"] == names(storage)


def test_changes_that_were_not_flushed_count_as_well(sessions: Sessions, storage: Storage) -> None:
    """The statement flushes them, so that their values are the old ones."""
    with sessions() as session:
        session.get_one(Document, 1).file = add(session, "new.txt", b"")
        session.execute(delete(Document))
        session.commit()
    assert ["draft.txt"] == names(storage)


def test_a_statement_costs_one_query_more_and_only_where_it_concerns_attachments(
    sessions: Sessions, engine: Engine
) -> None:
    """Rows are locked where the database can."""
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    with sessions() as session:
        session.execute(update(Document).values(title="x"))
        before = [each for each in seen if each.startswith("SELECT")]
        session.execute(update(Document).values(file=None))
        session.rollback()
    selects = [each for each in seen if each.startswith("SELECT")]
    assert 1 == len(selects) - len(before)
    assert selects[-1].endswith("FOR UPDATE") == (engine.dialect.name == "postgresql")
