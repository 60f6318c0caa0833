"""granian for `rex serve`, with all limits set explicitly (docs/how-to/operations.md, Limits)."""

from __future__ import annotations

import ctypes
import resource
import signal
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rex.core.configuration import Configuration
from rex.core.error import Error, Kind
from rex.core.log import configuration as log_configuration
from rex.core.log import get_logger
from rex.core.package import find_installed, load

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from rex.core.application import Rex
    from rex.core.forwarded import TrustedProxies

__all__ = ["CONNECTIONS", "IDLE_SECONDS", "Loader", "check_packages", "run_server"]

CONNECTIONS = 1024
"""Default maximum number of connections per worker."""
IDLE_SECONDS = 15
"""Default timeout for the head of a request."""
MAX_HEAD_BYTES = 128 * 1024
"""Maximum size of a request head, and of a chunk read from a body."""
WAITING_CONNECTIONS = 1024
"""Backlog of the kernel for connections over a worker's maximum."""
KILL_SECONDS = 30
"""Time for a worker to finish its responses when the server stops."""
FILES_PER_CONNECTION = 4
"""A socket, a file, and one or two connections to the storage's server."""

MAX_PAUSE_SECONDS = 30

TRIM_SECONDS = 10
"""Interval for returning freed memory to the system."""
MALLOC_ARENA_MAX = -8
"""The number of this parameter of glibc (malloc.h)."""

log = get_logger("rex.serve")


def run_server(
    loader: Loader,
    *,
    address: str,
    port: int,
    unix: tuple[str, int] | None = None,
    workers: int,
    connections: int,
    idle_seconds: float,
    log_level: str,
    log_format: str,
    tls: tuple[str, str] | None,
) -> None:
    """Serve the loader's application until a signal; `tls` is the paths of certificate and key.

    `unix`, the path and mode of a Unix socket, replaces the address and the port.

    Only HTTP/1.1: granian does not limit the idle time of HTTP/2 connections, nor, when it serves
    both versions, the time until the first byte.

    Errors: `INTERNAL` if workers exit right after their start.
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    # granian has raised the soft limit to the hard limit.
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if open_files == resource.RLIM_INFINITY:
        open_files = connections * FILES_PER_CONNECTION
    server = Granian(
        "rex",
        address=address,
        port=port,
        uds=None if unix is None else Path(unix[0]),
        uds_permissions=None if unix is None else unix[1],
        interface=Interfaces.ASGI,
        workers=workers,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_SECONDS,
        http=HTTPModes.http1,
        websockets=False,
        backlog=WAITING_CONNECTIONS,
        backpressure=min(connections, max(1, open_files // FILES_PER_CONNECTION)),
        http1_settings=HTTP1Settings(
            header_read_timeout=int(idle_seconds * 1000), max_buffer_size=MAX_HEAD_BYTES
        ),
        log_level=LogLevels(log_level),
        log_dictconfig=log_configuration(log_level, log_format, access_log=loader.access_log),
        ssl_cert=None if tls is None else Path(tls[0]),
        ssl_key=None if tls is None else Path(tls[1]),
    )
    try:
        server.serve(target_loader=loader, wrap_loader=False)
    except SystemExit as ended:
        if ended.code:
            raise Error("The workers exit right after their start") from None


def check_packages() -> None:
    """Check that the packages of the server are installed. Errors: `CONFIGURATION`."""
    missing = [name for name in ("granian", "starlette") if find_spec(name) is None]
    if missing:
        raise Error(
            "Serving needs more packages: pip install 'rex-attach[web]'",
            ", ".join(missing),
            kind=Kind.CONFIGURATION,
            code="missing-package",
        )


class Loader:
    """Factory of each worker's application, from the arguments of the command."""

    def __init__(
        self,
        overrides: tuple[str, ...],
        config: str | None,
        *,
        access_log: bool,
        metrics: bool,
        trusted: TrustedProxies,
        root_path: str,
    ) -> None:
        self._overrides = overrides
        self._config = config
        self.access_log = access_log
        self._metrics = metrics
        self._trusted = trusted
        self._root_path = root_path

    def check(self, configuration: Configuration) -> list[str]:
        """Create the application as a worker does, to raise an `Error` in its configuration.

        Returns the notes of its packages.
        """
        from rex.core.web import application

        rex = _application(configuration)
        try:
            _check_root(self._root_path, rex)
            rex.service(application, lambda: application(rex))
            noting = [package.notes for package in rex.packages if package.notes]
            return [note for notes in noting for note in notes(rex.settings)]
        finally:
            rex.close()

    def __call__(self, *_: object) -> ASGIApp:
        """Create the application of this worker; retry until that succeeds."""
        with suppress(ValueError):  # not in the main thread
            # Signals end a worker that is retrying; granian sets its own handlers afterwards.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        _return_memory()
        rex = self._patiently()
        app: ASGIApp = rex
        if self.access_log:
            from rex.core.web import AccessLog

            app = AccessLog(app)
        if self._metrics:
            from rex.core.metrics import Measured

            app = Measured(app, rex)
        if self._trusted or self._root_path:
            from rex.core.forwarded import Forwarded

            app = Forwarded(app, self._trusted, self._root_path)
        return app

    def _patiently(self) -> Rex:
        """Create the application; retry after each failure, with growing pauses.

        `check` succeeded when the server started, so a failure is most likely temporary, such as a
        storage that restarts.
        """
        pause = 1
        while True:
            configuration = Configuration(self._overrides, self._config)
            try:
                return _application(configuration)
            except Error as error:
                reason = configuration.mask(" ".join(str(error).split()))
                log.warning("A worker cannot start; retrying in %d s: %s", pause, reason)
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)


def _application(configuration: Configuration) -> Rex:
    return configuration.rex(*(configuration.packages or _with_routes()))


def _check_root(root_path: str, rex: Rex) -> None:
    """Check that no path of the application begins with the root path.

    Otherwise it would be unclear whether a proxy has removed the root path from a path.
    """
    from rex.core.web import HEALTH, path_of

    first = f"/{root_path[1:].partition('/')[0]}"
    if root_path and first in (HEALTH, "/metrics", *(path_of(each) for each in rex.packages)):
        raise Error(
            "The root path is that in front of the application's own paths (option --root-path)",
            f"{first} is one of these: the application would be at {root_path}{first}",
            kind=Kind.CONFIGURATION,
        )


def _return_memory() -> None:
    """Periodically return memory to the system that glibc retains after a burst of uploads.

    Free memory lies between used memory, in many arenas (malloc_trim(3)), and at the end of each,
    where malloc_trim leaves up to 16 MiB in all arenas but the first: so there are only two. Lower
    thresholds (mallopt(3)) also help, but double the CPU time of downloads. Only glibc has
    malloc_trim.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        trim = library.malloc_trim
        library.mallopt(MALLOC_ARENA_MAX, 2)

        def repeat() -> None:
            while True:
                time.sleep(TRIM_SECONDS)
                trim(0)

        threading.Thread(target=repeat, name="rex.trim", daemon=True).start()


def _with_routes() -> list[str]:
    packages = {name: load(name) for name in find_installed()}
    return [
        name
        for name, package in packages.items()
        if package.routes is not None and not package.is_example
    ]
