"""Resumable uploads of the IETF beside their protocol: owners, hooks, rivals, hostile clients."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import io
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from attach.web.test_wsgi import asked, environ
from attach.web.uploaders import Page
from rex.attach import open_storage
from rex.attach.maintenance import sweep
from rex.attach.web import Access, attachments
from rex.attach.web.wsgi import WSGIApp
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from rex.attach import Storage

TYPE = {"Content-Type": "application/partial-upload"}
BEGIN = {"Upload-Complete": "?0", "Content-Disposition": 'inline; filename="a.txt"'}


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Return a storage in memory."""
    with open_storage("memory:", secret="a secret of 16 characters") as storage:
        yield storage


def begin(page: Page, content: bytes = b"", **headers: str) -> str:
    """Begin an upload; return its path."""
    answer = page.ask("POST", "/", headers={**BEGIN, **headers}, content=content)
    assert 201 == answer.status_code, answer.text
    path: str = answer.headers["Location"]
    return path


def append(page: Page, path: str, offset: int, content: bytes, complete: str) -> httpx.Response:
    """Send content of an upload."""
    headers = {**TYPE, "Upload-Offset": str(offset), "Upload-Complete": complete}
    return page.ask("PATCH", path, headers=headers, content=content)


def test_what_is_stored_is_that_of_a_post(storage: Storage) -> None:
    """Name, type, bytes, and the last response."""
    page = Page(storage)
    headers = {
        "Content-Type": "text/x-row",
        "Content-Disposition": "inline; filename*=UTF-8''%C3%A4",
    }
    posted = page.ask("POST", "/", headers=headers, content=b"hello world")
    path = begin(page, b"hello ", **headers)
    last = append(page, path, 6, b"world", "?1")
    found = [each.json()["attachments"][0] for each in (posted, last)]
    first, second = (
        {k: v for k, v in each.items() if k not in ("handle", "url")} for each in found
    )
    assert first == second
    assert {"name": "ä", "size": 11, "content_type": "text/x-row"} == first
    assert found[1]["url"] == last.headers["Location"]
    assert b"hello world" == storage.open(found[1]["handle"]).read()


def test_an_upload_belongs_to_its_user(storage: Storage) -> None:
    """Another user can neither see nor continue nor cancel it."""
    ann, bob = Page(storage, "ann"), Page(storage, "bob")
    path = begin(ann, b"hello ")
    for method in ("HEAD", "GET", "DELETE"):
        assert 403 == bob.ask(method, path).status_code
    assert 403 == append(bob, path, 6, b"world", "?1").status_code
    assert "6" == ann.ask("HEAD", path).headers["Upload-Offset"]


def test_the_words_of_the_application_come_from_the_resource_that_was_targeted() -> None:
    """Upload-Complete is true, so that the client does not resume what was refused."""

    def refuse(_: object) -> None:
        raise Error("No, thank you", kind=Kind.REFUSED)

    with open_storage("memory:", on_complete=refuse) as storage:
        page = Page(storage)
        answer = append(page, begin(page, b"hello "), 6, b"world", "?1")
        assert (422, "?1") == (answer.status_code, answer.headers["Upload-Complete"])
        assert "No, thank you" == answer.json()["detail"]
        assert [] == list(storage)


def test_an_upload_is_swept_once_it_has_expired(tmp_path: Path) -> None:
    """As one of tus is."""
    with open_storage(tmp_path) as storage:
        storage.upload_expires = 0
        path = begin(Page(storage))
        assert 404 == Page(storage).ask("HEAD", path).status_code
        assert [*sweep(storage, delete=True, grace=60, now=later(120))]
        assert [] == list(storage.uploads.list())


def later(seconds: float) -> datetime.datetime:
    """Return a time in the future."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


class Rivals:
    """Two clients of one service in one event loop."""

    def __init__(self, storage: Storage) -> None:
        self._app = attachments(storage, Access(lambda *_: True))
        self.arrived = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Make a request."""
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **request)

    async def stalling(self) -> AsyncIterator[bytes]:
        """Send some bytes, then wait."""
        yield b"x" * 1000
        self.arrived.set()
        await self.goes_on.wait()
        yield b"y" * 1000


