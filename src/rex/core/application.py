"""The application built from packages and settings, and the active application."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from rex.core.error import Error, Kind
from rex.core.package import Package, collect_settings, resolve
from rex.core.secret import Given
from rex.core.setting import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType
    from typing import Self

    from rex.core.setting import Settings

__all__ = ["Rex", "get_rex", "get_settings"]

T = TypeVar("T")

_active: ContextVar[tuple[Rex, ...]] = ContextVar("rex.core.active", default=())


class Rex:
    """An application: packages, their settings, and services.

    ``Rex("rex.attach", attach_dir="/srv/attachments")`` takes packages by name (or as `Package`
    objects) and settings by keyword; it reads neither files nor the environment. The constructor
    adds required packages, validates the settings and runs the start-up checks, requirements
    first: an application that exists is configured correctly.

    The application is active inside ``with rex:``, or between `on()` and `off()`, in this thread or
    asyncio task only; activations nest. Applications are thread-safe.
    """

    packages: tuple[Package, ...]
    """All packages, requirements first."""
    settings: Settings
    """The values of all declared settings."""

    def __init__(self, /, *packages: str | Package, **settings: object) -> None:
        settings = Given(settings)  # hides the values from tracebacks that show variables
        self._asked = [item.name if isinstance(item, Package) else item for item in packages]
        self._services = _Services()
        self.packages = resolve(packages)
        self.settings = validate(collect_settings(self.packages), settings)
        try:
            with self:
                for package in self.packages:
                    self._start(package)
        except BaseException:
            self.close()
            raise

    def _start(self, package: Package) -> None:
        try:
            if package.start is not None:
                package.start(self)
        except Error as error:
            error.wrap("While starting package", package.name)
            raise
        except Exception as error:
            reason = self.settings.mask(f"{type(error).__name__}: {error}")
            raise Error("The start-up check failed", reason, kind=Kind.CONFIGURATION).wrap(
                "While starting package", package.name
            ) from error

    def on(self) -> None:
        """Activate this application in this thread or task until `off()`."""
        _active.set((*_active.get(), self))

    def off(self) -> None:
        """Undo the last `on()`; an `Error` if this application is not the active one."""
        active = _active.get()
        if not active or active[-1] is not self:
            raise Error("off() without a matching on()", self)
        _active.set(active[:-1])

    def __enter__(self) -> Self:
        self.on()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.off()

    def service(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the service with this key; the first call creates it with `make`.

        `make` runs once, with this application active; other threads wait. If `make` raises,
        nothing is stored, and the next call tries again. `make` may request other services; a cycle
        of services is an `Error`. `make` must not wait for a thread that requests a service.
        """
        return self._services.get(key, make, self)

    def close(self) -> None:
        """Close all services that have a `close` method, in reverse order of creation.

        `close` is idempotent. A closed application can be used again and then creates new services.
        """
        self._services.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request with the routes of the packages: a `Rex` is an ASGI application.

        A server with lifespan support does not start if the routes are configured wrongly.
        """
        from rex.core.web import application, refuse_start

        try:
            app = self.service(application, lambda: application(self))
        except Error as error:
            if scope["type"] != "lifespan":
                raise
            app = refuse_start(error)
        await app(scope, receive, send)

    def __repr__(self) -> str:
        arguments = [repr(name) for name in self._asked]
        if hasattr(self, "settings"):  # missing in a traceback from the constructor
            given = self.settings.without_defaults()
            arguments += [f"{name}={value!r}" for name, value in given.items()]
        return f"Rex({', '.join(arguments)})"


class _Services:
    """The services of an application.

    One lock per application, held only during creation. A forked child replaces the lock, because
    the thread that held it in the parent does not exist in the child.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self.unlock()
        _all_services.add(self)

    def unlock(self) -> None:
        self._lock = threading.RLock()
        self._making: list[Hashable] = []

    def get(self, key: Hashable, make: Callable[[], T], rex: Rex) -> T:
        # An existing service is returned without the lock.
        if key in self._made:
            return self._made[key]  # type: ignore[no-any-return]  # the key determines the type
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(key, make, rex)
            return self._made[key]  # type: ignore[no-any-return]  # the same

    def _make(self, key: Hashable, make: Callable[[], T], rex: Rex) -> T:
        making = self._making
        if key in making:
            cycle = " -> ".join(str(step) for step in (*making[making.index(key) :], key))
            raise Error("Services require each other", cycle)
        making.append(key)
        try:
            with rex:
                return make()
        finally:
            making.pop()

    def close(self) -> None:
        # An ExitStack closes in reverse order, and closes all even if one raises.
        with self._lock, contextlib.ExitStack() as closing:
            for service in self._made.values():
                if callable(close := getattr(service, "close", None)):
                    closing.callback(close)
            self._made = {}


_all_services: weakref.WeakSet[_Services] = weakref.WeakSet()


def _after_fork() -> None:
    for services in _all_services:
        services.unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_rex() -> Rex:
    """Return the active application; an `Error` (`CONFIGURATION`) if there is none."""
    if active := _active.get():
        return active[-1]
    raise Error(
        "No application is active in this thread or task; "
        "activate an application using `with rex:` or rex.on()",
        kind=Kind.CONFIGURATION,
        code="not-active",
    )


def get_settings() -> Settings:
    """Return the settings of the active application."""
    return get_rex().settings
