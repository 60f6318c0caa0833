"""Attachments of an application on FastAPI: its routes, and dependencies for its endpoints."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Awaitable, Callable, Sequence  # noqa: TC003 - resolved at run time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, params

from rex.attach.fastapi.dependencies import Dependencies, Rule
from rex.attach.fastapi.form import Files, receive_files
from rex.attach.fastapi.routes import add_routes
from rex.attach.opening import open_storage, package
from rex.attach.settings import EVENTS_KEY, HOSTS, REDIRECT, STALL, comma_separated, cors_origins
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.access import owner_of_user
from rex.attach.web.app import Options, attachments
from rex.attach.web.errors import answer_failure
from rex.attach.web.routes import SECTIONS
from rex.attach.web.section import Service
from rex.attach.web.timeouts import CutsStalled
from rex.core import Error, Kind, Secret
from rex.core.configuration import Configuration
from rex.core.staged_close import StagedClose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["Attachments"]

_PREFIX = re.compile(r"(?:/[^/]+)+")


class Attachments:
    """Attachments in an application on FastAPI.

    `app` gets the service's routes below `prefix`, a lifespan that checks the storage, and
    what `install` adds. Without `app`, include `router` and call `install`.

    `user` is a dependency: a function whose parameters FastAPI resolves, or ``Depends(function)``;
    without it, the user in the ASGI scope counts. `rule` decides who may use the routes; without
    it, each user reaches the files that this user uploaded (`rex.attach.web.owners_only`). It is
    called as in `rex.attach.web.Access`; if FastAPI resolves some of its parameters
    (``Depends(…)``), the others are passed by name: `user`, `action`, `handle` and `request`. A
    parameter `user` with ``Depends`` gives the user as well.

    `origins` are other sites whose pages may upload and remove; `hosts` are the host names that
    clients may use; with `redirect`, a download is redirected to a download link; a client that
    stalls for `stall_seconds` is disconnected; `events_key` authenticates the event notifications
    of an S3 server.

    Errors: `CONFIGURATION` for a wrong argument.
    """

    def __init__(
        self,
        app: FastAPI | None,
        storage: Storage,
        rule: Rule | None = None,
        *,
        user: Callable[..., Any] | params.Depends | None = None,
        prefix: str = "/attach",
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
        redirect: bool = False,
        stall_seconds: float = 30,
        events_key: str | None = None,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise Error(
                "The prefix of attachments must begin with a slash and must not end with one",
                prefix,
                kind=Kind.CONFIGURATION,
                code="wrong-setting",
            )
        self._storage = storage
        self._closes = False
        self._options = Options(
            redirect=redirect,
            stall_seconds=stall_seconds,
            events_key=None if events_key is None else Secret(events_key),
        )
        self._dependencies = Dependencies(self.storage, rule, user)
        self._access = self._dependencies.access(origins, hosts)
        self._service = functools.lru_cache(maxsize=8)(self._make_service)
        self.router = APIRouter(prefix=prefix, tags=["attachments"], lifespan=self._lifespan)
        """The routes, for an application or a router that includes them with dependencies."""
        existing = Service(storage, self._access, self._options, SECTIONS).routes
        add_routes(self.router, existing, self._dependencies, self._service)
        if app is not None:
            self.install(app)
            app.include_router(self.router)

    @classmethod
    def from_environment(
        cls,
        app: FastAPI | None,
        rule: Rule | None = None,
        *,
        user: Callable[..., Any] | params.Depends | None = None,
        prefix: str = "/attach",
        **options: Any,
    ) -> Attachments:
        """Create attachments as the environment (``ATTACH_*``) and `rex.toml` describe.

        They give the storage, and of the service attach_origins, attach_hosts, attach_redirect,
        attach_stall_timeout and attach_events_key. `options` are those of `open_storage()`, such
        as `on_stored`. Who may do what is decided here: attach_access, attach_access_keys and
        attach_user are not used. The storage is closed when the application ends.

        Errors: `CONFIGURATION`.
        """
        settings = Configuration({}).settings(package.name)
        key = settings[EVENTS_KEY]
        found = cls(
            app,
            open_storage(**options),
            rule,
            user=user,
            prefix=prefix,
            origins=cors_origins(settings),
            hosts=comma_separated(settings[HOSTS]),
            redirect=settings[REDIRECT],
            stall_seconds=settings[STALL],
            events_key=None if key is None else key.reveal(),
        )
        found._closes = True
        return found

    def install(self, app: FastAPI) -> None:
        """Add what concerns the whole application, once; the constructor does so for `app`.

        A handler for `rex.core.Error`, unless the application has one; `StagedClose`, so that a
        client reads why its upload is refused; `CutsStalled`, so that the kernel disconnects
        clients that receive nothing.
        """
        app.exception_handlers.setdefault(Error, self._answer)
        known: list[Any] = [each.cls for each in app.user_middleware]
        if StagedClose not in known:
            app.add_middleware(StagedClose)
            app.add_middleware(CutsStalled, self._options.stall_seconds)

    async def storage(self) -> Storage:
        """Return the storage: ``Annotated[Storage, Depends(attachments.storage)]``.

        An override in ``app.dependency_overrides`` counts for all routes.
        """
        return self._storage

    def upload(self, *, max_size: int | None = None) -> Callable[..., Awaitable[Files]]:
        """Return a dependency that stores the files of a form while they arrive.

        ``Annotated[list[Info], Depends(attachments.upload(max_size=…))]``: at least one file, each
        of at most `max_size` bytes, without temporary files; all are stored, or none. The form has
        at most 100 files; `Files.fields` are its other fields. The body may also be the bytes of
        one file, named by the query parameter ``name``. `user` is the owner. The access rule is
        not checked.

        The dependencies of the endpoint that are declared before it run before it. FastAPI checks
        the endpoint's other parameters, and runs the endpoint, after the files are stored.

        Errors: those of `rex.attach.web.upload`.
        """

        async def uploaded(request: Request, storage: Storage, **values: Any) -> Files:
            user = values["user"] if values else request.scope.get("user")
            return await receive_files(
                request,
                storage,
                max_size=max_size,
                stall_seconds=self._options.stall_seconds,
                owner=owner_of_user(user),
            )

        self._dependencies.declare(uploaded, "user")
        return uploaded

    def _make_service(self, storage: Storage) -> ASGIApp:
        return attachments(storage, self._access, self._options)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        if self.storage not in app.dependency_overrides:
            self._storage.hooks.check()
            await self._storage.aio.check()
        try:
            yield
        finally:
            if self._closes:
                await self._storage.aio.close()

    async def _answer(self, request: Request, failure: Exception) -> Response:
        return await answer_failure(request, failure, self._access)