@pytest.mark.parametrize("rival", ["PATCH", "HEAD", "DELETE"])
def test_a_new_request_ends_a_running_append(storage: Storage, rival: str) -> None:
    """Its bytes count once, and it is told (section 4.6); offsets that were told can be used."""

    async def race() -> None:
        both = Rivals(storage)
        path = (await both.ask("POST", "/", headers=BEGIN)).headers["Location"]
        headers = {**TYPE, "Upload-Offset": "0", "Upload-Complete": "?1"}
        first = asyncio.create_task(
            both.ask("PATCH", path, headers=headers, content=both.stalling())
        )
        await both.arrived.wait()
        if rival == "PATCH":
            second = await both.ask("PATCH", path, headers=headers, content=b"z" * 10)
            offset = int(second.headers["Upload-Offset"])
            assert second.status_code == (409 if offset == 1000 else 201)
        elif rival == "HEAD":
            told = (await both.ask("HEAD", path)).headers["Upload-Offset"]
            rest = {**headers, "Upload-Offset": told}
            assert 201 == (await both.ask("PATCH", path, headers=rest, content=b"z")).status_code
        else:
            assert 204 == (await both.ask("DELETE", path)).status_code
            assert 404 == (await both.ask("HEAD", path)).status_code
        both.goes_on.set()
        lost = await first
        assert (409, "?0") == (lost.status_code, lost.headers["Upload-Complete"])

    asyncio.run(race())
    assert all(b"y" not in storage.open(handle).read() for handle in storage)


def test_a_creation_that_breaks_off_leaves_nothing(storage: Storage) -> None:
    """Its client does not know the URL of the upload."""

    async def leave() -> None:
        both = Rivals(storage)
        begun = asyncio.create_task(both.ask("POST", "/", headers=BEGIN, content=both.stalling()))
        await both.arrived.wait()
        assert 1 == len([*storage.uploads.list()])
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)

    asyncio.run(leave())
    assert ([], []) == ([*storage], [*storage.uploads.list()])


def test_many_small_appends_are_one_attachment(tmp_path: Path) -> None:
    """Byte by byte, each of them durable, and nothing else is left."""
    data = bytes(range(100))
    with open_storage(tmp_path) as storage:
        page = Page(storage)
        path = begin(page)
        for offset in range(len(data)):
            assert 204 == append(page, path, offset, data[offset : offset + 1], "?0").status_code
        assert 201 == append(page, path, len(data), b"", "?1").status_code
        (handle,) = storage
        assert data == storage.open(handle).read()
        assert [] == list(storage.uploads.list())
        assert 1 == sum(each.is_file() for each in tmp_path.rglob("*") if handle[1:5] in str(each))


def test_pages_of_other_sites_may_use_the_protocol(storage: Storage) -> None:
    """The preflight allows its methods and headers; its response headers are readable."""
    access = Access(lambda *_: True, origins=["http://there"])
    page = Page(storage, access=access)
    asked_for = {"Origin": "http://there", "Access-Control-Request-Headers": "upload-complete"}
    path = begin(page, b"x", **asked_for)
    for place, method in (("/", "POST"), (path, "PATCH"), (path, "HEAD"), (path, "DELETE")):
        allowed = page.ask("OPTIONS", place, headers=asked_for).headers
        assert method in allowed["Access-Control-Allow-Methods"]
        assert "upload-complete" in allowed["Access-Control-Allow-Headers"]
        assert "min-size=0" == allowed["Upload-Limit"]
    exposed = page.ask("HEAD", path, headers=asked_for).headers["Access-Control-Expose-Headers"]
    assert {"Upload-Complete", "Upload-Limit", "Upload-Offset", "Upload-Length", "Location"} <= {
        *exposed.split(", ")
    }


