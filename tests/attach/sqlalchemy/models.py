"""The models of the tests, and engines for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, ForeignKey, create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from rex.attach.sqlalchemy import Attachment, Handle

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["Base", "Document", "Draft", "Page", "Signed", "asynchronous", "synchronous"]


class Base(DeclarativeBase):
    """The base of the models."""


class Document(Base):
    """A model with an attachment."""

    __tablename__ = "documents"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str | None]
    file: Mapped[Handle | None]


class Signed(Document):
    """A model with one of its own beside that of its base."""

    __tablename__ = "signed"
    __mapper_args__ = {"polymorphic_identity": "signed"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    signature: Mapped[Handle | None]


class Draft(Base):
    """A model whose attachment has another name in the database."""

    __tablename__ = "drafts"

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str | None] = mapped_column("file", Attachment)


class Page(Base):
    """A model that shares attachments."""

    __tablename__ = "pages"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str | None] = mapped_column(Attachment(shared=True))


def with_savepoints(engine: Engine) -> Engine:
    """Make SQLite begin transactions when SQLAlchemy does, as its documentation says."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _: object) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


def synchronous(url: str, **options: Any) -> Engine:
    """Return an engine whose savepoints are real."""
    return with_savepoints(create_engine(url, **options))


def asynchronous(url: str) -> AsyncEngine:
    """Return an asynchronous engine whose savepoints are real."""
    url = url.replace("sqlite:", "sqlite+aiosqlite:")
    engine = create_async_engine(url, poolclass=NullPool)
    with_savepoints(engine.sync_engine)
    return engine
