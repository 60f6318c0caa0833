"""Applications of several frameworks that mount the service at /attach, for `test_hosts.py`.

The examples of `docs/how-to/embedding.md` make those of Django and Flask. They keep attachments
where the environment variable HOST_STORAGE says; the user is the one whom the header ``X-User``
names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attach.web.patient  # noqa: F401 - clients of a busy machine are silent for a while
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
    page = Path(__file__).parents[3] / "docs/how-to/embedding.md"
    examples: list[str] = re.findall(
        r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
    )
    (found,) = [each for each in examples if word in each]
    return found


async def user_of(request: Request) -> Any:
    """Return the one user, whom the header names."""
    return SimpleNamespace(pk=1, is_authenticated="x-user" in request.headers)


def service(access: Callable[..., bool] = rule, **options: Any) -> ASGIApp:
    """Make what the hosts mount."""
    return attachments(open_storage(os.environ["HOST_STORAGE"]), Access(access, **options))


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

    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "host.sqlite3"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": []}),
        SECRET_KEY="of a test",
    )
    django.setup()
    django_group()
    documented: dict[str, Any] = {"service": service(rule_of_django, user=user_of)}
    exec(example("get_asgi_application"), documented)  # noqa: S102 - our own page
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


def flask_app() -> Any:
    """Flask with the extension."""
    from flask import Flask

    documented: dict[str, Any] = {
        "flask_app": Flask(__name__),
        "rule": lambda *_: True,
        "storage": open_storage(os.environ["HOST_STORAGE"]),
    }
    exec(example("rex.attach.flask"), documented)  # noqa: S102 - our own page
    return documented["flask_app"]
