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
_installed: list[Rex] = []
"""The application of the process, or nothing."""


class Rex:
    """An application: packages, their settings, and services.

    ``Rex("rex.attach", attach_dir="/srv/attachments")`` takes packages by name (or as `Package`
    objects) and settings by keyword; only `from_environment` reads files and the environment. The
    constructor adds required packages, validates the settings and runs the start-up checks,
    requirements first: an application that exists is configured correctly.

    The application is active inside ``with rex:``, or between `on()` and `off()`, in this thread or
    asyncio task only; activations nest. `install()` makes it the application of all other threads
    and tasks of the process: a web server runs requests in its own. Applications are thread-safe.
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

    @staticmethod
    def from_environment(*packages: str | Package, **settings: object) -> Rex:
        """Create the application that the command `rex` creates in this place.

        A setting comes from the first of: `settings`, the environment variable with its name in
        upper case, the table ``[settings]`` of `rex.toml` in the current directory. The packages
        are those given and those in `rex.toml`.

        Errors: `CONFIGURATION`, naming the source of a wrong value.
        """
        from rex.core.configuration import Configuration  # slow, and imports this module

        return Configuration(Given(settings)).rex(*packages)

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

    def install(self) -> None:
        """Make this application the one that `get_rex` returns wherever none is active.

        It holds for all threads and tasks of this process, and of processes forked from it, until
        `uninstall()`. Installing an application twice has no effect. Errors: `CONFIGURATION` if
        another application is installed.
        """
        if _installed and _installed[0] is not self:
            raise Error(
                "Another application is installed; uninstall it, or use RexMiddleware",
                _installed[0],
                kind=Kind.CONFIGURATION,
                code="two-installed",
            )
        _installed[:] = [self]

    def uninstall(self) -> None:
        """Undo `install()`; no effect if this application is not installed."""
        if self in _installed:
            _installed.clear()

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

    async def __aenter__(self) -> Self:
        """Activate this application in this task; for the lifespan of a web application."""
        self.on()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the services, which ``with rex:`` does not, and deactivate this application."""
        try:
            self.close()
        finally:
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

        A server with lifespan support does not start if the routes are configured wrongly, and
        closes the application at its end. Starlette and FastAPI run no lifespan of what they mount:
        there, use ``async with rex:`` in the lifespan of the host.
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
    """Return the active application, or else the installed one.

    Errors: `CONFIGURATION` if there is neither.
    """
    if active := _active.get() or _installed:
        return active[-1]
    raise Error(
        "No application is active in this thread or task, and none is installed; "
        "activate an application using `with rex:`, or install it using rex.install()",
        kind=Kind.CONFIGURATION,
        code="not-active",
    )


def get_settings() -> Settings:
    """Return the settings of the application that `get_rex` returns."""
    return get_rex().settings
