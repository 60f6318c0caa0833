"""Sessions of libraries around SQLAlchemy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import flask
import flask_sqlalchemy
import sqlmodel
from sqlalchemy import create_engine
from sqlalchemy.orm import Mapped, Session, mapped_column, scoped_session, sessionmaker

from attach.sqlalchemy.models import Document
from programs import run
from rex.attach.sqlalchemy import Attachment, Handle, add, attach

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from rex.attach import Storage


def test_scoped_sessions_are_recognised(engine: Engine, storage: Storage) -> None:
    """The proxy stands for the session of the thread."""
    scoped = scoped_session(sessionmaker(engine))
    attach(scoped, storage)
    scoped.add(Document(file=add(scoped, "a.txt", b"1")))
    scoped.flush()
    scoped.remove()
    assert [] == [*storage]


def test_a_class_of_sessions_can_be_attached(engine: Engine, storage: Storage) -> None:
    """And other classes are not."""

    class OwnSession(Session):
        """A class of the application."""

    attach(OwnSession, storage)
    with OwnSession(engine) as session:
        add(session, "a.txt", b"1")
    assert [] == [*storage]


def test_flask_sqlalchemy(storage: Storage, tmp_path: Path) -> None:
    """Its session is scoped to a request, and closed at its end."""
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.db"
    app.config["SQLALCHEMY_BINDS"] = {"other": f"sqlite:///{tmp_path}/other.db"}
    database = flask_sqlalchemy.SQLAlchemy(app)
    attach(database.session, storage)

    class Photo(database.Model):  # type: ignore[name-defined,misc]
        """A model."""

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[Handle | None]

    class Logo(database.Model):  # type: ignore[name-defined,misc]
        """A model in another database."""

        __bind_key__ = "other"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[Handle | None]

    @app.post("/<int:number>")
    def photo(number: int) -> str:
        kept = add(database.session, "a.txt", b"1")
        database.session.add(Photo(file=kept))
        database.session.add(Logo(file=add(database.session, "logo.txt", b"1")))
        database.session.flush()
        if number:
            database.session.commit()
        return "done"

    @app.delete("/")
    def delete() -> str:
        for model in Photo, Logo:
            database.session.delete(database.session.get_one(model, 1))
        database.session.commit()
        return "done"

    with app.app_context():
        database.create_all()
    client = app.test_client()
    assert 200 == client.post("/0").status_code
    assert [] == [*storage]
    assert 200 == client.post("/1").status_code
    assert 2 == len([*storage])
    assert 200 == client.delete("/").status_code
    assert [] == [*storage]
    with app.app_context():
        for engine in database.engines.values():
            engine.dispose()


def test_sqlmodel(storage: Storage) -> None:
    """Its fields take the type of a column."""

    class Photo(sqlmodel.SQLModel, table=True):
        """A model."""

        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        file: str | None = sqlmodel.Field(default=None, sa_type=Attachment, unique=True)

    engine = create_engine("sqlite://")
    Photo.metadata.create_all(engine, tables=[Photo.__table__])  # type: ignore[attr-defined]
    sessions = sessionmaker(engine, class_=sqlmodel.Session)
    attach(sessions, storage)
    with sessions() as session:
        session.add(Photo(file=add(session, "a.txt", b"1")))
        session.commit()
        photo = session.exec(sqlmodel.select(Photo)).one()
        photo.file = new = add(session, "b.txt", b"2")
        session.add(photo)
        session.commit()
        assert [new] == [*storage]
    engine.dispose()


def test_it_needs_neither_greenlet_nor_asyncio_of_sqlalchemy() -> None:
    """Which SQLAlchemy does not install either."""
    program = """
import sys
sys.modules["greenlet"] = None
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker
from rex.attach import open_storage
from rex.attach.sqlalchemy import add, attach
sessions = sessionmaker(create_engine("sqlite://"))
storage = open_storage("memory:")
attach(sessions, storage)
with sessions() as session:
    add(session, "a.txt", b"1")
print([*storage], "sqlalchemy.ext.asyncio" in sys.modules)
"""
    done = run(sys.executable, "-c", program)
    assert ("[] False\n", "") == (done.stdout, done.stderr)
