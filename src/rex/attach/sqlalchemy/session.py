"""Sessions that remove attachments together with the rows that refer to them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from rex.attach.handle import parse_handle
from rex.attach.sqlalchemy.changes import (
    Changes,
    Tracker,
    changes_of,
    current_changes,
    root_of,
    track,
    watch,
)
from rex.attach.sqlalchemy.flushes import record_bulk
from rex.attach.sqlalchemy.removal import remove_unreferenced, report_undecided
from rex.attach.sqlalchemy.targets import session_of, target_of
from rex.core import Error, Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import SessionTransaction, scoped_session

    from rex.attach.content.content import ContentSource
    from rex.attach.sqlalchemy.targets import AnySession, Sessions
    from rex.attach.storage import Storage
    from rex.attach.storage.hooks import UploadRequest

__all__ = ["add", "adopt", "attach", "begin", "record"]

_trackers: weakref.WeakKeyDictionary[object, Tracker] = weakref.WeakKeyDictionary()


def attach(sessions: Sessions, storage: Storage) -> None:
    """Attach sessions to a storage, whose attachments then live and end with their rows.

    `sessions` is a `sessionmaker`, an `async_sessionmaker`, a `scoped_session` (as `db.session` of
    Flask-SQLAlchemy), a subclass of `Session`, or one session that is not in a transaction. Call
    this function once, before the first session is made.

    After a rollback, the attachments that `add` stored in the transaction are removed. After a
    commit, those are removed whose rows were deleted, or refer to other attachments now. A row that
    still refers to an attachment keeps it. If the outcome of a commit is unknown, nothing is
    removed. A removal that fails raises nothing: it is logged, and `rex attach sweep` removes the
    attachment later.

    Errors: `CONFIGURATION` if the sessions are attached to another storage, or in a transaction.
    """
    target = target_of(sessions)
    tracker = _tracker(target)
    if tracker is not None:
        if tracker.storage is not storage:
            reason = "The sessions are attached to another storage already"
            raise Error(reason, tracker.storage, kind=Kind.CONFIGURATION)
        return
    if isinstance(target, Session) and target.in_transaction():
        reason = "A session must be attached to its storage before its transaction begins"
        raise Error(reason, storage, kind=Kind.CONFIGURATION)
    _listen(target, Tracker(storage))


def add(
    session: Session | scoped_session[Any],
    name: str | UploadRequest | None,
    content: ContentSource,
    *,
    content_type: str | None = None,
    digest: str | None = None,
    owner: object = None,
    notify: bool = True,
) -> str:
    """Store an attachment, to be removed if the transaction is rolled back; return its handle.

    The arguments and errors are those of `Storage.add`. If the session is not in a transaction,
    one begins, as by `Session.add`, without a query. If it is in one, the database waits for the
    upload: store a large attachment before with `Storage.add`, and then call `adopt`.

    An attachment that no row refers to when the transaction is committed is left to sweep.

    Errors: `CONFIGURATION` if the session is not attached.
    """
    tracker = begin(session)
    handle = tracker.storage.add(
        name, content, content_type=content_type, digest=digest, owner=owner, notify=notify
    )
    record(session, handle)
    return handle


def adopt(session: AnySession, handle: str) -> str:
    """Remove a stored attachment if the transaction is rolled back; return its handle.

    The attachment must be new: no row refers to it, and no client needs it if the transaction
    fails. This function makes no request and no query. Errors: `ILL_FORMED`; `CONFIGURATION` if the
    session is not attached.
    """
    parse_handle(handle)
    begin(session)
    record(session, handle)
    return handle


def begin(session: AnySession) -> Tracker:
    """Begin a transaction unless the session is in one. Errors: `CONFIGURATION`."""
    own = session_of(session)
    tracker = _tracker(own)
    if tracker is None:
        reason = "The session has no storage; call attach(sessionmaker, storage) first"
        raise Error(reason, type(own).__name__, kind=Kind.CONFIGURATION)
    if not own.in_transaction():
        if not own.autobegin:
            reason = "The session has autobegin=False; call session.begin() first"
            raise Error(reason, type(own).__name__, kind=Kind.CONFIGURATION)
        own.begin()
    return tracker


def record(session: AnySession, handle: str) -> None:
    """Record a stored attachment in the current transaction."""
    begin(session)
    changes = current_changes(session_of(session))
    assert changes is not None  # noqa: S101 - `begin` has begun it
    changes.added.add(handle)


def _tracker(target: Any) -> Tracker | None:
    """Return what was attached to a session, its class or a base of the class."""
    classes = target.__mro__ if isinstance(target, type) else (target, *type(target).__mro__)
    return next((_trackers[each] for each in classes if each in _trackers), None)


def _listen(target: Any, tracker: Tracker) -> None:
    def created(_: Session, transaction: SessionTransaction) -> None:
        if transaction.nested or transaction.parent is None:
            track(transaction, tracker)

    event.listen(target, "after_transaction_create", created)
    event.listen(target, "after_begin", _after_begin)
    event.listen(target, "after_commit", _after_commit)
    event.listen(target, "after_transaction_end", _after_transaction_end)
    event.listen(target, "do_orm_execute", record_bulk)
    _trackers[target] = tracker


def _after_begin(_: Session, transaction: SessionTransaction, connection: Connection) -> None:
    root = changes_of(root_of(transaction))
    if root is not None:
        watch(connection, root)


def _after_commit(session: Session) -> None:
    """Note a COMMIT or RELEASE that succeeded; SQLAlchemy calls this for both."""
    changes = current_changes(session)
    if changes is not None:
        changes.is_committed = True


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    """Decide on the changes of a transaction; called for each end, also by `Session.close`."""
    changes = changes_of(transaction)
    if changes is None:
        return
    if transaction.nested and transaction.parent is not None:
        _end_nested(changes, transaction.parent)
    else:
        _end_root(session, changes)


def _end_nested(changes: Changes, parent: SessionTransaction) -> None:
    """Pass the changes of a savepoint to its parent, or what it stored to the root.

    The end of the root removes the latter: not within a transaction, and not if the outcome of
    COMMIT is unknown.
    """
    while not (parent.nested or parent.parent is None):
        parent = parent.parent
    outer, root = changes_of(parent), changes_of(root_of(parent))
    if outer is None or root is None:
        return
    if changes.is_committed:
        outer.release(changes)
    else:
        root.rolled_back |= changes.added


def _end_root(session: Session, changes: Changes) -> None:
    if changes.is_undecided:
        report_undecided(changes.all)
    elif due := changes.due:
        remove_unreferenced(session, changes.tracker, due, changes.translate_map)
