"""The service under WSGI, with any framework or none: what the server and the functions see."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import socket
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.conformance.samples import MIB, sample
from rex.attach.storage.request_thread import call_in_request
from rex.attach.web import Access, attachments
from rex.attach.web.wsgi import WSGIApp, answer
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from rex.attach import Storage

NAME = contextvars.ContextVar("NAME", default="")
HANDLE = "/2026/11/28/00000000-0000-4000-8000-000000000000/a.txt"


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Open a storage in memory."""
    with open_storage("memory:") as storage:
        yield storage


def environ(method: str, path: str, body: bytes | Any = b"", **more: Any) -> dict[str, Any]:
    """Return the environment of a request."""
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    target, _, query = path.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": target.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": stream,
        "CONTENT_LENGTH": str(len(body)) if isinstance(body, bytes) else "",
        **more,
    }
    setup_testing_defaults(made)
    return made


def asked(app: Any, made: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    """Make a request as a server does; return status, headers and body."""
    started: list[Any] = []

    def start(*given: Any) -> Callable[[bytes], object]:
        started.extend(given)
        return bytes

    body: Iterable[bytes] = app(made, start)
    try:
        content = b"".join(body)
    finally:
        close: Callable[[], None] = getattr(body, "close", lambda: None)
        close()
    status, headers = started[:2]
    return status, {name.lower(): value for name, value in headers}, content


def service(storage: Storage, rule: Callable[..., Any] = lambda *_: True) -> Any:
    """Return the service, watched by the validator of the standard library (PEP 3333)."""
    return validator(WSGIApp(attachments(storage, Access(rule))))


def test_the_service_follows_pep_3333(storage: Storage) -> None:
    """The validator of the standard library finds nothing to object to."""
    app, data = service(storage), sample(3 * MIB)
    status, headers, _ = asked(app, environ("POST", "/?name=%C3%A4.txt", data))
    assert "201 Created" == status
    place = headers["location"]
    path = f"{next(iter(storage))}"
    assert place.endswith("/%C3%A4.txt")
    assert ("200 OK", data) == asked(app, environ("GET", path))[::2]
    assert ("200 OK", b"") == asked(app, environ("HEAD", path))[::2]
    part = environ("GET", path, HTTP_RANGE="bytes=0-2")
    assert ("206 Partial Content", data[:3]) == asked(app, part)[::2]
    assert "404 Not Found" == asked(app, environ("GET", "/no-such-path"))[0]
    assert "204 No Content" == asked(app, environ("DELETE", path))[0]


def test_the_root_is_that_of_the_server_and_of_the_framework(storage: Storage) -> None:
    """SCRIPT_NAME, then the prefix; clients get both, percent-encoded."""
    app = attachments(storage, Access(lambda *_: True))
    made = environ("POST", "/b c/?name=a", b"x", SCRIPT_NAME="/ä".encode().decode("latin-1"))
    answered = answer(app, made, prefix="/b c")
    assert 201 == answered.status
    assert dict(answered.headers)["location"].startswith("/%C3%A4/b%20c/20")


def test_a_body_that_ends_too_early_is_refused(storage: Storage) -> None:
    """Nothing is stored; a body after which the server fails neither."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError(size)

    app = service(storage)
    for stream in (io.BytesIO(b"abc"), Failing()):
        made = environ("POST", "/?name=a", stream, CONTENT_LENGTH="10")
        assert "400 Bad Request" == asked(app, made)[0]
    assert [] == list(storage)


def test_no_more_is_read_than_was_announced(storage: Storage) -> None:
    """The next request of the connection may follow."""
    stream = io.BytesIO(b"abcGET / HTTP/1.1")
    made = environ("POST", "/?name=a", stream, CONTENT_LENGTH="3")
    assert "201 Created" == asked(service(storage), made)[0]
    assert b"GET / HTTP/1.1" == stream.read()


@pytest.mark.parametrize("terminated", [True, False])
def test_a_body_of_unknown_length_needs_a_server_that_ends_it(
    storage: Storage,
    terminated: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """It says so by ``wsgi.input_terminated``; otherwise it is refused, not stored empty."""
    more = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": terminated}
    made = environ("POST", "/?name=a", io.BytesIO(b"abc"), **more)
    status = asked(service(storage), made)[0]
    assert ("201 Created" if terminated else "400 Bad Request") == status
    assert [3] * terminated == [storage.info(handle).size for handle in storage]


def test_functions_of_the_application_run_in_the_thread_and_context_of_the_request() -> None:
    """Rule, user and hooks, although the storage works in other threads."""
    seen: list[tuple[str, int, str]] = []

    def note(what: str) -> bool:
        seen.append((what, threading.get_ident(), NAME.get()))
        return True

    hooks: dict[str, Any] = {
        f"on_{what}": lambda _, what=what: note(what) and None
        for what in ("begin", "complete", "stored", "removed")
    }
    NAME.set("ann")
    with open_storage("memory:", **hooks) as storage:
        access = Access(lambda *_: note("rule"), user=lambda _: note("user") and "ann")
        app = WSGIApp(attachments(storage, access))
        asked(app, environ("POST", "/?name=a", b"abc"))
        asked(app, environ("DELETE", next(iter(storage))))
    whats = ["user", "rule", "begin", "rule", "complete", "stored", "user", "rule", "removed"]
    assert [(what, threading.get_ident(), "ann") for what in whats] == seen


def test_a_function_may_run_an_event_loop_and_use_the_storage(storage: Storage) -> None:
    """No loop runs in the thread while it is called."""
    handle = storage.add("a.txt", b"abc")

    def rule(*_: object) -> bool:
        return bool(asyncio.run(asyncio.sleep(0, result=storage.info(handle).size)))

    assert "200 OK" == asked(service(storage, rule), environ("GET", handle))[0]


def test_a_function_is_called_in_place_outside_a_request() -> None:
    """And where a task of an event loop calls a blocking operation."""
    assert 3 == call_in_request(len, "abc")

    async def app(_: Scope, __: Receive, send: Send) -> None:
        assert 3 == call_in_request(len, "abc")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert 200 == answer(app, environ("GET", "/")).status


def endless(ended: list[str]) -> ASGIApp:
    """Return an application that answers until its client leaves."""

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        except OSError:
            ended.append((await receive())["type"])

    return app


def test_an_application_learns_that_its_client_has_left() -> None:
    """The server closes the body, even twice; nothing is left of the request."""
    ended: list[str] = []
    body: Any = answer(endless(ended), environ("GET", "/")).body
    assert [b"x", b"x"] == [next(body), next(body)]
    body.close()
    body.close()
    assert ["http.disconnect"] == ended


def test_a_body_that_is_forgotten_is_closed() -> None:
    """As the clients of tests do."""
    ended: list[str] = []
    answer(endless(ended), environ("GET", "/"))
    gc.collect()
    assert ["http.disconnect"] == ended


def test_an_incomplete_response_is_not_taken_for_a_complete_one() -> None:
    """The server gets the application's exception, or one that says so."""

    async def failing(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError("a bug")

    async def ending(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    for app, expected in ((failing, ValueError), (ending, ConnectionAbortedError)):
        body: Any = answer(app, environ("GET", "/")).body
        assert b"x" == next(body)
        with pytest.raises(expected):
            next(body)
        body.close()


def test_an_exception_before_the_response_reaches_the_server() -> None:
    """As does an application that answers nothing."""

    async def failing(*_: object) -> None:
        raise ValueError("a bug")

    async def silent(*_: object) -> None:
        pass

    for app, expected in ((failing, ValueError), (silent, RuntimeError)):
        with pytest.raises(expected):
            answer(app, environ("GET", "/"))


def test_tasks_that_an_application_leaves_behind_are_cancelled() -> None:
    """Nothing outlives a request."""
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def app(_: Scope, __: Receive, send: Send) -> None:
        app.task = asyncio.create_task(wait())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    assert 204 == answer(app, environ("GET", "/")).status
    assert ["task"] == ended


def test_a_server_without_threads_is_refused(storage: Storage) -> None:
    """An event loop cannot run within another one."""
    app = attachments(storage, Access(lambda *_: True))

    async def in_loop() -> None:
        answer(app, environ("GET", HANDLE))

    with pytest.raises(Error) as caught:
        asyncio.run(in_loop())
    assert (Kind.CONFIGURATION, "no-threads") == (caught.value.kind, caught.value.code)


class Endless(io.RawIOBase):
    """The body of a client that never stops sending."""

    def read(self, size: int = -1, /) -> bytes:
        """Return zeros."""
        return bytes(size)


def test_a_client_that_goes_on_sending_after_its_response_is_disconnected(
    storage: Storage,
) -> None:
    """After 64 MiB; the server would read all of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        more = {"CONTENT_LENGTH": str(10**12), "gunicorn.socket": ours}
        made = environ("POST", "/no-such-path", Endless(), **more)
        status, headers, _ = asked(WSGIApp(attachments(storage, Access(lambda *_: True))), made)
        assert "404 Not Found" == status
        assert "connection" not in headers  # for the server alone (PEP 3333)
        theirs.settimeout(PATIENCE)
        assert b"" == theirs.recv(1)


def test_a_connection_that_other_requests_share_stays_open(storage: Storage) -> None:
    """As with HTTP/2."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        more = {
            "CONTENT_LENGTH": str(10**12),
            "gunicorn.socket": ours,
            "SERVER_PROTOCOL": "HTTP/2",
        }
        asked(
            WSGIApp(attachments(storage, Access(lambda *_: True))),
            environ("POST", "/no-such-path", Endless(), **more),
        )
        ours.sendall(b"x")
        assert b"x" == theirs.recv(1)
