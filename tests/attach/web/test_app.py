"""The service's routes, through ASGI, over every kind of storage."""

from __future__ import annotations

import asyncio
import base64
import contextvars
import gzip
import threading
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from attach.harnesses import S3Harness, s3_client
from programs import PATIENCE
from rex.attach import get_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.media_type import normalize_coding
from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule
from rex.attach.web.app import Options
from rex.core import Error, Kind, Rex, Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

FRIEND = "https://friend.example"
CORP = "Cross-Origin-Resource-Policy"
FOLDER = "/2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab"
ANYBODY = Access(access_rule("public", None))


def ask(app: Any, method: str, path: str, *, root: str = "", **options: Any) -> httpx.Response:
    """Make one request to an ASGI application."""

    async def live() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **options)

    return asyncio.run(live())


def test_a_file_goes_in_and_comes_out(storage: Storage) -> None:
    """As a body with a name: stored, served, looked at, removed."""
    app = attachments(storage, ANYBODY)
    stored = ask(app, "POST", "/", params={"name": "ü b.txt"}, content=b"content")
    assert 201 == stored.status_code
    (one,) = stored.json()["attachments"]
    assert (7, "ü b.txt", "text/plain") == (one["size"], one["name"], one["content_type"])
    assert stored.headers["Location"] == one["url"]
    served = ask(app, "GET", one["url"])
    assert (200, b"content") == (served.status_code, served.content)
    assert "nosniff" == served.headers["X-Content-Type-Options"]
    looked_at = ask(app, "HEAD", one["url"])
    assert (200, b"", "7") == (
        looked_at.status_code,
        looked_at.content,
        looked_at.headers["Content-Length"],
    )
    assert 204 == ask(app, "DELETE", one["url"]).status_code
    assert 404 == ask(app, "GET", one["url"]).status_code
    assert [] == list(storage)


def test_a_storage_that_refuses_the_service_is_not_the_clients_doing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the server's trouble, and told to those who read the log alone."""
    storage = MemoryStorage()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage, "_list", refuse)
    answer = ask(attachments(storage, ANYBODY), "GET", "/")
    assert (503, "unavailable") == (answer.status_code, answer.json()["kind"])
    assert "MemoryStorage" not in answer.text
    assert "Permission denied" in caplog.text


def test_the_slash_at_the_end_of_the_mount_may_be_left_out(tmp_path: Path) -> None:
    """``/attach`` is ``/attach/``, also below another application, and its links are whole."""
    with Rex("rex.attach", attach_dir=str(tmp_path), attach_access="public") as rex:
        for root in ("", "/sub"):
            stored = ask(rex, "POST", f"{root}/attach?name=a.txt", root=root, content=b"x")
            assert 201 == stored.status_code
            assert stored.headers["Location"].startswith(f"{root}/attach/20")
            assert b"x" == ask(rex, "GET", stored.headers["Location"], root=root).content
            assert 200 == ask(rex, "GET", f"{root}/attach", root=root).status_code
    assert 404 == ask(rex, "GET", "/attached").status_code


@pytest.mark.parametrize("tenant", ["a", "a:b", "x@y+z", "a(1)", "%c3%a9", "%C3%A9", "~u"])
def test_the_path_of_the_mount_may_hold_anything(tenant: str) -> None:
    """As a client sends it, whatever of it others would encode."""
    service = attachments(MemoryStorage(), ANYBODY)
    app = Starlette(routes=[Mount("/{tenant}/attach", app=service)])
    stored = ask(app, "POST", f"/{tenant}/attach/?name=a.txt", content=b"x")
    assert 201 == stored.status_code
    assert b"x" == ask(app, "GET", stored.headers["Location"]).content


def test_a_form_stores_all_its_files(storage: Storage) -> None:
    """And there is no one location then."""
    files = [("a", ("a.txt", b"first")), ("b", ("b.png", b"second", "image/png"))]
    stored = ask(attachments(storage, ANYBODY), "POST", "/", files=files)
    assert (201, None) == (stored.status_code, stored.headers.get("Location"))
    found = stored.json()["attachments"]
    assert ["a.txt", "b.png"] == [one["name"] for one in found]
    assert sorted(one["handle"] for one in found) == list(storage)


