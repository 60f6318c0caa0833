"""The server side of the page of the demo: what it answers, and to whom."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from rex.attach import get_storage, open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach_demo import page
from rex.attach_demo.files import Files
from rex.core import Error, Kind, Rex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from rex.attach.web.access import Action
    from rex.attach_demo.azurite import Azurite

HOST = "http://here"


class Client:
    """Asks an application."""

    def __init__(self, rex: Rex) -> None:
        self._transport = httpx.ASGITransport(rex, root_path="")

    def get(self, path: str = "", **request: Any) -> httpx.Response:
        """Ask for a part of the page."""
        return self.ask("GET", path, **request)

    def ask(
        self, method: str, path: str = "", at: str = "/attach_demo/", **request: Any
    ) -> httpx.Response:
        """Make a request."""

        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=HOST) as client:
                return await client.request(method, at + path, **request)

        return asyncio.run(asked())


@pytest.fixture
def make_client(tmp_path: Path) -> Callable[..., Client]:
    """Give a function that makes a client of an application with some settings."""

    def make(**settings: Any) -> Client:
        given = {"attach_dir": tmp_path / "files", "attach_access": "public", **settings}
        return Client(Rex("rex.attach_demo", **given))

    return make


def test_the_page_is_for_those_who_may_list(make_client: Callable[..., Client]) -> None:
    """Nobody, as the service, unless a setting says otherwise."""
    client = make_client(attach_access="none")
    for path in ("", "files"):
        assert 403 == client.get(path).status_code
    assert 403 == client.ask("POST", files={"file": ("a.txt", b"content")}).status_code
    assert client.get("static/main.js").is_success
    keyed = make_client(attach_access="bearer", attach_access_keys="key-of-a-program")
    assert keyed.get(headers={"Authorization": "Bearer key-of-a-program"}).is_success


def test_a_form_of_another_site_is_refused(make_client: Callable[..., Client]) -> None:
    """As everywhere in the service."""
    client = make_client()
    form = {"file": ("a.txt", b"content")}
    answer = client.ask("POST", headers={"Origin": "https://elsewhere.example"}, files=form)
    assert (403, "denied") == (answer.status_code, answer.json()["kind"])
    assert 201 == client.ask("POST", headers={"Origin": HOST}, files=form).status_code
    assert 1 == client.get("files").json()["total"]


@pytest.mark.parametrize(
    ("url", "service"),
    [("", "../attach"), ("https://files.example/our%20files/", "/our%20files")],
)
def test_the_response_to_a_form_links_to_what_was_stored(
    make_client: Callable[..., Client], url: str, service: str
) -> None:
    """For browsers without JavaScript, also where the path of the service has escapes."""
    client = make_client(**{"attach_url": url} if url else {})
    answer = client.ask("POST", files={"file": ("a <b>.txt", b"content")})
    (file,) = client.get("files").json()["files"]
    address = f"{service}{quote(file['handle'])}"
    assert f'<a href="{address}">{escape(file["name"])}</a>' in answer.text


def date(directory: Path, handles: list[str]) -> None:
    """Date attachments a second after each other: the times of some systems are coarse."""
    for second, handle in enumerate(handles):
        os.utime(directory / handle[1:], (second, second))


def test_the_list_is_sorted_by_the_database(
    make_client: Callable[..., Client], tmp_path: Path
) -> None:
    """A page of it, of a name, in an order, and how many there are."""
    client = make_client()
    with Rex("rex.attach", attach_dir=tmp_path / "files"):
        handles = [get_storage().add(f"{number}.txt", b"x" * number) for number in range(60)]
    date(tmp_path / "files", handles)
    found = client.get("files").json()
    assert (60, page.PAGE_SIZE) == (found["total"], len(found["files"]))
    assert handles[:-51:-1] == [file["handle"] for file in found["files"]]
    assert {"handle", "name", "size", "content_type", "modified"} == found["files"][0].keys()
    more = client.get("files", params={"limit": 100}).json()["files"]
    assert handles[::-1] == [file["handle"] for file in more]
    one = client.get("files", params={"limit": 1, "q": "5"}).json()
    assert (handles[59], 15) == (one["files"][0]["handle"], one["total"])
    first = {
        order: client.get("files", params={"limit": 1, "sort": order}).json()["files"][0]["name"]
        for order in page.SORTS
    }
    assert first == {
        "-date": "59.txt",
        "date": "0.txt",
        "name": "0.txt",
        "-name": "9.txt",
        "-size": "59.txt",
        "size": "0.txt",
    }
    assert 400 == client.get("files", params={"sort": "id; drop table files"}).status_code
    for wrong in ("-1", "x", "9" * 5000, "²"):
        assert found == client.get("files", params={"limit": wrong}).json()


def test_a_name_is_found_however_it_is_written(
    make_client: Callable[..., Client], tmp_path: Path
) -> None:
    """In capitals, or with accents of their own, as some systems write them."""
    client = make_client()
    with Rex("rex.attach", attach_dir=tmp_path / "files"):
        get_storage().add("Größe.txt", b"x")
    for wanted in ("größe", "GRÖSSE", "gro\u0308"):
        assert 1 == client.get("files", params={"q": wanted}).json()["total"]
    for wanted in ("%", "_", "\\", "'"):
        assert 0 == client.get("files", params={"q": wanted}).json()["total"]


def test_what_was_removed_is_in_no_list(
    make_client: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is removed while the list is made."""
    client = make_client()
    with Rex("rex.attach", attach_dir=tmp_path / "files"):
        storage = get_storage()
        kept, removed = storage.add("kept.txt", b"x"), storage.add("removed.txt", b"x")
    list_all = LocalStorage._list

    def slow(self: LocalStorage, *given: Any) -> list[str]:
        found = [*list_all(self, *given)]
        if removed in storage:
            storage.remove(removed)
        return found

    monkeypatch.setattr(LocalStorage, "_list", slow)
    for _ in range(2):
        assert [kept] == [file["handle"] for file in client.get("files").json()["files"]]


