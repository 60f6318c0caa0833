"""The extension in the applications of a test client: settings, users, hooks, errors, commands."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import TYPE_CHECKING, Any

import flask
import flask_login
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from rex.attach import open_storage
from rex.attach.flask import Attachments, current_attachments
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from werkzeug.test import TestResponse

TUS = {"Tus-Resumable": "1.0.0"}


def everybody(*_: object) -> bool:
    """Let everybody do everything."""
    return True


def make_app(directory: Path, **config: object) -> flask.Flask:
    """Make an application with the settings of a directory."""
    app = flask.Flask(__name__)
    app.secret_key = "of a test"
    app.config.update({"ATTACH_DIR": directory / "attachments", **config})

    @app.get("/login/<name>")
    def login(name: str) -> str:
        flask.session["user"] = name
        return name

    return app


def json_of(answer: TestResponse) -> Any:
    """Return the content of a response in JSON."""
    return answer.get_json()


def upload(app: flask.Flask | Client, path: str = "/attach/") -> TestResponse:
    """Store an attachment by the service."""
    client = app.test_client() if isinstance(app, flask.Flask) else app
    return client.post(f"{path}?name=a.txt", data=b"abc", content_type="text/plain")


def test_rule_user_and_hooks_run_in_the_request(tmp_path: Path) -> None:
    """In its thread, with its session and its ``g``; before_request has run."""
    seen: list[tuple[str, object, bool]] = []

    def note(what: str) -> None:
        is_same = flask.g.thread == threading.get_ident()
        seen.append((what, flask.session.get("user"), is_same))

    def user() -> object:
        note("user")
        return flask.session.get("user")

    def rule(user: object, action: str, _: str | None) -> bool:
        note(f"rule {action}")
        return user == "ann"

    hooks = ("begin", "complete", "stored", "removed")
    config = {f"ATTACH_ON_{name.upper()}": lambda _, name=name: note(name) for name in hooks}
    app = make_app(tmp_path, **config)
    app.before_request(lambda: setattr(flask.g, "thread", threading.get_ident()))
    Attachments(app, rule=rule, user=user)
    client = app.test_client()
    client.get("/login/ann")
    place = upload(client).headers["Location"]
    assert 204 == client.delete(place).status_code
    asked = ["user", "rule upload", "begin", "rule upload", "complete", "stored"]
    asked += ["user", "rule remove", "removed"]
    assert [(what, "ann", True) for what in asked] == seen
    client.get("/login/bob")
    assert 403 == upload(client).status_code


def test_async_functions_run_in_the_request(tmp_path: Path) -> None:
    """They are awaited, and know the session."""
    seen = []

    async def rule(user: object, _: str, __: str | None) -> bool:
        await asyncio.sleep(0)
        seen.append((user, flask.session["user"]))
        return True

    async def user(request: flask.Request) -> object:
        await asyncio.sleep(0)
        return request.headers["X-User"]

    async def stored(upload: Any) -> None:
        await asyncio.sleep(0)
        seen.append((upload.owner, flask.session["user"]))

    app = make_app(tmp_path, ATTACH_ON_STORED=stored)
    Attachments(app, rule=rule, user=user)
    client = app.test_client()
    client.get("/login/ann")
    sent = client.post("/attach/?name=a", data=b"x", headers={"X-User": "ann"})
    assert 201 == sent.status_code
    assert [("ann", "ann")] * 3 == seen


def test_the_user_of_flask_login_is_known(tmp_path: Path) -> None:
    """Without a function, and in the rule as ``current_user``; uploads belong to the user."""

    class User(flask_login.UserMixin):  # type: ignore[misc,unused-ignore]  # has no types
        def __init__(self, name: str) -> None:
            self.id = name

    def rule(user: Any, _: str, __: str | None) -> bool:
        assert user.is_authenticated == flask_login.current_user.is_authenticated
        return bool(flask_login.current_user.is_authenticated)

    app = make_app(tmp_path)
    Attachments(app, rule=rule)
    manager = flask_login.LoginManager(app)
    manager.session_protection = "strong"
    manager.user_loader(User)
    app.add_url_rule("/in/<name>", "in", lambda name: str(flask_login.login_user(User(name))))
    stranger, ann, bob = (app.test_client() for _ in range(3))
    assert 403 == upload(stranger).status_code
    ann.get("/in/ann")
    bob.get("/in/bob")
    begun = ann.post("/attach/tus/", headers={**TUS, "Upload-Length": "3"})
    sent = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    place = begun.headers["Location"]
    assert 403 == bob.patch(place, headers=sent, data=b"his").status_code
    assert 204 == ann.patch(place, headers=sent, data=b"her").status_code


def test_a_function_may_abort(tmp_path: Path) -> None:
    """The response has the status and the headers of the exception, as elsewhere in Flask."""

    def rule(_: object, action: str, __: str | None) -> bool:
        if action == "list":
            flask.abort(flask.redirect("/login/ann", 303))
        flask.abort(401, "Log in first")

    app = make_app(tmp_path)
    Attachments(app, rule=rule)
    refused = upload(app)
    assert (401, "Log in first") == (refused.status_code, json_of(refused)["detail"])
    listed = app.test_client().get("/attach/")
    assert (303, "/login/ann") == (listed.status_code, listed.headers["Location"])


def test_a_rule_may_take_the_request_of_flask(tmp_path: Path) -> None:
    """As its fourth parameter."""

    def rule(_: object, __: str, ___: str | None, request: flask.Request) -> bool:
        return request.args["name"] == "a.txt" and isinstance(request, flask.Request)

    app = make_app(tmp_path)
    Attachments(app, rule=rule)
    assert 201 == upload(app).status_code


def test_without_a_rule_nobody_is_let_in(tmp_path: Path) -> None:
    """As for ``attach_access`` everywhere; ``public`` lets everybody in."""
    closed, public = make_app(tmp_path), make_app(tmp_path, ATTACH_ACCESS="public")
    for app in (closed, public):
        Attachments(app)
    assert [403, 201] == [upload(app).status_code for app in (closed, public)]


def test_bearer_keys_are_accepted(tmp_path: Path) -> None:
    """Also where the application has users of its own."""
    key = "k" * 16
    app = make_app(tmp_path, ATTACH_ACCESS="bearer", ATTACH_ACCESS_KEYS=key)
    Attachments(app)
    refused = upload(app)
    assert (401, "Bearer") == (refused.status_code, refused.headers["WWW-Authenticate"])
    headers = {"Authorization": f"Bearer {key}"}
    assert 200 == app.test_client().get("/attach/", headers=headers).status_code


WRONG: list[tuple[dict[str, object], dict[str, Any], str, str | None]] = [
    ({"ATTACH_DIRR": "x"}, {}, "unknown-setting", "attach_dirr"),
    ({"ATTACH_MAX_SIZE": "x"}, {}, "wrong-setting", "attach_max_size"),
    ({"ATTACH_DIR": None}, {}, "not-one-storage", None),
    ({"ATTACH_S3_BUCKET": "b"}, {}, "not-one-storage", None),
    ({"ATTACH_ACCESS": "public"}, {"rule": everybody}, "wrong-setting", "attach_access"),
    ({"ATTACH_USER": everybody}, {"user": everybody}, "wrong-setting", "attach_user"),
    ({}, {"storage": open_storage("memory:")}, "wrong-setting", None),
    ({"ATTACH_ACCESS": "bearer"}, {}, "wrong-setting", "attach_access_keys"),
]


@pytest.mark.parametrize(("config", "arguments", "code", "setting"), WRONG)
def test_a_wrong_configuration_is_an_error(
    tmp_path: Path,
    config: dict[str, object],
    arguments: dict[str, Any],
    code: str,
    setting: str | None,
) -> None:
    """When the application is made, by the name of the setting."""
    with pytest.raises(Error) as caught:
        Attachments(make_app(tmp_path, **config), **arguments)
    found = caught.value
    assert (Kind.CONFIGURATION, code, setting) == (found.kind, found.code, found.setting)


def test_an_application_has_attachments_once_or_not_at_all(tmp_path: Path) -> None:
    """Both are errors that say so."""
    app, other = make_app(tmp_path), flask.Flask("other")
    attachments = Attachments(app)
    with pytest.raises(Error, match="already") as twice:
        attachments.init_app(app)
    assert Kind.CONFIGURATION is twice.value.kind
    with other.app_context(), pytest.raises(Error) as missing:
        current_attachments.add("a", b"")
    assert "not-active" == missing.value.code


def test_applications_of_a_process_have_storages_of_their_own(tmp_path: Path) -> None:
    """One extension sets up several, as in a factory; another has a storage by hand."""
    attachments = Attachments(rule=everybody)
    apps = [make_app(tmp_path / name) for name in "ab"]
    for name, app in zip("ab", apps, strict=True):
        (tmp_path / name).mkdir()
        attachments.init_app(app)
    by_hand = flask.Flask("by hand")
    Attachments(by_hand, storage=open_storage("memory:"), rule=everybody, url_prefix="/files")
    handles = []
    for app, path in ((apps[0], "/attach/"), (apps[1], "/attach/"), (by_hand, "/files/")):
        place = upload(app, path).headers["Location"]
        with app.app_context():
            assert [place.removeprefix(path[:-1])] == list(current_attachments)
        handles.append(place)
    assert 3 == len(set(handles))
    assert 404 == apps[0].test_client().get(handles[1]).status_code


def test_an_application_may_have_no_service(tmp_path: Path) -> None:
    """With ``url_prefix=None``."""
    app = make_app(tmp_path)
    Attachments(app, rule=everybody, url_prefix=None)
    assert 404 == upload(app).status_code


def test_addresses_have_the_prefixes(tmp_path: Path) -> None:
    """That of the blueprint, and that at which the application is mounted (SCRIPT_NAME)."""
    app = make_app(tmp_path)
    Attachments(app, rule=everybody, url_prefix="/a b/files/")
    client = Client(
        DispatcherMiddleware(flask.Flask("root"), {"/shöp".encode().decode("latin-1"): app})
    )
    stored = upload(client, "/sh%C3%B6p/a%20b/files")
    place = stored.headers["Location"]
    assert place.startswith("/sh%C3%B6p/a%20b/files/20")
    assert b"abc" == client.get(place).data
    begun = client.post("/sh%C3%B6p/a%20b/files/tus/", headers={**TUS, "Upload-Length": "3"})
    assert begun.headers["Location"].startswith("/sh%C3%B6p/a%20b/files/tus/20")


def test_a_page_of_another_site_is_refused(tmp_path: Path) -> None:
    """Unless the settings allow its origin."""
    app = make_app(tmp_path, ATTACH_ORIGINS="https://shop.example")
    Attachments(app, rule=everybody)
    client = app.test_client()
    statuses = [
        client.post("/attach/?name=a", data=b"x", headers={"Origin": origin}).status_code
        for origin in ("https://evil.example", "https://shop.example", "http://localhost")
    ]
    assert [403, 201, 201] == statuses
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    allowed = client.options("/attach/tus/", headers=asked)
    assert "https://shop.example" == allowed.headers["Access-Control-Allow-Origin"]


def test_a_body_that_was_read_already_is_an_error_of_the_application(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what to leave out; nothing is stored in its place."""
    app = make_app(tmp_path)
    Attachments(app, rule=everybody)
    app.before_request(lambda: str(flask.request.form)[:0] or None)
    assert 503 == upload(app).status_code
    assert "csrf.exempt(attachments.blueprint)" in caplog.text
    with app.app_context():
        assert [] == list(current_attachments)