def test_pages_follow_each_other(storage: Storage) -> None:
    """Each names the next one, and together they are the listing."""
    handles = sorted(storage.add(f"{number}.txt", b"") for number in range(5))
    app = attachments(storage, ANYBODY)
    there: str | None = "/?limit=2"
    seen = []
    while there is not None:
        page = ask(app, "GET", there).json()
        seen += [one["handle"] for one in page["attachments"]]
        there = page["next"]
    assert handles == seen
    assert [] == ask(app, "GET", "/?day=2001-02-03").json()["attachments"]


def test_links_are_made_where_the_storage_makes_them(seaweedfs: SeaweedFS) -> None:
    """An upload link for a new handle, a download link for what is there, a redirect to it."""
    with S3Harness(seaweedfs).storage() as storage:
        app = attachments(storage, ANYBODY)
        made = ask(app, "POST", "/links", json={"name": "a.txt"}).json()
        assert "PUT" == made["link"]["method"]
        put = httpx.put(made["link"]["url"], headers=made["link"]["headers"], content=b"data")
        assert 200 == put.status_code
        link = ask(app, "GET", made["handle"], params={"link": ""}).json()
        assert b"data" == httpx.get(link["url"]).content
        assert 404 == ask(app, "GET", f"{FOLDER}/a.txt?link").status_code
        wanted = {"name": "a.txt", "size": 4}
        limited = ask(app, "POST", "/links", json=wanted).json()["link"]
        assert "POST" == limited["method"]
        for content, status in ((b"12345", 400), (b"1234", 204)):
            form: Any = {"data": limited["fields"], "files": {"file": ("a.txt", content)}}
            assert status == httpx.post(limited["url"], **form).status_code
        redirecting = attachments(storage, ANYBODY, Options(redirect=True))
        redirected = ask(redirecting, "GET", made["handle"])
        assert 307 == redirected.status_code
        assert b"data" == httpx.get(redirected.headers["Location"]).content
        assert 200 == ask(redirecting, "HEAD", made["handle"]).status_code