def by_name(request: Request) -> str | None:
    """Return the user that a header names."""
    return request.headers.get("x-user")


def not_bob(user: object, action: Action, handle: str | None) -> bool:  # noqa: ARG001 - a rule
    """Allow everything, except that Bob may not remove."""
    return (user, action) != ("bob", "remove")


def claim(client: Client, claimed: str, user: str = "") -> list[str]:
    """Claim an upload as a user; return the codes of the refusals."""
    headers = {"X-User": user} if user else {}
    answer = client.ask("POST", "files", json={"claims": [claimed]}, headers=headers)
    return [refusal["kind"] for refusal in answer.json()["refused"]]


def test_an_upload_of_another_user_cannot_be_claimed(
    make_client: Callable[..., Client], tmp_path: Path
) -> None:
    """Neither by its handle nor by its receipt; its owner may claim it again and again."""
    client = make_client(attach_user=by_name)
    with Rex("rex.attach", attach_dir=tmp_path / "files"):
        storage = get_storage()
        assert client.get("files").json()["total"] == 0  # the database is there
        unowned = storage.add("unowned.txt", b"x")
        handle = storage.reserve("a.txt", owner="ann")
        receipt = storage.receipt(handle, owner="ann", max_size=7)
        assert ["not-found"] == claim(client, receipt, "ann")
        storage.put(handle, b"content")
    for claimed in (handle, receipt):
        for user in ("bob", ""):
            assert ["denied"] == claim(client, claimed, user)
    assert ["denied"] == claim(client, unowned, "bob")
    assert 0 == client.get("files").json()["total"]
    for claimed in (receipt, handle, receipt):
        assert [] == claim(client, claimed, "ann")
    assert [handle] == [file["handle"] for file in client.get("files").json()["files"]]


def test_only_what_is_claimed_is_listed(make_client: Callable[..., Client]) -> None:
    """An upload of another client is stored; without users, whoever knows its handle claims it."""
    client = make_client()
    assert 0 == client.get("files").json()["total"]
    sent = client.ask("POST", "?name=a.txt", at="/attach/", content=b"content")
    (stored,) = sent.json()["attachments"]
    assert 0 == client.get("files").json()["total"]
    assert [] == claim(client, stored["handle"])
    assert 1 == client.get("files").json()["total"]
    assert ["ill-formed"] == claim(client, "/2026/../etc/passwd")
    assert ["denied"] == claim(client, "no receipt")
    malformed: list[Any] = [[], {"claims": "x"}, {"claims": [1]}]
    for wrong in malformed:
        assert 400 == client.ask("POST", "files", json=wrong).status_code
    assert 413 == client.ask("POST", "files", json={"claims": ["x"] * 101}).status_code


