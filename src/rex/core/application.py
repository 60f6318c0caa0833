"""Packages and settings become a running application; and which one is active here."""

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
    """An application: packages, the settings they declare, and services made from those.

    ``Rex("rex.attach", attach_dir="/srv/attachments")`` takes packages by name (or as `Package`
    objects) and settings by keyword; it looks at nothing else, neither files nor the
    environment. It brings in what the packages require, checks the settings, and runs the
    start-up checks, what is required first: an application that exists is configured rightly.

    It is active inside ``with rex:``, or between `on()` and `off()`, for this thread or asyncio
    task only; activations nest. Any number of threads may use one application at once.
    """

    packages: tuple[Package, ...]
    """All packages, what is required first."""
    settings: Settings
    """The values of all settings that the packages declare."""

    def __init__(self, /, *packages: str | Package, **settings: object) -> None:
        settings = Given(settings)  # from here on, a traceback that shows variables shows none
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
        """Make this the active application here, until `off()`."""
        _active.set((*_active.get(), self))

    def off(self) -> None:
        """End what the last `on()` began; an `Error` if this is not the active application."""
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
        """Return the application's one service under this key, made by `make` on the first call.

        However many threads ask, `make` runs once, with this application active; the others
        wait. If it raises, nothing is kept and the next caller tries again. It may ask for other
        services; services that need each other are an `Error`. It must not wait for another
        thread that asks for a service.
        """
        return self._services.get(key, make, self)

    def close(self) -> None:
        """Close every service that has a `close` method, the last one made first, and forget all.

        Closing twice does nothing more. A closed application can be used again: it makes its
        services anew.
        """
        self._services.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request over HTTP, with the routes of the packages: a `Rex` is ASGI itself.

        A server that asks first (lifespan) does not start where the routes are configured wrongly.
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
        if hasattr(self, "settings"):  # not yet, in a traceback out of the constructor
            given = self.settings.without_defaults()
            arguments += [f"{name}={value!r}" for name, value in given.items()]
        return f"Rex({', '.join(arguments)})"


class _Services:
    """What an application has made so far.

    One lock per application, held only while something is made. It is replaced in a forked
    child: the thread that held it in the parent does not exist there.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self.unlock()
        _all_services.add(self)

    def unlock(self) -> None:
        self._lock = threading.RLock()
        self._making: list[Hashable] = []

    def get(self, key: Hashable, make: Callable[[], T], rex: Rex) -> T:
        # A service that is there is found without the lock.
        if key in self._made:
            return self._made[key]  # type: ignore[no-any-return]  # the key stands for its type
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(key, make, rex)
            return self._made[key]  # type: ignore[no-any-return]  # the same

    def _make(self, key: Hashable, make: Callable[[], T], rex: Rex) -> T:
        making = self._making
        if key in making:
            cycle = " -> ".join(str(step) for step in (*making[making.index(key) :], key))
            raise Error("Services need each other", cycle)
        making.append(key)
        try:
            with rex:
                return make()
        finally:
            making.pop()

    def close(self) -> None:
        # An ExitStack closes in reverse order, and all of them even if one raises.
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
    """Return the application that is active here; an `Error` (`CONFIGURATION`) if none is."""
    if active := _active.get():
        return active[-1]
    raise Error(
        "No application is active here; activate one with `with rex:`, "
        "or with rex.on(), in this thread or task",
        kind=Kind.CONFIGURATION,
        code="not-active",
    )


def get_settings() -> Settings:
    """Return the settings of the active application."""
    return get_rex().settings
