"""The addresses that the service gives, and whose pages it takes for its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from attach.web.test_app import ask
from rex.attach import get_storage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.explain import explain
from rex.attach.maintenance import diagnose
from rex.attach.web import Access, attachments
from rex.attach.web.cross_origin import MAX_PAIRS
from rex.core import Rex

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

TUS = {"Tus-Resumable": "1.0.0"}
ROOTS = {
    "https://example.org/files/attach": "/files/attach",
    "https://example.org/files/attach/": "/files/attach",
    "https://example.org/a%20b": "/a%20b",
    "https://example.org": "",
    "/files/attach": "/files/attach",
    "/": "",
}
"""The path at the beginning of every address, for values of attach_url."""


def service(public: str | None, **options: Any) -> ASGIApp:
    """Mount a service whose proxy removes the path that clients use."""
    storage = MemoryStorage(url=public) if public else MemoryStorage()
    access = Access(lambda *_: True, **options)
    return Starlette(routes=[Mount("/mounted", app=attachments(storage, access))])


@pytest.mark.parametrize("url", ROOTS)
def test_attach_url_comes_before_every_address(url: str) -> None:
    """Of attachments, pages of the list, uploads of tus, and the description."""
    app, root = service(url), ROOTS[url]

    def inner(address: str) -> str:
        assert address.startswith(f"{root}/"), address
        return f"/mounted{address.removeprefix(root)}"

    stored = ask(app, "POST", "/mounted/?name=a.txt", content=b"x")
    (one,) = stored.json()["attachments"]
    assert stored.headers["Location"] == one["url"]
    assert b"x" == ask(app, "GET", inner(one["url"])).content
    ask(app, "POST", "/mounted/?name=b.txt", content=b"y")
    listed = ask(app, "GET", "/mounted/?limit=1").json()
    (second,) = ask(app, "GET", inner(listed["next"])).json()["attachments"]
    pair = [listed["attachments"][0]["url"], second["url"]]
    assert {b"x", b"y"} == {ask(app, "GET", inner(address)).content for address in pair}
    assert [{"url": root or "/"}] == ask(app, "GET", "/mounted/openapi.json").json()["servers"]


@pytest.mark.parametrize("url", ROOTS)
def test_uploads_of_tus_are_joined_by_the_addresses_that_were_given(url: str) -> None:
    """Completed by the client, and with another encoding than ours."""
    app, root = service(url), ROOTS[url]
    sent = {"Content-Type": "application/offset+octet-stream", "Upload-Length": "1"}
    parts = []
    for content in (b"a", b"b"):
        headers = {**TUS, **sent, "Upload-Concat": "partial"}
        made = ask(app, "POST", "/mounted/tus/", headers=headers, content=content)
        assert made.headers["Location"].startswith(f"{root}/tus/20")
        parts.append(made.headers["Location"])
    parts = [f"https://example.org{parts[0]}", parts[1].replace("a%20b", "%61%20b")]
    joined = ask(
        app, "POST", "/mounted/tus/", headers={**TUS, "Upload-Concat": f"final;{' '.join(parts)}"}
    )
    assert 201 == joined.status_code, joined.text
    assert joined.headers["Location"].startswith(f"{root}/tus/20")
    assert joined.headers["Content-Location"].startswith(f"{root}/20")
    path = joined.headers["Content-Location"].removeprefix(root)
    assert b"ab" == ask(app, "GET", f"/mounted{path}").content


@pytest.mark.parametrize(
    ("url", "origin", "allowed"),
    [
        ("https://example.org/attach", "https://example.org", True),
        ("https://Example.org:443/attach", "https://example.org", True),
        ("https://bücher.example/attach", "https://xn--bcher-kva.example", True),
        ("https://example.org/attach", "http://here", True),
        ("https://example.org/attach", "http://example.org", False),
        ("https://example.org/attach", "https://example.org:8443", False),
        ("https://example.org/attach", "https://example.org.evil.example", False),
        ("https://example.org/attach", "null", False),
        ("https://example.org/attach", "https://example.org, https://example.org", False),
        ("/attach", "http://here", True),
        ("/attach", "https://here", False),
        ("/attach", "http://", False),
        ("/attach", "", False),
    ],
)
def test_the_origin_of_attach_url_is_our_own(url: str, origin: str, *, allowed: bool) -> None:
    """Beside that of the request; for a path, it is that of the request alone."""
    answer = ask(service(url), "POST", "/mounted/?name=a", headers={"Origin": origin}, content=b"")
    assert (201 if allowed else 403) == answer.status_code


def test_the_access_of_other_routes_knows_attach_url() -> None:
    """By its argument, as with `access_of`."""
    app = service(None, url="https://example.org/attach")
    headers = {"Origin": "https://example.org"}
    assert 201 == ask(app, "POST", "/mounted/?name=a", headers=headers, content=b"").status_code


def refused(origin: str, app: ASGIApp | None = None) -> str:
    """Return why a page may not upload."""
    app = app or service(None)
    headers = {b"Origin": origin.encode("latin-1")}
    answer = ask(app, "POST", "/mounted/?name=a", headers=headers, content=b"")
    assert 403 == answer.status_code
    return str(answer.json()["detail"])


@pytest.mark.wording
def test_the_refusal_says_what_to_set_behind_a_proxy() -> None:
    """Which is another header where only the scheme differs."""
    told = refused("http://files.example")
    assert "set attach_url to http://files.example/mounted or let the proxy send Host" in told
    told = refused("https://here")
    assert "set attach_url to https://here/mounted or let the proxy send X-Forwarded-Proto" in told
    assert "attach_url" not in refused("null")


@pytest.fixture
def new_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the log, as of a process that has just begun."""
    monkeypatch.setattr("rex.attach.web.cross_origin._seen._pairs", set())
    return caplog


