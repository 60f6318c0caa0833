"""Applications of several frameworks that mount the service at /attach, for `test_hosts.py`.

The examples of `docs/http.md` make those of Django and Flask. They keep attachments where the
environment variable HOST_STORAGE says; the user is the one whom the header ``X-User`` names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rex.attach import open_storage
from rex.attach.web import Access, attachments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from rex.attach.web.access import Action


def rule(user: Any, _: Action, __: str | None) -> bool:
    """Let those pass who are somebody."""
    return user is not None and bool(user.is_authenticated)


def rule_of_django(user: Any, action: Action, handle: str | None) -> bool:
    """Ask the database as well, which Django does not permit in an event loop."""
    from django.contrib.auth.models import Group

    return rule(user, action, handle) and Group.objects.filter(pk=user.pk).exists()


def example(word: str) -> str:
    """Return the example of the page with this word."""
    page = Path(__file__).parents[3] / "docs/http.md"
    examples: list[str] = re.findall(
        r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
    )
    (found,) = [each for each in examples if word in each]
    return found


def service(access: Callable[..., bool] = rule) -> ASGIApp:
    """Make what the hosts mount."""
    return attachments(open_storage(os.environ["HOST_STORAGE"]), Access(access))


def fastapi_app() -> ASGIApp:
    """FastAPI, with a middleware that authenticates and one that wraps every answer."""
    from fastapi import FastAPI
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
    from starlette.middleware.authentication import AuthenticationMiddleware

    class Backend(AuthenticationBackend):
        async def authenticate(
            self, conn: HTTPConnection
        ) -> tuple[AuthCredentials, SimpleUser] | None:
            name = conn.headers.get("x-user")
            return (AuthCredentials(), SimpleUser(name)) if name else None

    app = FastAPI()

    @app.middleware("http")
    async def stamp(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await call_next(request)
        answer.headers["X-Host"] = "fastapi"
        return answer

    app.add_middleware(AuthenticationMiddleware, backend=Backend())
    app.mount("/attach", service())
    return app


def django_app() -> ASGIApp:
    """Django's own ASGI application, but for what is below /attach."""
    import django
    from django.conf import settings
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["*"],
        AUTHENTICATION_BACKENDS=["host_apps.DjangoBackend"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "host.sqlite3"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("login", django_login)]}),
        SECRET_KEY="of a test",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )
    django.setup()
    django_group()
    documented: dict[str, Any] = {"service": service(rule_of_django)}
    exec(example("aget_user"), documented)  # noqa: S102 - our own page
    app: ASGIApp = documented["application"]
    return app


def django_group() -> None:
    """Make a database with one group, whose number is that of the user."""
    from django.contrib.auth.models import Group
    from django.db import connection

    with connection.schema_editor() as editor:
        editor.create_model(Group)
    Group.objects.create(pk=1, name="those who may")
    connection.close()


class DjangoBackend:
    """Knows one user, without a database."""

    async def aget_user(self, number: int) -> Any:
        """Give the user."""
        return SimpleNamespace(pk=number, is_authenticated=True)


def django_login(request: Any) -> Any:
    """Begin the session of the user."""
    from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
    from django.http import HttpResponse

    request.session[SESSION_KEY] = "1"
    request.session[BACKEND_SESSION_KEY] = "host_apps.DjangoBackend"
    return HttpResponse("ok")


def flask_app() -> Any:
    """Flask, which is WSGI, through a2wsgi."""
    from flask import Flask

    documented: dict[str, Any] = {"service": service(lambda *_: True), "flask_app": Flask(__name__)}
    exec(example("a2wsgi"), documented)  # noqa: S102 - our own page
    return documented["application"]