def test_what_no_link_can_be_made_for_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has what would make it possible, which is not for the client."""
    caplog.set_level("INFO")
    service = attachments(LocalStorage(tmp_path), ANYBODY)
    answer = ask(service, "POST", "/links", json={"name": "a"})
    problem = answer.json()
    assert "attach_url" in caplog.text
    assert "attach_url" not in problem["detail"]
    assert (422, "unsupported", "no-links") == (
        answer.status_code,
        problem["kind"],
        problem["type"],
    )
    assert "application/problem+json" == answer.headers["Content-Type"]


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        f"{FOLDER}/a%2fb.txt",
        f"{FOLDER}%2fa.txt",
        f"{FOLDER}/%00",
        f"{FOLDER}/a%0d%0aX: y",
        f"{FOLDER}/%c0%ae%c0%ae",
        f"{FOLDER}/%ff",
        f"{FOLDER}//a.txt",
        f"{FOLDER}/a.txt/",
        f"/{FOLDER}/a.txt",
        "/2026/13/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a.txt",
        "/" + "a" * 5000,
        "/index.html",
    ],
)
def test_paths_that_are_no_handles_are_not_found(path: str) -> None:
    """They are judged as they were sent, before anything is decoded."""
    url = httpx.URL("http://here", raw_path=path.encode())
    for method in ("GET", "HEAD", "DELETE"):
        assert 404 == ask(attachments(MemoryStorage(), ANYBODY), method, str(url)).status_code


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/links", "POST"),
        ("PATCH", f"{FOLDER}/a.txt", "DELETE, GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allow: str) -> None:
    """With `Allow` (RFC 9110, section 15.5.6)."""
    answer = ask(attachments(MemoryStorage(url="http://here"), ANYBODY), method, path)
    assert (405, allow) == (answer.status_code, answer.headers["Allow"])


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"{"}, 400),
        ({"json": []}, 400),
        ({"json": {}}, 400),
        ({"json": {"name": 7}}, 400),
        ({"json": {"name": "a", "size": "huge"}}, 400),
        ({"json": {"name": "a", "size": 11}}, 413),
        ({"content": b" " * 70_000}, 413),
        ({"content": b"[" * 60_000}, 400),
    ],
)
def test_a_wrong_wish_for_a_link_is_refused(options: dict[str, Any], status: int) -> None:
    """The problem says what is expected."""
    app = attachments(MemoryStorage(max_size=10, url="http://here"), ANYBODY)
    assert status == ask(app, "POST", "/links", **options).status_code


REQUESTS = [
    ("GET", "/"),
    ("POST", "/?name=a.txt"),
    ("POST", "/links"),
    ("GET", f"{FOLDER}/a.txt"),
    ("HEAD", f"{FOLDER}/a.txt"),
    ("GET", f"{FOLDER}/a.txt?link"),
    ("DELETE", f"{FOLDER}/a.txt"),
    ("PATCH", "/"),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_nobody_may_do_anything_unless_it_is_allowed(method: str, path: str) -> None:
    """Before it is told whether there is anything: 403, or 401 to somebody without a key."""
    storage = MemoryStorage()
    nobody = attachments(storage, Access(access_rule("none", None)))
    assert 403 == ask(nobody, method, path).status_code
    keys = Secret("first-of-the-keys, second-of-the-keys")
    keyed = attachments(storage, Access(access_rule("bearer", keys)))
    asked = ask(keyed, method, path)
    assert (401, "Bearer") == (asked.status_code, asked.headers["WWW-Authenticate"])
    for wrong in (
        "Bearer third-of-the-keys",
        "Bearer",
        "Basic first-of-the-keys",
        "Bearer first-of-the-keys, second-of-the-keys",
    ):
        assert 401 == ask(keyed, method, path, headers={"Authorization": wrong}).status_code
    right = ask(keyed, method, path, headers={"Authorization": "Bearer second-of-the-keys"})
    assert right.status_code not in (401, 403)


def test_a_rule_of_the_application_is_asked() -> None:
    """With the user from the scope, the action and the handle; it may be a coroutine."""
    asked: list[tuple[object, ...]] = []

    async def rule(user: object, action: str, handle: str | None) -> bool:
        asked.append((user, action, handle))
        return user == "alice"

    app = attachments(MemoryStorage(), Access(rule))

    async def signed_in(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "user": "alice"}, receive, send)

    assert 403 == ask(app, "GET", f"{FOLDER}/a.txt").status_code
    assert 404 == ask(signed_in, "GET", f"{FOLDER}/a.txt").status_code
    handle = f"{FOLDER}/a.txt"
    assert [(None, "download", handle), ("alice", "download", handle)] == asked


def test_plain_rules_wait_side_by_side() -> None:
    """Ten requests are asked about at once, though each rule blocks until all ten are."""
    together = threading.Barrier(10)

    def rule(*_: object) -> bool:
        together.wait(PATIENCE)
        return True

    app = attachments(MemoryStorage(), Access(rule))

    async def live() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await asyncio.gather(*(client.get("/") for _ in range(10)))

    assert [200] * 10 == [answer.status_code for answer in asyncio.run(live())]


def test_a_plain_rule_has_the_context_of_the_request(tmp_path: Path) -> None:
    """Variables of the context are as the host has set them, and the application is active."""
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
    seen: list[tuple[str, Storage, threading.Thread]] = []

    def rule(*_: object) -> bool:
        seen.append((tenant.get(), get_storage(), threading.current_thread()))
        return True

    with Rex("rex.attach", attach_dir=tmp_path) as rex:
        storage = get_storage()
    app = attachments(storage, Access(rule))

    async def host(scope: Any, receive: Any, send: Any) -> None:
        tenant.set("ours")
        with rex:
            await app(scope, receive, send)

    assert 200 == ask(host, "GET", "/").status_code
    ((found, active, thread),) = seen
    assert ("ours", storage) == (found, active)
    assert thread is not threading.main_thread()


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Error("Not now", kind=Kind.UNAVAILABLE), 503),
        (Error("Not you", kind=Kind.DENIED), 403),
        (ZeroDivisionError("mine"), 500),
        (PermissionError("mine"), 500),
        (StopIteration("mine"), 500),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_rule_raises_is_answered(failure: Exception, status: int, *, is_async: bool) -> None:
    """An `Error` by its kind, and anything else as our own mistake, whichever rule raises it."""

    def rule(*_: object) -> bool:
        raise failure

    async def later(*_: object) -> bool:
        raise failure

    app = attachments(MemoryStorage(), Access(later if is_async else rule))
    assert status == ask(app, "GET", "/").status_code


class AsyncRule:
    """A rule that is an object."""

    async def __call__(self, *_: object) -> bool:
        """Allow it, in the thread of the event loop."""
        return await allowing_later()


async def allowing_later(*_: object) -> bool:
    """Allow it, in the thread of the event loop."""
    await asyncio.sleep(0)
    return threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    "rule",
    [allowing_later, AsyncRule(), partial(allowing_later, 7), lambda *_: allowing_later()],
    ids=["function", "object", "partial", "plain function that returns a coroutine"],
)
def test_an_asynchronous_rule_is_awaited_in_the_event_loop(rule: Any) -> None:
    """However it is written."""
    assert 200 == ask(attachments(MemoryStorage(), Access(rule)), "GET", "/").status_code


@pytest.mark.parametrize(("name", "status"), [("none", 403), ("public", 200), ("bearer", 200)])
def test_our_own_rules_need_no_thread(
    monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    """They do not wait for anything."""

    def refused(*_: object) -> NoReturn:
        raise AssertionError("a thread is asked for")

    monkeypatch.setattr("rex.attach.web.access.run_in_threadpool", refused)
    app = attachments(MemoryStorage(), Access(access_rule(name, Secret("first-of-the-keys"))))
    shown = {"Authorization": "Bearer first-of-the-keys"}
    assert status == ask(app, "GET", "/", headers=shown).status_code


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://here"}, True),
        ({"Origin": "https://friend.example"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://here", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://here", "Host": "here:80"}, True),
        ({"Origin": "https://here"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
    ],
    ids=str,
)
def test_other_sites_neither_upload_nor_remove(headers: dict[str, str], *, allowed: bool) -> None:
    """Unless a setting allows their origin."""
    storage = MemoryStorage()
    access = Access(access_rule("public", None), origins=["https://friend.example"])
    app = attachments(storage, access)
    stored = ask(app, "POST", "/?name=a.txt", content=b"x", headers=headers)
    assert (201 if allowed else 403) == stored.status_code
    handle = storage.add("a.txt", b"")
    removed = ask(app, "DELETE", handle, headers=headers)
    assert (204 if allowed else 403) == removed.status_code


def test_an_application_is_asgi_itself(tmp_path: Path) -> None:
    """Its packages are mounted under the last part of their names, and it tells its health."""
    with Rex("rex.attach", attach_dir=tmp_path, attach_access="public") as rex:
        pass
    assert "ok\n" == ask(rex, "GET", "/health").text
    stored = ask(rex, "POST", "/attach/?name=a.txt", content=b"content")
    location = stored.headers["Location"]
    assert location.startswith("/attach/20")
    assert b"content" == ask(rex, "GET", location).content
    assert "not-found" == ask(rex, "GET", "/elsewhere").json()["kind"]
    page = ask(rex, "GET", "/attach/?limit=1").json()
    assert [location] == [one["url"] for one in page["attachments"]]


def test_an_unexpected_failure_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is a 500 that says nothing."""

    class Broken(MemoryStorage):
        def _head(self, key: str) -> Any:
            raise ZeroDivisionError(key)

    answer = ask(attachments(Broken(), ANYBODY), "HEAD", f"{FOLDER}/a.txt")
    assert 500 == answer.status_code
    assert "ZeroDivisionError" in caplog.text
    answer = ask(attachments(Broken(url="http://here"), ANYBODY), "GET", f"{FOLDER}/a.txt?link")
    assert "Internal server error." == answer.json()["detail"]


