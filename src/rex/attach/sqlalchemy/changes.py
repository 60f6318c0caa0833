"""What the transactions of sessions do to attachments.

Each transaction of a session, root or savepoint, has its `Changes`. RELEASE gives them to the
parent; the end of the root decides (`rex.attach.sqlalchemy.session`).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, MetaData
    from sqlalchemy.orm import Session, SessionTransaction

    from rex.attach.storage import Storage

__all__ = ["Changes", "Tracker", "changes_of", "current_changes", "root_of", "track", "watch"]


@dataclass(eq=False, slots=True, weakref_slot=True)
class Tracker:
    """What the sessions of one factory share."""

    storage: Storage
    metadatas: weakref.WeakSet[MetaData] = field(default_factory=weakref.WeakSet)
    """The metadata of all models with attachments that the sessions changed so far."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Changes:
    """The changes of one transaction; the last four fields are the root's."""

    tracker: Tracker
    added: set[str] = field(default_factory=set)
    """Attachments that were stored, to be removed if the transaction is rolled back."""
    obsolete: set[str] = field(default_factory=set)
    """Attachments of deleted and replaced values, to be removed if the root is committed."""
    is_committed: bool = False
    """Whether COMMIT or RELEASE succeeded."""
    is_sent: bool = False
    """Whether COMMIT or PREPARE was sent to a database."""
    rolled_back: set[str] = field(default_factory=set)
    """Attachments that were stored in savepoints which were rolled back."""
    translate_map: Mapping[Any, Any] | None = None
    """The names of schemas of the first connection, if they are translated."""

    def release(self, nested: Changes) -> None:
        """Take over the changes of a savepoint."""
        self.added |= nested.added
        self.obsolete |= nested.obsolete

    def replace(self, handles: Iterable[str | None], metadata: MetaData) -> None:
        """Record handles that rows no longer refer to, or might not."""
        self.tracker.metadatas.add(metadata)
        self.obsolete.update(handle for handle in handles if handle is not None)

    @property
    def is_undecided(self) -> bool:
        """Whether COMMIT was sent, and its response is missing: the outcome is unknown."""
        return self.is_sent and not self.is_committed

    @property
    def all(self) -> set[str]:
        """All attachments that the root concerns."""
        return self.added | self.obsolete | self.rolled_back

    @property
    def due(self) -> set[str]:
        """The attachments to remove at the end of the root, unless a row refers to them.

        A commit without COMMIT is not final: the session joined the transaction of its connection.
        """
        if not self.is_committed:
            return self.added | self.rolled_back
        return self.rolled_back | (self.obsolete if self.is_sent else set())


_changes: weakref.WeakKeyDictionary[SessionTransaction, Changes] = weakref.WeakKeyDictionary()
_roots: weakref.WeakKeyDictionary[Connection, weakref.WeakSet[Changes]]
_roots = weakref.WeakKeyDictionary()


def track(transaction: SessionTransaction, tracker: Tracker) -> None:
    """Begin to record the changes of a transaction."""
    _changes[transaction] = Changes(tracker)


def changes_of(transaction: SessionTransaction) -> Changes | None:
    """Return the changes of a transaction; None unless its session is attached."""
    return _changes.get(transaction)


def current_changes(session: Session) -> Changes | None:
    """Return the changes of the innermost savepoint, or of the root."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    return None if transaction is None else _changes.get(transaction)


def root_of(transaction: SessionTransaction) -> SessionTransaction:
    """Return the outermost transaction."""
    while transaction.parent is not None:
        transaction = transaction.parent
    return transaction


def watch(connection: Connection, root: Changes) -> None:
    """Note in `root` when COMMIT is sent on the connection."""
    _roots.setdefault(connection, weakref.WeakSet()).add(root)
    if root.translate_map is None:
        root.translate_map = connection.get_execution_options().get("schema_translate_map")


@event.listens_for(Engine, "commit")
def _send_commit(connection: Connection) -> None:
    for root in _roots.get(connection, ()):
        root.is_sent = True


@event.listens_for(Engine, "prepare_twophase")
def _send_prepare(connection: Connection, _: object) -> None:
    _send_commit(connection)


@event.listens_for(Engine, "commit_twophase")
def _send_commit_twophase(connection: Connection, _: object, __: object) -> None:
    _send_commit(connection)
