"""What happens to files in SQLAlchemy models: this library, sqlalchemy-file and filedepot.

17 cases on SQLite with real savepoints. Run it in an environment of its own, which has
`sqlalchemy-file==0.7.0`, `filedepot==0.12.0` and this library:

    python benchmarks/sqlalchemy_peers.py
"""

from __future__ import annotations

import abc
import importlib.metadata
import logging
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import depot.manager
from depot.fields.sqlalchemy import UploadedFileField
from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy import create_engine, delete, event, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy_file import File, FileField
from sqlalchemy_file.storage import StorageManager

from rex.attach import open_storage
from rex.attach.sqlalchemy import Attachment, add, attach

if TYPE_CHECKING:
    from collections.abc import Callable

logging.getLogger("rex.attach").addHandler(logging.NullHandler())
warnings.simplefilter("ignore")


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Refuse a removal, as a storage does."""
    raise OSError("refused")


class Peer(abc.ABC):
    """A library, with a model, a session factory, and what is stored."""

    name = ""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.engine = create_engine(f"sqlite:///{directory}/app.db")

        @event.listens_for(self.engine, "connect")
        def _connect(connection: Any, _: object) -> None:
            connection.isolation_level = None

        @event.listens_for(self.engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        class Base(DeclarativeBase):
            """The base of the model."""

        self.sessions = sessionmaker(self.engine)
        self.model = self.make_model(Base)
        Base.metadata.create_all(self.engine)

    @abc.abstractmethod
    def make_model(self, base: Any) -> Any:
        """Return the model, with a storage for its files."""

    @abc.abstractmethod
    def new(self, session: Session, content: bytes) -> Any:
        """Return a value with a new file."""

    @abc.abstractmethod
    def key(self, value: Any) -> Any:
        """Return the key of a value's file."""

    @abc.abstractmethod
    def stored(self) -> set[Any]:
        """Return the keys of all files."""

    @abc.abstractmethod
    def break_removal(self) -> None:
        """Make the storage refuse removals."""

    def rows(self) -> list[Any]:
        """Return the files that rows refer to, None for a row without one."""
        with self.sessions() as session:
            return [self.key(each) for each in session.scalars(select(self.model.file))]

    def lose_answer(self) -> None:
        """Lose the answer of the next COMMIT, which takes place."""
        dialect = self.engine.dialect
        commit = dialect.do_commit

        def lose(connection: Any) -> NoReturn:
            commit(connection)
            dialect.do_commit = commit
            raise dialect.dbapi.OperationalError("lost")

        dialect.do_commit = lose


class Rex(Peer):
    """This library."""

    name = "rex-attach"

    def make_model(self, base: Any) -> Any:
        """Return the model, with a storage for its files."""
        self.storage = open_storage("memory:")
        attach(self.sessions, self.storage)

        class Document(base):
            """A model with a file."""

            __tablename__ = "documents"
            id: Mapped[int] = mapped_column(primary_key=True)
            title: Mapped[str | None] = mapped_column(unique=True)
            # Not unique, so that two rows may have one file.
            file: Mapped[str | None] = mapped_column(Attachment, unique=False)

        return Document

    def new(self, session: Session, content: bytes) -> Any:
        """Return a value with a new file."""
        return add(session, "a.txt", content)

    def key(self, value: Any) -> Any:
        """Return the key of a value's file."""
        return value

    def stored(self) -> set[Any]:
        """Return the keys of all files."""
        return {*self.storage}

    def break_removal(self) -> None:
        """Make the storage refuse removals."""
        self.storage._delete = refuse  # noqa: SLF001 - as it would


class SqlalchemyFile(Peer):
    """The library sqlalchemy-file."""

    name = "sqlalchemy-file"

    def make_model(self, base: Any) -> Any:
        """Return the model, with a storage for its files."""
        (self.directory / "files").mkdir()
        self.container = LocalStorageDriver(str(self.directory)).get_container("files")
        StorageManager._clear()  # noqa: SLF001 - of the case before
        StorageManager.add_storage("default", self.container)

        class Document(base):
            """A model with a file."""

            __tablename__ = "documents"
            id: Mapped[int] = mapped_column(primary_key=True)
            title: Mapped[str | None] = mapped_column(unique=True)
            file = mapped_column(FileField)

        return Document

    def new(self, session: Session, content: bytes) -> Any:  # noqa: ARG002
        """Return a value with a new file."""
        return File(content=content)

    def key(self, value: Any) -> Any:
        """Return the key of a value's file."""
        return None if value is None else value.get("file_id", "never stored")

    def stored(self) -> set[Any]:
        """Return the keys of all files."""
        names = {each.name for each in self.container.list_objects()}
        return {name for name in names if not name.endswith(".metadata.json")}

    def break_removal(self) -> None:
        """Make the storage refuse removals."""
        self.container.driver.delete_object = refuse