def test_a_removal_takes_the_row_and_then_the_file(
    make_client: Callable[..., Client], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a file that is refused to the user, neither; what is gone is no error."""
    client = make_client(attach_user=by_name, attach_access=not_bob)
    with Rex("rex.attach", attach_dir=tmp_path / "files"):
        storage = get_storage()
        handle, other = storage.add("a.txt", b"x"), storage.add("b.txt", b"x")
        assert 2 == client.get("files").json()["total"]
        wanted = {"handles": [handle]}
        answer = client.ask("DELETE", "files", json=wanted, headers={"X-User": "bob"})
        assert (403, True) == (answer.status_code, handle in storage)
        for removed in ([handle], []):
            assert {"removed": removed} == client.ask("DELETE", "files", json=wanted).json()
            assert handle not in storage
        storage.remove(other)  # another program does
        answer = client.ask("DELETE", "files", json={"handles": [other]})
        assert {"removed": [other]} == answer.json()
    assert 0 == client.get("files").json()["total"]
    assert not caplog.records


def test_a_new_database_gets_what_the_storage_has(tmp_path: Path) -> None:
    """Once, however many workers begin; a path that cannot be used is named."""
    (tmp_path / "files").mkdir()
    with open_storage(tmp_path / "files") as storage:
        handles = [storage.add("a.txt", b"a"), storage.add("b.txt", b"b")]
        date(tmp_path / "files", handles)
        path = str(tmp_path / "list.db")
        with ThreadPoolExecutor(4) as threads:
            workers = [*threads.map(lambda _: Files(path, storage), range(4))]
        storage.add("c.txt", b"of another program")
        for files in (*workers, Files(path, storage)):
            listed, total = files.find("", "date", 9)
            assert (handles, 2) == ([file["handle"] for file in listed], total)
        with pytest.raises(Error, match="attach_demo_database") as caught:
            Files(str(tmp_path / "none" / "list.db"), storage)
        assert Kind.CONFIGURATION is caught.value.kind


def test_names_cannot_break_what_is_told_of_a_form(make_client: Callable[..., Client]) -> None:
    """What cannot stand in a name is gone already; the rest is text."""
    client = make_client()
    answer = client.ask("POST", files={"file": ("a&lt;b&gt; 'c' %s.txt", b"content")})
    assert "&amp;lt;b&amp;gt; &#x27;c&#x27; %s.txt</a>" in answer.text
    assert "%26lt%3Bb%26gt%3B%20%27c%27%20%25s.txt" in answer.text


def test_the_page_is_told_the_limit(make_client: Callable[..., Client]) -> None:
    """For its script, and for people without."""
    text = make_client(attach_max_size="5MB").get().text
    assert 'data-max-size="5000000"' in text
    assert "Maximum file size: 5,000,000 bytes." in text


def test_the_page_has_a_slash_at_its_end(make_client: Callable[..., Client]) -> None:
    """Its own addresses count on it; and nobody is sent to a host that a request names."""
    client = make_client()
    answer = client.ask("GET", at="/attach_demo", headers={"Host": "evil.example"})
    assert (307, "attach_demo/") == (answer.status_code, answer.headers["location"])
    for path in ("files/", "static"):
        assert 404 == client.get(path, headers={"Host": "evil.example"}).status_code


def test_every_answer_has_the_policy(make_client: Callable[..., Client]) -> None:
    """Also files of the page and errors."""
    client = make_client()
    for path in ("", "files", "static/main.js", "static/none.js", "none"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src")
        assert "nosniff" == headers["x-content-type-options"]
        assert "no-cache" == headers["cache-control"]


def test_only_the_server_of_the_files_is_permitted(make_client: Callable[..., Client]) -> None:
    """None, where the service has them."""
    assert "http" not in make_client().get().headers["content-security-policy"]
    url = "https://example.org/attach"
    assert "http" not in make_client(attach_url=url).get().headers["content-security-policy"]


def test_no_server_is_permitted_while_only_the_older_storage_has_links() -> None:
    """Files are sent to the storage that attachments move into, by the service."""
    older = MemoryStorage(url="http://older")
    with FallbackStorage(MemoryStorage(), older) as storage:
        assert page._server_of(storage) is None


def test_no_server_is_named_where_it_has_no_links_for_parts(
    azurite: Azurite, tmp_path: Path
) -> None:
    """The page then sends files by tus, which needs fewer requests than parts by the service."""
    given = {"attach_demo_database": tmp_path / "list.db", **azurite.settings()}
    rex = Rex("rex.attach_demo", attach_access="public", **given)
    assert 'data-server=""' in Client(rex).get().text
