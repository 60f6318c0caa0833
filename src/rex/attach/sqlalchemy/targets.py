"""The sessions and factories of sessions that an application gives us, and the one to listen to.

Asynchronous sessions need greenlet, which SQLAlchemy does not: nothing here imports them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.orm import Session, scoped_session, sessionmaker

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker

__all__ = ["AnySession", "Sessions", "asynchronous", "session_of", "target_of"]

AnySession: TypeAlias = (
    "Session | scoped_session[Any] | AsyncSession | async_scoped_session[AsyncSession]"
)
"""A session, or the proxy of one."""

Sessions: TypeAlias = "AnySession | type[Session] | sessionmaker[Any] | async_sessionmaker[Any]"
"""What makes sessions, or is one."""


def asynchronous() -> ModuleType | None:
    """Return the module of asynchronous sessions if the application uses it."""
    return sys.modules.get("sqlalchemy.ext.asyncio")


def session_of(session: AnySession) -> Session:
    """Return the session behind proxies."""
    given: Any = session
    module = asynchronous()
    if isinstance(given, scoped_session) or (module and _is(given, module, "async_scoped_session")):
        given = given()
    inner: Session = given.sync_session if module and _is(given, module, "AsyncSession") else given
    return inner


def target_of(sessions: Sessions) -> type[Session] | Session:
    """Return the class or session to listen to.

    A `sessionmaker` has a class of its own. An `async_sessionmaker` gets one.
    """
    given: Any = sessions
    module = asynchronous()
    if isinstance(given, scoped_session) or (module and _is(given, module, "async_scoped_session")):
        return target_of(given.session_factory)
    if module and _is(given, module, "async_sessionmaker"):
        return _own_class(given)
    target: type[Session] | Session = (
        given.class_ if isinstance(given, sessionmaker) else session_of(given)
    )
    return target


def _is(given: object, module: ModuleType, name: str) -> bool:
    return isinstance(given, getattr(module, name))


def _own_class(sessions: async_sessionmaker[Any]) -> type[Session]:
    """Return the class of the sessions inside of asynchronous sessions, the factory's own."""
    used: Any = sessions.kw.get("sync_session_class") or sessions.class_.sync_session_class
    if isinstance(used, sessionmaker):
        target: type[Session] = used.class_
        return target
    if "_rex_factory" not in vars(used):
        used = type(used.__name__, (used,), {"_rex_factory": True})
        sessions.configure(sync_session_class=used)
    own: type[Session] = used
    return own
