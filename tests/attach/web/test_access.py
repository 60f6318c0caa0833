"""What the access rule learns: the user whom a function finds, and the request."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from attach.web.test_app import ask
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.web import Access, access_of, attachments
from rex.core import Error, Kind, Rex
from served import rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TUS = {"Tus-Resumable": "1.0.0"}
CLIENTS = 10
SLOW_RULE = """\
import threading, time
from programs import PATIENCE

together = threading.Barrier(10)


def rule(user, action, handle):
    time.sleep(0.5)
    together.wait(PATIENCE)
    return True
"""


class Login:
    """A function that finds the user, by the header X-User, and the users whom it found."""

    def __init__(self) -> None:
        self.found: list[str | None] = []

    def __call__(self, request: Request) -> str | None:
        """Return the user, in a worker thread."""
        assert threading.current_thread() is not threading.main_thread()
        self.found.append(request.headers.get("x-user"))
        return self.found[-1]

    async def later(self, request: Request) -> str | None:
        """Return the user, in the event loop."""
        await asyncio.sleep(0)
        assert threading.current_thread() is threading.main_thread()
        self.found.append(request.headers.get("x-user"))
        return self.found[-1]


def only_ann(user: Any, *_: object) -> bool:
    """Allow it to one user."""
    return bool(user == "ann")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_user_is_the_one_that_the_function_finds(*, is_async: bool) -> None:
    """Whoever the scope names, and however the function is written."""
    login = Login()
    service = attachments(
        MemoryStorage(), Access(only_ann, user=login.later if is_async else login)
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await service({**scope, "user": "bob"}, receive, send)

    assert 200 == ask(app, "GET", "/", headers={"X-User": "ann"}).status_code
    assert 403 == ask(app, "GET", "/", headers={"X-User": "bob"}).status_code
    assert ["ann", "bob"] == login.found


def test_the_user_is_looked_for_once_in_a_request() -> None:
    """Although beginning a tus upload asks the rule twice, and for the owner."""
    login = Login()
    asked: list[str] = []

    def rule(user: Any, action: str, _: str | None) -> bool:
        asked.append(action)
        return only_ann(user)

    app = attachments(MemoryStorage(), Access(rule, user=login))
    begun = ask(app, "POST", "/tus/", headers={**TUS, "Upload-Length": "3", "X-User": "ann"})
    assert (201, ["upload", "upload"]) == (begun.status_code, asked)
    assert ["ann"] == login.found


def test_no_user_is_looked_for_where_no_rule_is_asked() -> None:
    """As for the description of the service, which everybody may read."""
    login = Login()
    app = attachments(MemoryStorage(), Access(only_ann, user=login))
    assert 200 == ask(app, "GET", "/openapi.json").status_code
    assert [] == login.found


def test_each_access_of_a_request_has_its_own_user() -> None:
    """An application may check a request of its own with several."""

    def user(name: str) -> Callable[[Request], str]:
        return lambda _: name

    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    accesses = [Access(lambda *_: True, user=user(name)) for name in ("ann", "bob")]
    for access in accesses:
        with pytest.raises(Error):
            access.owner(request)
        asyncio.run(access.check(request, "list"))
    assert ["ann", "bob"] == [access.owner(request) for access in accesses]


def test_a_rule_with_a_fourth_parameter_receives_the_request() -> None:
    """Unless it has a default, for which the application may have a use of its own."""

    def with_request(_: Any, __: str, ___: str | None, request: Request) -> bool:
        return request.headers["x-key"] == "open sesame"

    async def later(_: Any, __: str, ___: str | None, request: Request) -> bool:
        return with_request(_, __, ___, request)

    def with_default(_: Any, __: str, ___: str | None, db: str = "mine") -> bool:
        return db == "mine"

    for rule in (with_request, later):
        app = attachments(MemoryStorage(), Access(rule))
        assert 200 == ask(app, "GET", "/", headers={"X-Key": "open sesame"}).status_code
        assert 403 == ask(app, "GET", "/", headers={"X-Key": "please"}).status_code
    app = attachments(MemoryStorage(), Access(with_default))
    assert 200 == ask(app, "GET", "/").status_code


@pytest.mark.parametrize(
    ("failure", "status", "headers"),
    [
        (HTTPException(401, "Sign in", {"WWW-Authenticate": "Bearer"}), 401, "www-authenticate"),
        (HTTPException(303, headers={"Location": "/login"}), 303, "location"),
        (HTTPException(429, "Slowly", {"Retry-After": "5"}), 429, "retry-after"),
        (HTTPException(503, "Later"), 503, "content-type"),
    ],
)
def test_an_http_exception_of_the_application_is_the_answer(
    failure: HTTPException, status: int, headers: str
) -> None:
    """With its status, its words and its headers, whichever function raises it."""

    def fail(*_: object) -> bool:
        raise failure

    for access in (Access(fail), Access(only_ann, user=fail)):
        answer = ask(attachments(MemoryStorage(), access), "GET", "/")
        assert (status, failure.detail) == (answer.status_code, answer.json()["detail"])
        assert headers in answer.headers
        assert "no-store" == answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("access", "setting"),
    [
        ({"attach_access": lambda: True}, "attach_access"),
        ({"attach_access": lambda _, __, *, handle: handle}, "attach_access"),
        ({"attach_access": only_ann, "attach_user": lambda: "ann"}, "attach_user"),
        (
            {
                "attach_access": "bearer",
                "attach_access_keys": "sixteen letters!",
                "attach_user": "no_such_module:user",
            },
            "attach_user",
        ),
        ({"attach_user": "user"}, "attach_user"),
    ],
    ids=["no parameters", "a keyword", "a user without request", "bearer with a user", "no module"],
)
def test_a_wrong_function_is_refused_at_the_start(
    tmp_path: Path, access: dict[str, Any], setting: str
) -> None:
    """Before the first request."""
    with pytest.raises(Error) as caught:
        Rex("rex.attach", attach_dir=tmp_path, **access)
    assert Kind.CONFIGURATION is caught.value.kind
    assert ("wrong-setting", setting) == (caught.value.code, caught.value.setting)


def test_functions_are_settings_in_python_and_in_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are named by text are imported when the service begins."""
    given: dict[str, Any] = {"attach_dir": tmp_path, "attach_access": only_ann}
    rex = Rex("rex.attach", **given, attach_user=Login())
    assert f"attach_access=<function {__name__}:only_ann>" in repr(rex)
    assert f"attach_user=<function {__name__}:Login>" in repr(rex)
    assert 200 == ask(rex, "GET", "/attach/", headers={"X-User": "ann"}).status_code
    (tmp_path / "users_of_a_test.py").write_text("async def user(request):\n    return 'ann'\n")
    monkeypatch.syspath_prepend(tmp_path)
    named = Rex("rex.attach", **given, attach_user="users_of_a_test:user")
    assert 200 == ask(named, "GET", "/attach/").status_code
    missing = Rex("rex.attach", **given, attach_user="no_such_module:user")
    with pytest.raises(Error) as caught:
        access_of(missing)
    assert "attach_user" == caught.value.setting


def test_a_slow_rule_delays_no_other_request(
    tmp_path: Path, report_figure: Callable[[str], None]
) -> None:
    """The rule ends for none of ten requests before it has begun for all; the last comes late."""
    (tmp_path / "rules_of_a_test.py").write_text(SLOW_RULE)
    settings = {
        "attach_dir": tmp_path / "attachments",
        "attach_access": "rules_of_a_test:rule",
        "pythonpath": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))),
    }
    with rex_serving(tmp_path, **settings) as served, ThreadPoolExecutor(CLIENTS) as pool:

        def get(path: str) -> int:
            with closing(served.connection()) as connection:
                connection.request("GET", path)
                return connection.getresponse().status

        began = time.perf_counter()
        listed = [pool.submit(get, "/attach/") for _ in range(CLIENTS - 1)]
        asked = time.perf_counter()
        assert 200 == get("/health")
        health = time.perf_counter() - asked
        listed.append(pool.submit(get, "/attach/"))
        assert [200] * CLIENTS == [each.result() for each in listed]
        total = time.perf_counter() - began
    report_figure(
        f"{CLIENTS} requests at once, each with a plain rule of 0.5 s: {total:.2f} s in all; "
        f"/health meanwhile: {health * 1000:.0f} ms"
    )