@pytest.mark.parametrize(
    ("version", "protocol", "is_sent"),
    [("9", "HTTP/1.1", True), ("3", "HTTP/1.1", True), ("10", "HTTP/1.1", False),
     ("", "HTTP/1.1", False), ("9", "HTTP/1.0", False)],
)  # fmt: skip
def test_a_server_of_wsgi_announces_the_upload(
    storage: Storage,
    version: str,
    protocol: str,
    is_sent: bool,  # noqa: FBT001 - a column
) -> None:
    """104 with Location, limits and version, if that of the client is known (4.2.2, 5)."""
    name = "INCOMPLETE" if version == "3" else "COMPLETE"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        more = {
            f"HTTP_UPLOAD_{name}": "?0" if version == "3" else "?1",
            "HTTP_UPLOAD_DRAFT_INTEROP_VERSION": version,
            "SERVER_PROTOCOL": protocol,
            "gunicorn.socket": ours,
        }
        made = environ("POST", "/?name=a.txt", b"hello", **more)
        app = WSGIApp(attachments(storage, Access(lambda *_: True)))
        status, headers, _ = asked(app, made)
        ours.close()
        interim = theirs.makefile("rb").read().decode()
    assert "201 Created" == status
    (handle,) = storage
    lines = interim.split("\r\n")
    assert is_sent == (lines[0] == "HTTP/1.1 104 Upload Resumption Supported")
    if is_sent:
        assert ["", ""] == lines[-2:]
        assert f"Location: /uploads{handle}" in lines
        assert f"Upload-Draft-Interop-Version: {version}" in lines
        assert any(line.startswith("Upload-Limit: max-age=") for line in lines)
    else:
        assert "" == interim
    assert handle == headers["location"]


@pytest.mark.parametrize("header", ["X_FORWARDED_FOR", "X_FORWARDED_PROTO", "FORWARDED", "VIA"])
def test_a_proxy_gets_no_announcement(storage: Storage, header: str) -> None:
    """It may take that for the last response, which breaks an upload over HTTP/2."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        more = {
            "HTTP_UPLOAD_COMPLETE": "?1",
            "HTTP_UPLOAD_DRAFT_INTEROP_VERSION": "8",
            "gunicorn.socket": ours,
            f"HTTP_{header}": "192.0.2.1",
        }
        app = WSGIApp(attachments(storage, Access(lambda *_: True)))
        status, headers, _ = asked(app, environ("POST", "/?name=a.txt", b"hello", **more))
        ours.close()
        assert b"" == theirs.recv(10_000)
    assert ("201 Created", "?1") == (status, headers["upload-complete"])


@pytest.mark.parametrize(
    ("most", "digest", "content"),
    [(1024, True, b"world"), (10, False, b"worldworld")],
    ids=["of content with a digest", "of the storage"],
)
def test_content_over_another_limit_leaves_the_upload(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    digest: bool,  # noqa: FBT001 - a column
    content: bytes,
) -> None:
    """Only content beyond the length of an upload makes it invalid; what arrived before stays."""
    monkeypatch.setattr("rex.attach.web.checksum.MAX_BYTES", 4)
    storage.max_size = most
    page = Page(storage)
    path = begin(page, b"hello ")
    headers = {**TYPE, "Upload-Offset": "6", "Upload-Complete": "?1"}
    if digest:
        found = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers |= {"Content-Digest": f"sha-256=:{found}:"}
    refused = page.ask("PATCH", path, headers=headers, content=content)
    assert (413, "too-large") == (refused.status_code, refused.json()["type"])
    assert "6" == page.ask("HEAD", path).headers["Upload-Offset"]


@pytest.mark.parametrize("version", ["3", "6", "8"])
def test_a_whole_file_is_all_or_nothing_where_its_client_cannot_resume(version: str) -> None:
    """If the application fails, nothing stays that neither side knows."""

    def fail(_: object) -> None:
        raise RuntimeError("the database is away")

    headers = {"Upload-Complete": "?1", "Upload-Draft-Interop-Version": version}
    if version == "3":
        headers["Upload-Incomplete"] = "?0"
        del headers["Upload-Complete"]
    with open_storage("memory:", on_complete=fail) as storage:
        answer = Page(storage).ask("POST", "/?name=a.txt", headers=headers, content=b"hello")
        assert (500, [], []) == (answer.status_code, [*storage], [*storage.uploads.list()])


def test_an_upload_that_was_announced_survives_a_broken_connection(storage: Storage) -> None:
    """What arrived counts, and the client continues (section 4.2.2)."""
    ours, theirs = socket.socketpair()
    app = WSGIApp(attachments(storage, Access(lambda *_: True)))
    with ours, theirs:
        more = {
            "HTTP_UPLOAD_COMPLETE": "?1",
            "HTTP_UPLOAD_DRAFT_INTEROP_VERSION": "8",
            "gunicorn.socket": ours,
            "CONTENT_LENGTH": "11",
        }
        status, _, _ = asked(app, environ("POST", "/?name=a.txt", io.BytesIO(b"hello "), **more))
        assert "400 Bad Request" == status
        interim = theirs.recv(10_000).decode()
    path = interim.partition("Location: ")[2].partition("\r\n")[0]
    _, headers, _ = asked(app, environ("HEAD", path))
    assert ("6", "?0", "11") == tuple(
        headers[f"upload-{name}"] for name in ("offset", "complete", "length")
    )
    more = {
        "HTTP_UPLOAD_COMPLETE": "?1",
        "HTTP_UPLOAD_OFFSET": "6",
        "CONTENT_TYPE": TYPE["Content-Type"],
    }
    assert "201 Created" == asked(app, environ("PATCH", path, b"world", **more))[0]
    (handle,) = storage
    assert b"hello world" == storage.open(handle).read()


def announced(storage: Storage, content: bytes, **headers: str) -> tuple[str, dict[str, str], str]:
    """Begin an upload at a server of WSGI; return status, headers and the interim response."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        more = {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": "9", "gunicorn.socket": ours, **headers}
        app = WSGIApp(attachments(storage, Access(lambda *_: True)))
        status, found, _ = asked(app, environ("POST", "/?name=a.txt", content, **more))
        ours.close()
        return status, found, theirs.makefile("rb").read().decode()