@pytest.mark.parametrize(
    "name", ["everybody", "os:missing", "os:sep", "no.such:rule", "bearer", ":x", ".x:y"]
)
def test_a_wrong_rule_is_a_wrong_setting(name: str) -> None:
    """The error names it."""
    with pytest.raises(Error) as caught:
        access_rule(name, None)
    assert Kind.CONFIGURATION is caught.value.kind
    setting = "attach_access_keys" if name == "bearer" else "attach_access"
    assert ("wrong-setting", setting) == (caught.value.code, caught.value.setting)


def test_a_server_that_asks_first_does_not_start_with_a_wrong_rule(tmp_path: Path) -> None:
    """ASGI's lifespan: the server gets the reason, and no client meets it."""
    rex = Rex("rex.attach", attach_dir=tmp_path, attach_access="no_such_module:rule")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(rex({"type": "lifespan"}, receive, send))
    (told,) = sent
    assert "lifespan.startup.failed" == told["type"]
    assert "setting attach_access" in told["message"]


def test_a_rule_is_found_by_its_name() -> None:
    """As `module:function`."""
    rule: Callable[..., Any] = access_rule("operator:eq", None)
    assert rule(1, 1)


def test_a_client_that_stops_sending_is_told_so_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With 408, and nothing is stored: the storage is not at fault."""
    storage = MemoryStorage()
    app = attachments(storage, ANYBODY, Options(stall_seconds=0.05))

    async def stuck() -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.Event().wait()

    answer = ask(app, "POST", "/?name=a.txt", content=stuck())
    assert (408, "close") == (answer.status_code, answer.headers["Connection"])
    assert [] == list(storage)
    assert "" == caplog.text


@pytest.mark.wording
def test_a_refused_page_reads_both_origins() -> None:
    """And the setting that would allow it."""
    app = attachments(MemoryStorage(), ANYBODY)
    refused = ask(app, "POST", "/?name=a", headers={"Origin": "https://b.example"}).json()
    for told in ("https://b.example", "http://here", "attach_origins"):
        assert told in refused["detail"]


def test_pages_of_a_friend_may_ask_beforehand_and_read_the_answer() -> None:
    """As CORS wants it; those of others are told nothing."""
    access = Access(access_rule("public", None), origins=["https://friend.example"])
    app = attachments(MemoryStorage(), access)
    friend, other = {"Origin": "https://friend.example"}, {"Origin": "https://evil.example"}
    asked = ask(app, "OPTIONS", f"{FOLDER}/a.txt", headers=friend)
    assert 204 == asked.status_code
    assert "DELETE" in asked.headers["Access-Control-Allow-Methods"]
    answered = ask(app, "POST", "/?name=a.txt", content=b"x", headers=friend)
    assert "https://friend.example" == answered.headers["Access-Control-Allow-Origin"]
    assert "Access-Control-Allow-Origin" not in ask(app, "GET", "/", headers=other).headers
    for headers in ({}, other, {"Origin": "https://friend.example"}):
        assert "Origin" == ask(app, "GET", "/", headers=headers).headers["Vary"]
    assert "Vary" not in ask(attachments(MemoryStorage(), ANYBODY), "GET", "/").headers


SECTIONS = ["/", "/tus/", "/sign", "/s3/params?filename=a"]


@pytest.mark.parametrize("path", SECTIONS)
def test_a_friend_may_send_what_it_asks_for_with_its_users_cookies(path: str) -> None:
    """For such a request, an asterisk is not a wildcard (Fetch, CORS)."""
    app = attachments(MemoryStorage(), Access(lambda *_: True, origins=[FRIEND, "null"]))
    asking = {"Access-Control-Request-Headers": "x-csrf,content-type, \x7f\x01;"}
    asked = ask(app, "OPTIONS", path, headers={"Origin": FRIEND, **asking}).headers
    named = asked["Access-Control-Allow-Headers"].split(", ")
    assert ["*", "Authorization", "x-csrf", "content-type"] == named
    answered = ask(app, "GET", path, headers={"Origin": FRIEND}).headers
    for headers in (asked, answered):
        assert (FRIEND, "true") == (
            headers["Access-Control-Allow-Origin"],
            headers["Access-Control-Allow-Credentials"],
        )
    # Any site can be this one.
    opaque = ask(app, "GET", path, headers={"Origin": "null"}).headers
    assert "null" == opaque["Access-Control-Allow-Origin"]
    assert "Access-Control-Allow-Credentials" not in opaque


@pytest.mark.parametrize("path", SECTIONS)
def test_a_friend_may_read_what_it_needs_of_an_answer(path: str) -> None:
    """Whatever the answer is, in every part of the service."""
    app = attachments(MemoryStorage(), Access(lambda *_: True, origins=[FRIEND]))
    answer = ask(app, "GET", path, headers={"Origin": FRIEND})
    exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {
        "Accept-Encoding",
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Length",
        "Content-Range",
        "ETag",
        "Last-Modified",
        "Location",
        "Retry-After",
        "Upload-Offset",
        "WWW-Authenticate",
    }


@pytest.mark.parametrize(
    ("headers", "policy"),
    [
        ({}, "same-origin"),
        ({"Origin": FRIEND}, "cross-origin"),
        ({"Referer": f"{FRIEND}/"}, "cross-origin"),
        ({"Referer": f"{FRIEND}/page?a=b"}, "cross-origin"),
        ({"Referer": FRIEND}, "cross-origin"),
        ({"Referer": "https://evil.example/"}, "same-origin"),
        ({"Referer": f"{FRIEND}.evil.example/"}, "same-origin"),
        ({"Referer": f"{FRIEND}@evil.example/"}, "same-origin"),
        ({"Referer": f"https://evil.example/{FRIEND}/"}, "same-origin"),
        ({"Referer": FRIEND.replace("https", "http") + "/"}, "same-origin"),
        ({"Referer": "https://["}, "same-origin"),
        ({"Origin": "https://evil.example", "Referer": f"{FRIEND}/"}, "same-origin"),
        ({"Origin": "null", "Referer": f"{FRIEND}/"}, "same-origin"),
    ],
)
def test_a_friend_may_show_an_attachment(headers: dict[str, str], policy: str) -> None:
    """In an image, whose request has no origin; the pages of others may not (Fetch, CORP)."""
    storage = MemoryStorage()
    app = attachments(storage, Access(lambda *_: True, origins=[FRIEND]))
    handle = storage.add("a.png", b"data")
    answer = ask(app, "GET", handle, headers=headers)
    assert policy == answer.headers["Cross-Origin-Resource-Policy"]
    assert "Authorization, Cookie, Origin" == answer.headers["Vary"]
    etag = {"If-None-Match": answer.headers["ETag"]}
    assert policy == ask(app, "GET", handle, headers=headers | etag).headers[CORP]
    alone = attachments(storage, ANYBODY)
    assert "same-origin" == ask(alone, "GET", handle, headers=headers).headers[CORP]


def test_no_answer_that_depends_on_who_asks_is_stored_by_a_cache() -> None:
    """But for the bytes, which are asked for again each time."""
    storage = MemoryStorage(url="http://here")
    handle = storage.add("a.png", b"data")
    for app in (attachments(storage, ANYBODY), attachments(storage, Access(lambda *_: False))):
        for method, path in (
            ("GET", "/"),
            ("HEAD", "/"),
            ("GET", f"{handle}?link"),
            ("GET", f"{FOLDER}/none.txt"),
            ("GET", "/nothing"),
            ("PUT", "/"),
            ("POST", "/?name=a"),
            ("POST", "/links"),
            ("OPTIONS", "/tus/"),
            ("POST", "/tus/"),
            ("GET", "/s3/params?filename=a"),
            ("POST", "/sign"),
            ("GET", f"/signed{handle}?token=x"),
            ("POST", "/signed/"),
            ("DELETE", f"{FOLDER}/none.txt"),
        ):
            answer = ask(app, method, path)
            assert "no-store" == answer.headers["Cache-Control"], (method, path)
    removed = ask(attachments(storage, ANYBODY), "DELETE", handle)
    assert (204, "no-store") == (removed.status_code, removed.headers["Cache-Control"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "W/{etag}"}, 412),
        ({"If-None-Match": "{etag}"}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Unmodified-Since": "Mon, 23 Nov 2020 10:00:00 GMT"}, 412),
        ({"If-Match": "{etag}"}, 204),
        ({"If-Match": "*"}, 204),
        ({"If-None-Match": '"other"'}, 204),
        ({"If-Unmodified-Since": "{modified}"}, 204),
        ({"If-Modified-Since": "{modified}"}, 204),
    ],
)
def test_a_removal_may_depend_on_what_is_there(
    storage: Storage, headers: dict[str, str], status: int
) -> None:
    """What is not as the client expects it stays (RFC 9110, section 13)."""
    app = attachments(storage, ANYBODY)
    handle = storage.add("a.txt", b"data")
    known = ask(app, "HEAD", handle).headers
    given = {
        name: value.format(etag=known["etag"], modified=known["last-modified"])
        for name, value in headers.items()
    }
    answer = ask(app, "DELETE", handle, headers=given)
    assert (status, status == 412) == (answer.status_code, handle in storage)
    # A missing attachment is 404, with any condition (section 13.2.1).
    assert 404 == ask(app, "DELETE", f"{FOLDER}/a.txt", headers={"If-Match": "*"}).status_code


def test_what_others_stored_in_a_coding_is_the_same_here_and_by_a_link(
    s3: S3Storage, seaweedfs: SeaweedFS
) -> None:
    """A client decodes both; what was stored by us it decodes nowhere, though it may look so."""
    encoded = gzip.compress(b"content")
    app = attachments(s3, ANYBODY)
    foreign, ours = s3.reserve("a.txt"), s3.add("a.gz", encoded)
    s3_client(seaweedfs.endpoint, seaweedfs.access_key, seaweedfs.secret_key).put_object(
        Bucket=s3.bucket, Key=f"{s3.prefix}{foreign[1:]}", Body=encoded, ContentEncoding="gzip"
    )
    for handle, coding, content in ((foreign, "gzip", b"content"), (ours, None, encoded)):
        assert coding == s3.info(handle).content_encoding
        for inline in (False, True):
            linked = httpx.get(s3.download_link(handle, inline=inline).url)
            assert coding == normalize_coding(linked.headers.get("Content-Encoding"))
            assert content == linked.content
        served = ask(app, "GET", handle)
        assert (coding, content) == (served.headers.get("Content-Encoding"), served.content)
        assert encoded == s3.open(handle).read()


FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
FILE = (
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n%b\r\nx\r\n'
    b"--edge--\r\n"
)
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def doors(storage: MemoryStorage) -> dict[str, tuple[str, str, dict[str, str], bytes]]:
    """Return a request for each way in, which would succeed."""
    put = storage.upload_link(storage.reserve("a"), method="PUT")
    posted = storage.upload_link(storage.reserve("a"))
    begun = storage.uploads.create("a", size=1)
    fields = b"".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in posted.fields.items()
    )
    return {
        "body": ("POST", "/?name=a", {}, b"x"),
        "form": ("POST", "/", FORM, FILE % b""),
        "link": ("POST", "/links", {}, b'{"name": "a"}'),
        "tus": ("POST", "/tus/", {**TUS, "Upload-Length": "1"}, b""),
        "tus with a body": ("POST", "/tus/", {**PIECE, "Upload-Length": "1"}, b"x"),
        "tus, a piece": ("PATCH", f"/tus{begun.handle}", {**PIECE, "Upload-Offset": "0"}, b"x"),
        "signed PUT": ("PUT", put.url.removeprefix("http://here"), dict(put.headers), b"x"),
        "signed form": ("POST", posted.url.removeprefix("http://here"), FORM, fields + FILE % b""),
        "sign": ("POST", "/sign", {}, b'{"key": "a", "method": "PUT"}'),
    }


DOORS = [*doors(MemoryStorage(url="http://here"))]


@pytest.mark.parametrize("door", DOORS)
def test_what_is_sent_is_stored_as_it_is_or_refused(door: str) -> None:
    """At every door: no coding (415, with what is taken instead), no part of a whole, no damage."""
    storage = MemoryStorage(url="http://here")
    method, path, headers, body = doors(storage)[door]
    app = attachments(storage, ANYBODY)

    def send(**more: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return ask(app, method, path, headers={**headers, **named}, content=body)

    for coding in ("gzip", "identity, br"):
        encoded = send(Content_Encoding=coding)
        assert (415, "identity") == (encoded.status_code, encoded.headers["Accept-Encoding"])
        assert "unsupported-media-type" == encoded.json()["kind"]
    assert 400 == send(Content_Range="bytes 0-0/2").status_code
    damaged = f"sha-256=:{base64.b64encode(sha256(b'other').digest()).decode()}:"
    if body:
        assert send(Content_Digest=damaged).status_code in (400, 460)
        assert send(Repr_Digest=damaged).status_code in (400, 460)
    assert [] == list(storage)
    digest = f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"
    accepted = send(Content_Encoding="identity", Content_Digest=digest, Repr_Digest=digest)
    assert accepted.status_code in (200, 201, 204)


@pytest.mark.parametrize("door", [door for door in DOORS if "form" in door])
def test_a_file_in_a_form_is_stored_as_it_is_or_refused(door: str) -> None:
    """What its part says counts as what the request says."""
    storage = MemoryStorage(url="http://here")
    method, path, headers, body = doors(storage)[door]
    app = attachments(storage, ANYBODY)
    for line, status in ((b"Content-Encoding: br", 415), (b"Content-Range: bytes 0-0/2", 400)):
        content = body.replace(FILE % b"", FILE % (line + b"\r\n"))
        answer = ask(app, method, path, headers=headers, content=content)
        assert status == answer.status_code
        assert ("identity" if status == 415 else None) == answer.headers.get("Accept-Encoding")
    assert [] == list(storage)


def test_a_stranger_is_told_that_before_anything_else() -> None:
    """Not whether the service would take what it sends."""
    app = attachments(MemoryStorage(), Access(access_rule("bearer", Secret("key-of-a-program"))))
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Range": "bytes 0-0/1"}):
        for path in ("/?name=a", "/links", "/sign"):
            assert 401 == ask(app, "POST", path, headers=headers, content=b"x").status_code


def test_a_redirect_is_made_only_where_there_are_links() -> None:
    """Elsewhere the bytes are served."""
    storage = MemoryStorage()
    handle = storage.add("a.txt", b"data")
    app = attachments(storage, ANYBODY, Options(redirect=True))
    assert b"data" == ask(app, "GET", handle).content


def test_a_listing_looked_at_has_no_body() -> None:
    """HEAD is GET without content (RFC 9110, section 9.3.2), for problems too."""
    app = attachments(MemoryStorage(), ANYBODY)
    for path in ("/", "/nothing"):
        assert b"" == ask(app, "HEAD", path).content


def test_a_wish_for_a_link_that_stalls_is_cut() -> None:
    """As an upload is."""
    app = attachments(MemoryStorage(url="http://here"), ANYBODY, Options(stall_seconds=0.05))

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert 408 == ask(app, "POST", "/links", content=stuck()).status_code
