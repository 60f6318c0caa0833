"""The column type: names, lengths and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select, update
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from attach.sqlalchemy.models import Document, Draft, Page
from rex.attach.handle import make_handle
from rex.attach.sqlalchemy import Attachment
from rex.core import Error, Kind

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_the_longest_handle_fits_the_column() -> None:
    """A name has at most 255 bytes, here of one character each."""
    assert vars(Attachment().impl_instance)["length"] == len(make_handle("a" * 300))


def test_columns_are_unique_unless_they_share_attachments() -> None:
    """Shared ones get an index, with which removals look for other rows."""
    assert Document.__table__.c.file.unique
    assert Draft.__table__.c.file.unique
    assert not Page.__table__.c.file.unique
    assert Page.__table__.c.file.index


def test_a_column_may_decide_itself_and_a_key_needs_nothing() -> None:
    """What is given stays."""
    table = Table(
        "t",
        MetaData(),
        Column("a", Attachment(), primary_key=True),
        Column("b", Attachment(), unique=False),
        Column("c", Attachment(shared=True), index=False),
        Column("d", Attachment(shared=True), unique=True),
    )
    assert [None, False, None, True] == [column.unique for column in table.c]
    assert [None, None, False, None] == [column.index for column in table.c]
    assert "VARCHAR(304)" in str(CreateTable(table).compile(create_engine("sqlite://")))


def test_its_text_makes_the_same_type() -> None:
    """Alembic writes it into migrations."""
    for kind in (Attachment(), Attachment(shared=True)):
        assert kind.shared == eval(repr(kind)).shared  # noqa: S307 - as Alembic does


def test_only_handles_are_written(engine: Engine) -> None:
    """By objects and by statements."""
    with Session(engine) as session:
        session.add(Document(file="/etc/passwd"))
        with pytest.raises(StatementError) as raised:
            session.flush()
        assert isinstance(raised.value.orig, Error)
        assert Kind.ILL_FORMED is raised.value.orig.kind
        session.rollback()
        for statement in (insert(Draft), update(Draft)):
            with pytest.raises(StatementError):
                session.execute(statement.values(content="x"))
            session.rollback()


def test_comparisons_accept_any_string(engine: Engine) -> None:
    """What a client sends need not be a handle."""
    handle = make_handle("scan.pdf")
    with Session(engine) as session:
        session.add(Document(file=handle))
        session.flush()
        for found in (
            Document.file.like("%.pdf"),
            Document.file == handle,
            Document.file.in_([handle, "x"]),
            Document.file.is_not(None),
        ):
            assert [handle] == [*session.scalars(select(Document.file).where(found))]
        assert [] == [*session.scalars(select(Document.file).where(Document.file == "x"))]


def test_one_attachment_in_two_rows_is_refused_by_the_database(engine: Engine) -> None:
    """Of the same column."""
    handle = make_handle("scan.pdf")
    with Session(engine) as session:
        session.add_all([Document(file=handle), Document(file=handle)])
        with pytest.raises(IntegrityError):
            session.flush()


def test_the_type_is_that_of_strings() -> None:
    """For forms and schemas made from models."""
    assert str is Attachment().python_type