def test_every_response_to_a_creation_names_the_same_upload(storage: Storage) -> None:
    """The interim one and the last one (4.2.2)."""
    status, headers, interim = announced(storage, b"hello ", HTTP_UPLOAD_COMPLETE="?0")
    assert "201 Created" == status
    assert f"\r\nLocation: {headers['location']}\r\n" in interim
    assert headers["location"].startswith("/uploads/")


def test_an_upload_that_was_announced_is_not_that_of_another_digest(storage: Storage) -> None:
    """All bytes have arrived, so that resuming would not help: nothing is left."""
    digest = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"
    status, headers, interim = announced(
        storage, b"hello", HTTP_UPLOAD_COMPLETE="?1", HTTP_REPR_DIGEST=digest
    )
    assert ("400 Bad Request", "?0") == (status, headers["upload-complete"])
    assert interim.startswith("HTTP/1.1 104 ")
    assert ([], []) == ([*storage], [*storage.uploads.list()])


def test_an_offset_is_not_told_while_another_process_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would grow (4.6); once that has ended, the offset that is told is accepted."""
    monkeypatch.setattr("rex.attach.web.transfers.INTERRUPT_SECONDS", 0)

    async def act(one: Rivals, other: Rivals) -> None:
        path = (await one.ask("POST", "/", headers=BEGIN)).headers["Location"]
        headers = {**TYPE, "Upload-Offset": "0", "Upload-Complete": "?1"}
        first = asyncio.create_task(one.ask("PATCH", path, headers=headers, content=one.stalling()))
        await one.arrived.wait()
        for method in ("HEAD", "PATCH", "DELETE"):
            sent = {**headers, "Upload-Offset": "9"} if method == "PATCH" else {}
            answer = await other.ask(method, path, headers=sent)
            assert (423, "1") == (answer.status_code, answer.headers["Retry-After"])
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        told = (await other.ask("HEAD", path)).headers["Upload-Offset"]
        assert "1000" == told
        answer = await other.ask("PATCH", path, headers={**headers, "Upload-Offset": told})
        assert 201 == answer.status_code

    with open_storage(tmp_path) as one, open_storage(tmp_path) as other:
        asyncio.run(act(Rivals(one), Rivals(other)))
        (handle,) = other
        assert b"x" * 1000 == other.open(handle).read()