def test_an_error_of_a_view_is_a_problem_document(tmp_path: Path) -> None:
    """Without internals of the application."""
    app = make_app(tmp_path, ATTACH_MAX_SIZE=2)
    Attachments(app)
    views: dict[str, Callable[[], str]] = {
        "gone": lambda: (
            current_attachments.info(
                "/2026/11/28/" + "0" * 8 + "-0000-4000-8000-" + "0" * 12 + "/a"
            ).name
        ),
        "large": lambda: current_attachments.add("a", b"abc"),
    }
    for name, view in views.items():
        app.add_url_rule(f"/{name}", name, view)
    client = app.test_client()
    gone, large = client.get("/gone"), client.get("/large")
    assert [(404, "not-found"), (413, "too-large")] == [
        (answer.status_code, json_of(answer)["kind"]) for answer in (gone, large)
    ]
    assert "application/problem+json" == gone.headers["Content-Type"]


def test_errors_may_be_left_to_the_application(tmp_path: Path) -> None:
    """With ``handle_errors=False``."""
    app = make_app(tmp_path)
    app.testing = True
    Attachments(app, handle_errors=False)
    app.add_url_rule("/", "view", lambda: current_attachments.info("/x").name)
    with pytest.raises(Error):
        app.test_client().get("/")


def test_a_file_of_a_form_is_stored_by_a_view(tmp_path: Path) -> None:
    """`FileStorage` is content as it is."""
    app = make_app(tmp_path)
    Attachments(app)

    @app.post("/")
    def view() -> str:
        file = flask.request.files["file"]
        return current_attachments.add(file.filename, file)

    sent = {"file": (io.BytesIO(b"abc"), "ä.txt")}
    handle = app.test_client().post("/", data=sent).text
    with app.app_context(), current_attachments.open(handle) as reader:
        assert b"abc" == reader.read()


def test_commands_work_on_the_storage_of_the_application(tmp_path: Path) -> None:
    """Those of `rex attach`, with its exit codes."""
    app = make_app(tmp_path)
    Attachments(app)
    with app.app_context():
        handle = current_attachments.add("a.txt", b"abc")
    runner = app.test_cli_runner()
    listed = runner.invoke(args=["attach", "ls"])
    assert (0, f"{handle}\n") == (listed.exit_code, listed.output)
    for command in ("sweep", "verify", "doctor"):
        assert 0 == runner.invoke(args=["attach", command]).exit_code
    assert 4 == runner.invoke(args=["attach", "stat", "/no-handle"]).exit_code
    assert 2 == runner.invoke(args=["attach", "no-command"]).exit_code
    for option in ("-h", "--help"):  # as `rex attach` has them
        assert "flask attach sweep" in runner.invoke(args=["attach", "sweep", option]).output
    assert "attach" in runner.invoke(args=["--help"]).output
    with app.app_context():
        assert [handle] == list(current_attachments)