class Depot(Peer):
    """The library filedepot."""

    name = "filedepot"

    def make_model(self, base: Any) -> Any:
        """Return the model, with a storage for its files."""
        depot.manager.DepotManager._clear()  # noqa: SLF001 - of the case before
        depot.manager.DepotManager.configure(
            "default", {"depot.storage_path": str(self.directory / "files")}
        )

        class Document(base):
            """A model with a file."""

            __tablename__ = "documents"
            id: Mapped[int] = mapped_column(primary_key=True)
            title: Mapped[str | None] = mapped_column(unique=True)
            file = mapped_column(UploadedFileField)

        return Document

    def new(self, session: Session, content: bytes) -> Any:  # noqa: ARG002
        """Return a value with a new file."""
        return content

    def key(self, value: Any) -> Any:
        """Return the key of a value's file."""
        return None if value is None else value.file_id

    def stored(self) -> set[Any]:
        """Return the keys of all files."""
        with suppress(FileNotFoundError):  # nothing was stored yet
            return {*depot.manager.DepotManager.get().list()}
        return set()

    def break_removal(self) -> None:
        """Make the storage refuse removals."""
        depot.manager.DepotManager.get().delete = refuse


def saved(peer: Peer, **values: Any) -> None:
    """Commit a row with a file."""
    with peer.sessions() as session:
        session.add(peer.model(file=peer.new(session, b"old"), **values))
        session.commit()


def first(peer: Peer, session: Session) -> Any:
    """Return the first row."""
    return session.scalars(select(peer.model).order_by(peer.model.id)).first()


def savepoint_rolled_back(peer: Peer) -> None:
    """Roll back a savepoint with a file; commit."""
    with peer.sessions() as session:
        session.add(peer.model(file=peer.new(session, b"1")))
        session.flush()
        nested = session.begin_nested()
        session.add(peer.model(file=peer.new(session, b"2")))
        session.flush()
        nested.rollback()
        session.commit()


def deletion_released(peer: Peer) -> None:
    """Delete in a savepoint, release it; roll back."""
    saved(peer)
    with peer.sessions() as session:
        with session.begin_nested():
            session.delete(first(peer, session))
        session.rollback()


def replacement_released(peer: Peer) -> None:
    """Replace in a savepoint, release it; roll back."""
    saved(peer)
    with peer.sessions() as session:
        with session.begin_nested():
            first(peer, session).file = peer.new(session, b"new")
        session.rollback()


def two_rows(peer: Peer) -> None:
    """Refer to a file from two rows; delete one row."""
    saved(peer)
    with peer.sessions() as session:
        session.add(peer.model(file=first(peer, session).file))
        session.commit()
    with peer.sessions() as session:
        session.delete(first(peer, session))
        session.commit()


def answer_lost(peer: Peer) -> None:
    """Lose the answer to a COMMIT that took place."""
    with peer.sessions() as session:
        session.add(peer.model(file=peer.new(session, b"1")))
        session.flush()
        peer.lose_answer()
        with suppress(Exception):
            session.commit()
        session.rollback()


def answer_of_replacement_lost(peer: Peer) -> None:
    """Lose the answer to the COMMIT of a replacement."""
    saved(peer)
    with peer.sessions() as session:
        first(peer, session).file = peer.new(session, b"new")
        session.flush()
        peer.lose_answer()
        with suppress(Exception):
            session.commit()
        session.rollback()


def closed(peer: Peer) -> None:
    """Flush a row; close the session."""
    with peer.sessions() as session:
        session.add(peer.model(file=peer.new(session, b"1")))
        session.flush()


def bulk_delete(peer: Peer) -> None:
    """Delete rows with a statement."""
    saved(peer)
    with peer.sessions() as session:
        session.execute(delete(peer.model))
        session.commit()


