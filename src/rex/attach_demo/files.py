"""The database of the demo page: a row for each file, whose attachment lives and ends with it."""

from __future__ import annotations

import datetime  # noqa: TC003 - resolved at run time
from concurrent.futures import ThreadPoolExecutor
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

__all__ = ["ORDERS", "Files"]


class Base(DeclarativeBase):
    """The models of the page."""


class File(Base):
    """A file in the list."""

    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True)
    handle: Mapped[Handle]
    name: Mapped[str]
    folded: Mapped[str]
    """The name for searching and sorting: SQLite ignores case only for ASCII."""
    size: Mapped[int]
    content_type: Mapped[str]
    modified: Mapped[datetime.datetime]


ORDERS: dict[str, tuple[Any, ...]] = {
    "newest": (File.modified.desc(), File.id.desc()),
    "oldest": (File.modified, File.id),
    "name": (File.folded, File.id),
    "-name": (File.folded.desc(), File.id.desc()),
    "largest": (File.size.desc(), File.id.desc()),
    "smallest": (File.size, File.id),
}


class Files:
    """The files in the list. All methods block; any number of processes may use the database."""

    def __init__(self, path: str, storage: Storage) -> None:
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)  # survives a fork
        self._sessions = sessionmaker(engine)
        attach(self._sessions, storage)
        try:
            if inspect(engine).has_table(File.__tablename__):
                return
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
            return [_as_dict(file) for file in found], total or 0

    def remove(self, handles: list[str]) -> list[str]:
        """Remove files: the rows, then their attachments. Return the handles that had a row."""
        with self._sessions.begin() as session:
            found = session.scalars(select(File).where(File.handle.in_(handles))).all()
            for file in found:
                session.delete(file)  # the session removes the attachment after the commit
            return [file.handle for file in found]


def _fold(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())


def _insert(target: Any, stored: Iterable[Info]) -> None:
    """Insert rows; a file that has one keeps it, since clients repeat requests."""
    rows = [
        {name: getattr(info, name) for name in ("handle", "name", "size", "content_type")}
        | {"folded": _fold(info.name), "modified": info.modified}
        for info in stored
    ]
    if rows:
        target.execute(insert(File).prefix_with("OR IGNORE"), rows)


def _read(storage: Storage) -> list[Info]:
    """Return what the storage has already when the database is created."""

    def read(handle: str) -> Info | None:
        try:
            return storage.info(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:
                return None  # removed in the meantime
            raise

    with ThreadPoolExecutor(8) as threads:
        return sorted(filter(None, threads.map(read, storage)), key=lambda info: info.modified)


def _as_dict(file: File) -> dict[str, Any]:
    names = ("handle", "name", "size", "content_type")
    kept = {name: getattr(file, name) for name in names}
    return {**kept, "modified": f"{file.modified.isoformat()}Z"}  # in UTC, as it was recorded
