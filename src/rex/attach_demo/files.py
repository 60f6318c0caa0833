"""The database of the demo page: a row for each file, whose attachment lives and ends with it."""

from __future__ import annotations

import datetime  # noqa: TC003 - resolved at run time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from sqlalchemy import NullPool, create_engine, func, insert, inspect, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from rex.attach.sqlalchemy import Handle, attach
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rex.attach import Info, Storage

COPIED = ("handle", "name", "size", "content_type", "modified")


class Base(DeclarativeBase):
    """The models of the page."""


class File(Base):
    """A file in the list."""

    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True)
    handle: Mapped[Handle]
    name: Mapped[str]
    folded: Mapped[str]  # for searching and sorting: SQLite ignores case only for ASCII
    size: Mapped[int]
    content_type: Mapped[str]
    modified: Mapped[datetime.datetime]  # in UTC


COLUMNS: dict[str, Any] = {"date": File.modified, "name": File.folded, "size": File.size}
ORDERS: dict[str, tuple[Any, Any]]
ORDERS = {name: (column, File.id) for name, column in COLUMNS.items()}
ORDERS |= {f"-{name}": (column.desc(), File.id.desc()) for name, column in COLUMNS.items()}


class Files:
    """The files in the list. All methods block; any number of processes may use the database."""

    def __init__(self, path: str, storage: Storage) -> None:
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)  # survives a fork
        self._sessions = sessionmaker(engine)
        attach(self._sessions, storage)
        try:
            if not inspect(engine).has_table(File.__tablename__):
                stored = _read(storage)
                with engine.begin() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")  # other workers wait here
                    Base.metadata.create_all(connection)
                    _insert(connection, stored)
        except OperationalError as failure:
            raise Error(
                "Cannot open the database of the page",
                f"{path}: {failure.orig}",
                kind=Kind.CONFIGURATION,
                code="wrong-setting",
                setting="attach_demo_database",
            ) from None

    def record(self, stored: Iterable[Info]) -> None:
        """Add files to the list, except those that are in it."""
        with self._sessions.begin() as session:
            _insert(session, stored)

    def find(self, wanted: str, order: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Return the first files whose name contains a text, and their total number."""
        query = select(File).where(File.folded.contains(_fold(wanted), autoescape=True))
        with self._sessions() as session:
            total = session.scalar(select(func.count()).select_from(query.subquery()))
            found = session.scalars(query.order_by(*ORDERS[order]).limit(limit))
            return [{name: getattr(file, name) for name in COPIED} for file in found], total or 0

    def remove(self, handles: list[str]) -> list[str]:
        """Remove rows, then their attachments; return the handles that had a row."""
        with self._sessions.begin() as session:
            found = session.scalars(select(File).where(File.handle.in_(handles))).all()
            for file in found:
                session.delete(file)  # the session removes the attachment after the commit
            return [file.handle for file in found]


def _fold(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())


def _insert(target: Any, stored: Iterable[Info]) -> None:
    """Insert rows, but not twice: clients repeat requests."""
    copied = [{name: getattr(info, name) for name in COPIED} for info in stored]
    if rows := [{**row, "folded": _fold(row["name"])} for row in copied]:
        target.execute(insert(File).prefix_with("OR IGNORE"), rows)


def _read(storage: Storage) -> list[Info]:
    """Return what a storage has already when its list is created."""

    def read(handle: str) -> Info | None:
        with suppress(FileNotFoundError):  # removed in the meantime
            return storage.info(handle)
        return None

    with ThreadPoolExecutor(8) as threads:
        stored = filter(None, threads.map(read, storage))
        return sorted(stored, key=lambda info: info.modified)
