"""Applications with a login of their own, into which the blocks of `docs/how-to/login.md` go.

`asgi()` and `wsgi()` return the application with the block that the environment variable SHOP
names. ``/login/<name>`` signs a user in; ann belongs to the editors, bob does not.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rex.attach import open_storage

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.types import ASGIApp

PAGE = Path(__file__).parents[3] / "docs/how-to/login.md"
SECRET = "of a test"


@dataclass
class Person:
    """A user."""

    id: str

    @property
    def is_admin(self) -> bool:
        """Whether the user may remove."""
        return self.id == "ann"


def block(word: str) -> str:
    """Return the block of the page with this word."""
    blocks: list[str] = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    (found,) = [each for each in blocks if word in each]
    return found


def run(word: str, **shop: object) -> dict[str, Any]:
    """Run the block with this word beside a module `shop`; return what it defines."""
    storage = open_storage(f"file://{Path.cwd()}/attachments")
    storage.init()
    module = ModuleType("shop")
    module.__dict__.update(shop, storage=storage)
    sys.modules["shop"] = module
    defined: dict[str, Any] = {"__name__": "page"}
    exec(block(word), defined)  # noqa: S102 - our own page
    return defined


def fastapi() -> ASGIApp:
    """FastAPI with bearer tokens, which are names."""
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.security import OAuth2PasswordBearer

    oauth2 = OAuth2PasswordBearer(tokenUrl="token")

    given = Depends(oauth2)  # FastAPI does not resolve a postponed annotation with a local name

    async def current_user(token: str = given) -> Person:
        if token not in ("ann", "bob"):
            raise HTTPException(401, "Unknown token", {"WWW-Authenticate": "Bearer"})
        return Person(token)

    app = FastAPI()

    @app.get("/login/{name}")
    async def login(name: str) -> dict[str, str]:
        return {"token": name}

    run("rex.attach.fastapi", app=app, current_user=current_user)
    return app


def authentication() -> ASGIApp:
    """Starlette with AuthenticationMiddleware, by a cookie that is the name."""
    from starlette.applications import Starlette
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.responses import Response
    from starlette.routing import Route

    class Named(SimpleUser):
        @property
        def identity(self) -> str:
            return self.username

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> Any:
            name = conn.cookies.get("name")
            return (AuthCredentials(), Named(name)) if name else None

    async def login(request: Request) -> Response:
        return Response(headers={"Set-Cookie": f"name={request.path_params['name']}; Path=/"})

    app = Starlette(
        routes=[Route("/login/{name}", login)],
        middleware=[Middleware(AuthenticationMiddleware, backend=Backend())],
    )
    run("has AuthenticationMiddleware", app=app)
    return app


def starlette() -> ASGIApp:
    """Starlette with SessionMiddleware."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware
    from starlette.responses import Response
    from starlette.routing import Route

    async def login(request: Request) -> Response:
        request.session["user"] = request.path_params["name"]
        return Response()

    app = Starlette(
        routes=[Route("/login/{name}", login)],
        middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
    )
    run("request.session", app=app)
    return app


def flask() -> Any:
    """Flask with its session."""
    from flask import Flask, session

    app = Flask(__name__)
    app.secret_key = SECRET

    @app.get("/login/<name>")
    def login(name: str) -> str:
        session["user"] = name
        return name

    run("from flask import session", app=app)
    return app


def flask_login() -> Any:
    """Flask with Flask-Login, which also looks at the address and the browser of the client."""
    from flask import Flask
    from flask_login import LoginManager, UserMixin, login_user

    class User(UserMixin):  # type: ignore[misc,unused-ignore]  # has no types
        def __init__(self, name: str) -> None:
            self.id = name

    app = Flask(__name__)
    app.secret_key = SECRET
    manager = LoginManager(app)
    manager.session_protection = "strong"
    manager.user_loader(User)

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name))
        return name

    run("flask_login", app=app)
    return app


def django() -> ASGIApp:
    """Django with sessions, users and groups in its database."""
    from django import setup
    from django.conf import settings
    from django.core.management import call_command
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("login/<name>", django_login)]}),
        SECRET_KEY=SECRET,
    )
    setup()
    call_command("migrate", verbosity=0)
    app: ASGIApp = run("get_asgi_application")["application"]
    return app


def django_login(request: Any, name: str) -> Any:
    """Sign a user in; ann is one of the editors."""
    from django.contrib.auth import login
    from django.contrib.auth.models import Group, User
    from django.http import HttpResponse

    user, _ = User.objects.get_or_create(username=name)
    if name == "ann":
        user.groups.add(Group.objects.get_or_create(name="editors")[0])
    login(request, user)
    return HttpResponse()


def asgi() -> ASGIApp:
    """Return the application that SHOP names."""
    app: ASGIApp = globals()[os.environ["SHOP"]]()
    return app


def wsgi() -> Any:
    """Return the application that SHOP names."""
    return globals()[os.environ["SHOP"]]()