def test_each_pair_of_origins_is_logged_once(new_log: pytest.LogCaptureFixture) -> None:
    """A client that invents origins fills neither the log nor the memory."""
    for _ in range(2):
        refused("http://files.example")
    (record,) = new_log.records
    assert ("WARNING", "rex.attach") == (record.levelname, record.name)
    assert "http://files.example" in record.getMessage()
    app = service(None)
    for number in range(2 * MAX_PAIRS):
        refused(f"http://{number}.example", app)
    assert MAX_PAIRS == len(new_log.records)


@pytest.mark.parametrize("origin", ["http://a\x1b[31m\xa0", "x" * 100_000, "%s%n{0}"])
def test_a_hostile_origin_is_one_short_line(origin: str, new_log: pytest.LogCaptureFixture) -> None:
    """Whatever it holds."""
    refused(origin)
    (line,) = new_log.messages
    assert line.isprintable()
    assert len(line) < 1000


def test_a_path_makes_links_that_are_paths(tmp_path: Path) -> None:
    """Which the browser completes, the service answers, and `explain` reads."""
    settings: dict[str, Any] = {
        "attach_dir": tmp_path,
        "attach_access": "public",
        "attach_url": "/attach",
    }
    with Rex("rex.attach", **settings) as rex:
        stored = ask(rex, "POST", "/attach/?name=a.txt", content=b"x").json()["attachments"][0]
        link = ask(rex, "GET", f"{stored['url']}?link").json()
        assert link["url"].startswith("/attach/signed/20")
        assert b"x" == ask(rex, "GET", link["url"]).content
        storage = get_storage()
        assert [] == [reason.code for reason in explain(link["url"], storage=storage).reasons]
        checks = {check.step: check.code for check in diagnose(storage)}
        assert "relative-url" == checks["get link"]
        wanted = {"key": "b.txt", "method": "PUT"}
        signed = ask(rex, "POST", "/attach/sign", json=wanted).json()
        assert signed["url"].startswith("http://here/attach/sign")
