"""Faults of a history: one call of the database or the storage fails, is lost, or never returns."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rex.core import Error, Kind

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy import Engine

    from rex.attach import Storage

__all__ = ["Calls", "Fault"]

LOST = "the connection is lost"


@dataclass(frozen=True)
class Fault:
    """What happens at one call of a history."""

    number: int
    """Which call, from 0."""
    after: bool
    """Whether the call has taken place before."""
    what: str
    """``fail``, ``lose`` the connection, ``kill`` the process, or ``cancel`` the task."""


class Calls:
    """Counts the calls of an engine and of a storage, and makes one of them fail."""

    def __init__(self) -> None:
        self.begin(None)
        self.task: asyncio.Task[Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def begin(self, fault: Fault | None) -> None:
        """Begin to count the calls of a history."""
        self.count = 0
        self.fault = fault
        self.hit = ""
        """The call that the fault hit."""

    def watch_engine(self, engine: Engine) -> None:
        """Count each statement, COMMIT and ROLLBACK."""
        dialect: Any = engine.dialect

        def lose(failure: BaseException, connection: Any, cursor: Any) -> bool:
            return LOST in str(failure) or type(dialect).is_disconnect(
                dialect, failure, connection, cursor
            )

        def fail(what: str) -> Exception:
            failure: Exception = dialect.dbapi.OperationalError(
                LOST if what == "lose" else "injected"
            )
            return failure

        dialect.is_disconnect = lose
        for name in ("do_execute", "do_executemany", "do_commit", "do_rollback"):
            setattr(dialect, name, self._counted(name, getattr(dialect, name), fail))

    def watch_storage(self, storage: Storage) -> None:
        """Count what is stored and removed."""

        def fail(_: str) -> Exception:
            return Error("injected", kind=Kind.UNAVAILABLE)

        own: Any = storage
        for name in ("_put_new", "_delete"):
            setattr(own, name, self._counted(name, getattr(own, name), fail))

    def _counted(
        self, name: str, call: Callable[..., Any], fail: Callable[[str], Exception]
    ) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            fault = self.fault
            is_hit = fault is not None and self.count == fault.number
            self.count += 1
            if not is_hit or fault is None:
                return call(*args, **kwargs)
            self.hit = f"{'after' if fault.after else 'before'} {name} {args[1:2]}"
            result = call(*args, **kwargs) if fault.after else None
            if fault.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault.what != "cancel":
                raise fail(fault.what)
            self._cancel()
            return result if fault.after else call(*args, **kwargs)

        return counted

    def _cancel(self) -> None:
        if self.loop is not None and self.task is not None:
            self.loop.call_soon_threadsafe(self.task.cancel)