def bulk_update(peer: Peer) -> None:
    """Clear the column with a statement."""
    saved(peer)
    with peer.sessions() as session:
        session.execute(update(peer.model).values(file=None))
        session.commit()


def bulk_insert(peer: Peer) -> None:
    """Insert rows with a statement."""
    with peer.sessions() as session:
        session.execute(insert(peer.model), [{"file": peer.new(session, b"1")}])
        session.commit()


def never_added(peer: Peer) -> None:
    """Make an object; do not add it."""
    with peer.sessions() as session:
        peer.model(file=peer.new(session, b"1"))
        session.rollback()


def removal_refused(peer: Peer) -> None:
    """Delete a row while the storage refuses removals."""
    saved(peer)
    peer.break_removal()
    with peer.sessions() as session:
        session.delete(first(peer, session))
        session.commit()


def moved(peer: Peer) -> None:
    """Move a file to another row."""
    saved(peer)
    with peer.sessions() as session:
        row = first(peer, session)
        file = row.file
        row.file = None
        session.flush()
        session.add(peer.model(file=file))
        session.commit()


def expired(peer: Peer) -> None:
    """Replace a value that the session has not loaded."""
    saved(peer)
    with peer.sessions() as session:
        row = first(peer, session)
        session.commit()
        row.file = peer.new(session, b"new")
        session.commit()


def row_switched(peer: Peer) -> None:
    """Replace a row by another one with its key."""
    saved(peer)
    with peer.sessions() as session:
        session.delete(first(peer, session))
        session.add(peer.model(id=1, file=peer.new(session, b"new")))
        session.commit()


def flush_failed(peer: Peer) -> None:
    """Fail at a unique column."""
    saved(peer, title="one")
    with peer.sessions() as session:
        session.add(peer.model(file=peer.new(session, b"new"), title="one"))
        with suppress(Exception):
            session.commit()
        session.rollback()


def replaced_twice(peer: Peer) -> None:
    """Replace a file twice."""
    saved(peer)
    with peer.sessions() as session:
        row = first(peer, session)
        row.file = peer.new(session, b"new")
        session.flush()
        row.file = peer.new(session, b"newer")
        session.commit()


CASES = {
    "SAVEPOINT with a file rolled back; outer commit": savepoint_rolled_back,
    "deletion in a released SAVEPOINT; outer rollback": deletion_released,
    "replacement in a released SAVEPOINT; outer rollback": replacement_released,
    "one file in two rows, one deleted": two_rows,
    "COMMIT done, answer lost": answer_lost,
    "COMMIT of a replacement done, answer lost": answer_of_replacement_lost,
    "flush, then `close()`": closed,
    "bulk `delete()`": bulk_delete,
    "bulk `update()` to NULL": bulk_update,
    "bulk `insert()`": bulk_insert,
    "object made, never added; rollback": never_added,
    "the storage refuses the removal": removal_refused,
    "file moved to another row": moved,
    "value replaced that was not loaded": expired,
    "row deleted, another with its key added": row_switched,
    "flush fails on a unique column; rollback": flush_failed,
    "file replaced twice in a transaction": replaced_twice,
}


def outcome(peer_class: type[Peer], case: Callable[[Peer], None]) -> str:
    """Return what a case leaves."""
    with tempfile.TemporaryDirectory() as directory:
        peer = peer_class(directory)
        refused = ""
        try:
            case(peer)
        except Exception as failure:
            refused = f"raises {type(failure).__name__}"
        with peer.engine.connect() as connection:
            count = connection.scalar(text("SELECT count(*) FROM documents WHERE file IS NOT NULL"))
        rows, stored = {*filter(None, peer.rows())}, peer.stored()
        peer.engine.dispose()
        assert count or not rows
        found = [
            *(["**dangling**"] if rows - stored else []),
            *(["orphan"] if stored - rows else []),
            *([refused] if refused else []),
        ]
        return ", ".join(found) or "right"


def main() -> None:
    """Print the table."""
    peers = (Rex, SqlalchemyFile, Depot)
    versions = [f"{each.name} {importlib.metadata.version(each.name)}" for each in peers[1:]]
    print("| case |", " | ".join((Rex.name, *versions)), "|")
    print("|---|---|---|---|")
    for name, case in CASES.items():
        print(f"| {name} |", " | ".join(outcome(peer, case) for peer in peers), "|")


if __name__ == "__main__":
    main()
