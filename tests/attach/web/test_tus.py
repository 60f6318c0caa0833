"""The tus protocol through ASGI, over every kind of storage."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import os
import threading
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from attach.web.sent import Sent
from attach.web.tus_client import FOLDER, PIECE, VERSION, Client, encoded
from attach.web.tus_rows import checksum
from programs import PATIENCE
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.maintenance import sweep
from rex.attach.web import Access
from rex.attach.web.access import access_rule
from rex.attach.web.checksum import Room
from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.storage.resumable import Upload

ORIGIN = "https://page.example"


@pytest.fixture
def client(storage: Storage) -> Client:
    """Give a client of the service over each kind of storage."""
    return Client(storage)


@pytest.fixture
def memory() -> Client:
    """Give a client of the service over memory: for what has nothing to do with the storage."""
    return Client(MemoryStorage(max_size=1000))


def told(answer: httpx.Response) -> tuple[int, str]:
    """Give the status, and the kind of the problem; every answer names its version."""
    assert "1.0.0" == answer.headers["Tus-Resumable"]
    kind = answer.json()["kind"] if answer.content else ""
    return answer.status_code, kind


# The core of the protocol.


def test_an_upload_in_pieces_becomes_an_attachment(client: Client) -> None:
    """Its address is that of the attachment below ``/tus``, known from the beginning."""
    metadata = f"filename {encoded('größe 中文.png')},filetype {encoded('image/x-scan')},flag"
    begun = client.ask("POST", headers={"Upload-Length": "11", "Upload-Metadata": metadata})
    path = begun.headers["Location"]
    assert (201, "") == told(begun)
    assert parsedate_to_datetime(begun.headers["Upload-Expires"]) > datetime.datetime.now(
        datetime.UTC
    )
    looked = client.ask("HEAD", path)
    assert (200, "") == told(looked)
    assert ("0", "11", metadata, begun.headers["Upload-Expires"]) == tuple(
        looked.headers[name]
        for name in ("Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires")
    )
    assert 404 == client.ask("GET", path.removeprefix("/tus")).status_code
    first = client.patch(path, 0, b"hello ")
    assert (204, "", "6") == (*told(first), first.headers["Upload-Offset"])
    assert first.headers["Upload-Expires"] == begun.headers["Upload-Expires"]
    last = client.patch(path, 6, b"world")
    assert (204, "", "11") == (*told(last), last.headers["Upload-Offset"])
    assert path.removeprefix("/tus") == last.headers["Content-Location"]
    assert b"hello world" == client.read(path)
    (handle,) = client.storage
    info = client.storage.info(handle)
    assert ("größe 中文.png", "image/x-scan") == (info.name, info.content_type)
    after = client.ask("HEAD", path)
    assert ("11", "11") == (after.headers["Upload-Offset"], after.headers["Upload-Length"])
    assert "Upload-Expires" not in after.headers
    assert 204 == client.patch(path, 11, b"").status_code


def test_what_the_server_can_is_told(memory: Client) -> None:
    """Without a version in the request, to anybody."""
    for path in ("/tus", "/tus/", f"{FOLDER}/a.txt"):
        answer = memory.ask("OPTIONS", path, headers={"Tus-Resumable": ""})
        assert (204, "") == told(answer)
        assert ("1.0.0", "1000") == tuple(
            answer.headers[name] for name in ("Tus-Version", "Tus-Max-Size")
        )
        extensions = {
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "termination",
            "expiration",
            "checksum",
            "concatenation",
        }
        assert extensions == {*answer.headers["Tus-Extension"].split(",")}
        assert {"sha1", "md5"} < {*answer.headers["Tus-Checksum-Algorithm"].split(",")}
    unlimited = Client(MemoryStorage()).ask("OPTIONS")
    assert "Tus-Max-Size" not in unlimited.headers


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.1", "x"])
def test_another_version_is_refused(version: str, memory: Client) -> None:
    """With the one that is spoken here; nothing is done."""
    path = memory.create(10)
    for method, where in (("POST", "/tus"), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        headers = {"Tus-Resumable": version, "Upload-Length": "1"}
        answer = memory.ask(method, where, headers=headers)
        assert (412, "1.0.0") == (answer.status_code, answer.headers["Tus-Version"])
    assert 0 == memory.offset(path)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (409, {"Upload-Offset": "2"}),
        (409, {"Upload-Offset": "4"}),
        (400, {"Upload-Offset": "-1"}),
        (400, {"Upload-Offset": "+3"}),
        (400, {"Upload-Offset": "3.0"}),
        (400, {"Upload-Offset": "1" * 400}),
        (400, {"Upload-Offset": ""}),
        (415, {"Content-Type": "application/octet-stream"}),
        (415, {"Content-Type": ""}),
        (400, {"Upload-Length": "x"}),
        (409, {"Upload-Length": "11"}),
        (400, {"Upload-Checksum": f"crc32 {encoded(b'1234')}"}),
        (400, {"Upload-Checksum": "sha1 !"}),
        (460, {"Upload-Checksum": "sha1"}),
        (460, {"Upload-Checksum": f"sha1 {encoded(b'1234')}"}),
    ],
)
def test_a_piece_that_is_not_right_changes_nothing(
    status: int, headers: dict[str, str], client: Client
) -> None:
    """The upload stays at its offset, and goes on."""
    path = client.create(10)
    client.patch(path, 0, b"abc")
    given = {**PIECE, "Upload-Offset": "3", **headers}
    answer = client.ask("PATCH", path, headers=given, content=b"defghij")
    assert status == told(answer)[0]
    assert 3 == client.offset(path)
    assert 204 == client.patch(path, 3, b"defghij").status_code
    assert b"abcdefghij" == client.read(path)


def test_more_than_was_announced_is_refused(client: Client) -> None:
    """Whether its size is known before or not; what came first is kept then."""
    path = client.create(6)
    assert (413, "too-large") == told(client.patch(path, 0, b"1234567"))
    assert 0 == client.offset(path)
    assert 413 == client.patch(path, 0, chunks(b"abc", b"defg")).status_code
    assert 3 == client.offset(path)
    client.patch(path, 3, b"def")
    assert 413 == client.patch(path, 6, b"g").status_code
    assert b"abcdef" == client.read(path)


async def chunks(*sent: bytes) -> AsyncIterator[bytes]:
    """Give a body whose size is not told."""
    for chunk in sent:
        yield chunk


@pytest.mark.parametrize("name", ["a.txt", "../../etc/passwd", "%2e%2e", "", "a%2fb"])
def test_what_is_not_there_is_not_found(name: str, client: Client) -> None:
    """Nor is what is no handle."""
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = {**PIECE, "Upload-Offset": "0"}
        answer = client.ask(method, f"{FOLDER}/{name}", headers=headers)
        assert 404 == told(answer)[0]


def test_another_method_is_refused(memory: Client) -> None:
    """With those that there are."""
    path = memory.create(1)
    for method, where, allowed in (
        ("GET", "/tus", "OPTIONS, POST"),
        ("PUT", path, "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("POST", path, "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ):
        answer = memory.ask(method, where)
        assert (405, allowed) == (answer.status_code, answer.headers["Allow"])


def test_methods_can_be_overridden(client: Client) -> None:
    """For clients that can only POST; nothing but a POST is overridden."""
    path = client.create(6)
    for override, status in (("HEAD", 200), ("PATCH", 204), ("patch", 204)):
        headers = {"X-HTTP-Method-Override": override, **PIECE, "Upload-Offset": "0"}
        if override == "patch":
            headers["Upload-Offset"] = "3"
        answer = client.ask("POST", path, headers=headers, content=b"abc")
        assert (status, "") == told(answer)
    assert b"abcabc" == client.read(path)
    assert 200 == client.ask("HEAD", path, headers={"X-HTTP-Method-Override": "DELETE"}).status_code
    assert 204 == client.ask("POST", path, headers={"X-HTTP-Method-Override": "DELETE"}).status_code
    assert [] == list(client.storage)


# Extensions.


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload-Length": "-1"},
        {"Upload-Length": "1e3"},
        {"Upload-Length": "٣"},
        {"Upload-Length": "9" * 19},
        {"Upload-Defer-Length": "2"},
        {"Upload-Length": "5", "Upload-Defer-Length": "1"},
        {"Upload-Length": "5", "Upload-Defer-Length": "0"},
        {"Upload-Length": "5", "Upload-Metadata": "filename !!!"},
        {"Upload-Length": "5", "Upload-Metadata": "filename YQ"},
        {"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="},
        {"Upload-Length": "5", "Upload-Metadata": ",,"},
        {"Upload-Length": "5", "Upload-Metadata": "größe YQ=="},
        {"Upload-Length": "5", "Upload-Metadata": "a " + "YQ" * 5000},
        {"Upload-Length": "5", "Upload-Concat": "half"},
        {"Upload-Concat": "final;"},
        {"Upload-Concat": "final; " + "/tus/x " * 1001},
    ],
)
def test_a_creation_that_is_not_right_is_refused(headers: dict[str, str], client: Client) -> None:
    """And begins nothing."""
    raw: Any = {name: value.encode() for name, value in headers.items()}
    status, _ = told(client.ask("POST", headers=raw))
    assert 400 == status
    assert [] == list(client.storage.uploads.list())


def test_what_is_too_large_is_refused_at_once(memory: Client) -> None:
    """As soon as the size is told."""
    assert (413, "too-large") == told(memory.ask("POST", headers={"Upload-Length": "1001"}))
    path = memory.create()
    assert 413 == memory.patch(path, 0, b"", Upload_Length="1001").status_code
    assert 413 == memory.patch(path, 0, bytes(1001)).status_code
    assert 413 == memory.patch(path, 0, chunks(bytes(1000), b"x")).status_code
    assert 1000 == memory.offset(path)
    assert 204 == memory.patch(path, 1000, b"", Upload_Length="1000").status_code
    assert bytes(1000) == memory.read(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../x.txt", "x.txt"),
        ("C:\\Windows\\x.txt", "x.txt"),
        ("a\r\nX-Evil: 1.txt", "aX-Evil_ 1.txt"),
        ("中文.jpg", "中文.jpg"),
        ("עברית.txt", "עברית.txt"),
        ("\u202eexe.txt", "exe.txt"),
        (b"\xff\xfe.txt", "��.txt"),
    ],
)
def test_names_are_made_harmless(name: str | bytes, expected: str, memory: Client) -> None:
    """As everywhere; no header line is made of one."""
    answer = memory.ask(
        "POST",
        headers={"Upload-Length": "0", "Upload-Metadata": f"filename {encoded(name)}"},
    )
    assert 201 == answer.status_code
    assert "x-evil" not in answer.headers
    (handle,) = memory.storage
    assert expected == memory.storage.info(handle).name


def test_a_name_and_a_type_may_be_missing(memory: Client) -> None:
    """Or be nonsense, or be called as Uppy calls them."""
    for metadata, name, content_type in (
        ("", None, "application/octet-stream"),
        (f"name {encoded('a.png')}", "a.png", "image/png"),
        (f"filename {encoded('a.png')},type {encoded('x/y')}", "a.png", "x/y"),
        (f"filename {encoded('a.png')},filetype {encoded('junk')}", "a.png", "image/png"),
        (f"filename {encoded('a.png')},filetype {encoded('x/y' + chr(0))}", "a.png", "image/png"),
        (f"filename {encoded('a.m4a')},filetype {encoded('audio/x-m4a')}", "a.m4a", "audio/mp4"),
        (
            f"filename {encoded('a.png')},filetype {encoded('application/octet-stream')}",
            "a.png",
            "image/png",
        ),
    ):
        path = memory.create(0, Upload_Metadata=metadata)
        (handle,) = memory.storage
        info = memory.storage.info(handle)
        assert content_type == info.content_type
        assert name in (None, info.name)
        assert 204 == memory.ask("DELETE", path).status_code


def test_the_size_can_be_told_later(client: Client) -> None:
    """With any piece, also an empty one; until then it is said to be deferred."""
    path = client.create()
    assert "1" == client.ask("HEAD", path).headers["Upload-Defer-Length"]
    client.patch(path, 0, b"abc")
    assert "Upload-Length" not in client.ask("HEAD", path).headers
    assert 204 == client.patch(path, 3, b"", Upload_Length="6").status_code
    looked = client.ask("HEAD", path)
    assert ("6", None) == (
        looked.headers["Upload-Length"],
        looked.headers.get("Upload-Defer-Length"),
    )
    client.patch(path, 3, b"def", Upload_Length="6")
    assert b"abcdef" == client.read(path)


def test_a_creation_may_bring_the_first_bytes(client: Client) -> None:
    """Some or all; the answer tells how many are stored."""
    for body in (b"", b"abc", b"abcdef"):
        headers = {**PIECE, "Upload-Length": "6"}
        answer = client.ask("POST", headers=headers, content=body)
        assert (201, str(len(body))) == (answer.status_code, answer.headers["Upload-Offset"])
        path = answer.headers["Location"]
        client.patch(path, len(body), b"abcdef"[len(body) :])
        assert b"abcdef" == client.read(path)


def test_an_upload_in_one_request_is_synced_like_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, its directory and the day: there is no record of the upload to sync."""
    client = Client(LocalStorage(tmp_path))
    fsync, synced = os.fsync, list[int]()

    def counted(fd: int) -> None:
        synced.append(fd)
        fsync(fd)

    headers = {**PIECE, "Upload-Length": "6", "Upload-Metadata": f"filename {encoded('a.txt')}"}
    client.ask("POST", headers=headers, content=b"abcdef")  # makes the directories of the day
    monkeypatch.setattr(os, "fsync", counted)
    answer = client.ask("POST", headers=headers, content=b"abcdef")
    assert (201, "6", 3) == (answer.status_code, answer.headers["Upload-Offset"], len(synced))
    path = answer.headers["Location"]
    looked = client.ask("HEAD", path).headers
    assert ("6", headers["Upload-Metadata"]) == (looked["Upload-Offset"], looked["Upload-Metadata"])
    assert b"abcdef" == client.read(path)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (413, {"Upload-Length": "6"}, b"1234567"),
        (413, {"Upload-Length": "0"}, b"1"),
        (460, {"Upload-Length": "6", "Upload-Checksum": f"md5 {encoded(b'x')}"}, b"123456"),
        (400, {"Upload-Length": "6", "Upload-Checksum": "md5 !"}, b"123456"),
    ],
)
def test_a_creation_whose_bytes_are_not_right_leaves_nothing(
    status: int, headers: dict[str, str], body: bytes, client: Client
) -> None:
    """Whoever sent it has no address to go on at."""
    answer = client.ask("POST", headers={**PIECE, **headers}, content=body)
    assert status == told(answer)[0]
    assert [] == list(client.storage.uploads.list())
    assert [] == list(client.storage)


def test_an_upload_can_be_ended(client: Client) -> None:
    """Before and after it is complete."""
    path = client.create(6)
    client.patch(path, 0, b"abc")
    assert (204, "") == told(client.ask("DELETE", path))
    for method in ("HEAD", "DELETE"):
        assert 404 == client.ask(method, path).status_code
    assert 404 == client.patch(path, 3, b"def").status_code
    done = client.create(3)
    client.patch(done, 0, b"abc")
    assert 204 == client.ask("DELETE", done).status_code
    assert [] == list(client.storage)


def test_an_upload_that_has_expired_is_gone(client: Client) -> None:
    """It is answered as if there had never been one, and sweep removes it."""
    client.storage.upload_expires = 0
    path = client.create(6)
    assert 404 == client.patch(path, 0, b"abc").status_code
    assert 404 == client.ask("HEAD", path).status_code
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert all(swept.is_fine for swept in sweep(client.storage, delete=True, now=later))
    assert [] == list(client.storage.uploads.list())


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
def test_a_piece_with_the_right_checksum_is_stored(algorithm: str, client: Client) -> None:
    """And one with a wrong one is not, without any change of the offset."""
    path = client.create(6)
    for offset, piece in ((0, b"abc"), (3, b"def")):
        right = encoded(hashlib.new(algorithm, piece).digest())
        wrong = encoded(hashlib.new(algorithm, b"xyz").digest())
        refused = client.patch(path, offset, piece, Upload_Checksum=f"{algorithm} {wrong}")
        assert (460, "checksum-mismatch") == told(refused)
        assert offset == client.offset(path)
        stored = client.patch(path, offset, piece, Upload_Checksum=f"{algorithm} {right}")
        assert (204, str(offset + 3)) == (stored.status_code, stored.headers["Upload-Offset"])
    assert b"abcdef" == client.read(path)


def test_a_piece_with_a_checksum_is_not_kept_without_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in a file of the service until it is known to be right."""
    monkeypatch.setattr("rex.attach.web.checksum.MAX_BYTES", 4)
    path = client.create(6)
    refused = client.patch(path, 0, b"abcdef", Upload_Checksum=checksum(b"abcdef"))
    assert (413, 0) == (refused.status_code, client.offset(path))


def test_all_pieces_with_a_checksum_have_a_limit_together(
    memory: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others fill the room, one more is 503 and a client tries again; then it fits."""
    monkeypatch.setattr("rex.attach.web.checksum.ROOM", Room(10))
    path, other = memory.create(9), memory.create(9)
    right = {"Upload-Checksum": checksum(b"abcdef")}

    async def act() -> None:
        sent = Sent([b"abc", b"def"], "silence")
        waiting = asyncio.ensure_future(send(memory, other, 0, sent, **right))
        await sent.is_waiting.wait()
        headers = {**PIECE, **right, "Upload-Offset": "0"}
        refused = await memory.asked("PATCH", path, headers, content=chunks(b"abc", b"def"))
        assert (503, "unavailable") == told(refused)
        assert int(refused.headers["Retry-After"]) > 0
        # One whose size is told is refused before it is received.
        more = Sent([], "disconnect")
        assert 503 == await send(memory, path, 0, more, **right, **{"Content-Length": "6"})
        unchecked = await memory.asked("PATCH", path, {**PIECE, "Upload-Offset": "0"}, content=b"a")
        assert 204 == unchecked.status_code
        waiting.cancel()
        await asyncio.wait({waiting})
        headers = {**PIECE, **right, "Upload-Offset": "1"}
        assert 204 == (await memory.asked("PATCH", path, headers, content=b"abcdef")).status_code

    run(act)
    assert (0, 7) == (memory.offset(other), memory.offset(path))


@pytest.mark.parametrize("status", [204, 409, 413, 460])
def test_a_piece_with_a_checksum_leaves_its_room(
    status: int, memory: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever became of it."""
    room = Room(6)
    monkeypatch.setattr("rex.attach.web.checksum.ROOM", room)
    path = memory.create(5 if status == 413 else 6)
    if status == 409:
        memory.storage.uploads._backend.append = conflict  # type: ignore[assignment,method-assign]
    wrong = checksum(b"" if status == 460 else b"abcdef")
    answer = memory.patch(path, 0, chunks(b"abc", b"def"), Upload_Checksum=wrong)
    assert status == answer.status_code
    room.check(6)


def conflict(*_: object) -> None:
    """Find that another request came first."""
    raise Error("The upload is at another offset", kind=Kind.CONFLICT)


def test_parts_are_joined(client: Client) -> None:
    """In the order of their addresses, whole or relative; the parts are gone."""
    parts = []
    for content in (b"first", b"", b"second"):
        path = client.create(len(content), Upload_Concat="partial")
        client.patch(path, 0, content)
        assert "partial" == client.ask("HEAD", path).headers["Upload-Concat"]
        parts.append(path)
    assert [] == list(client.storage)
    metadata = f"filename {encoded('ü.png')}"
    listed = f"final;http://here{parts[2]} {parts[1]} {parts[0]}"
    answer = client.ask("POST", headers={"Upload-Concat": listed, "Upload-Metadata": metadata})
    assert (201, "") == told(answer)
    path = answer.headers["Location"]
    assert path.removeprefix("/tus") == answer.headers["Content-Location"]
    assert b"secondfirst" == client.read(path)
    assert 11 == client.offset(path)
    (handle,) = client.storage
    assert "ü.png" == client.storage.info(handle).name
    for part in parts:
        assert 404 == client.ask("HEAD", part).status_code


def test_what_is_no_complete_part_is_not_joined(client: Client) -> None:
    """Nor what is somewhere else."""
    part = client.create(3, Upload_Concat="partial")
    client.patch(part, 0, b"abc")
    short = client.create(3, Upload_Concat="partial")
    other = client.create(3)
    for status, listed in (
        (409, f"{part} {short}"),
        (409, f"{part} {other}"),
        (404, f"{part} {FOLDER}/a.txt"),
        (404, f"{part} https://[x/a"),
        (404, f"{part} {part.removeprefix('/tus')}/x"),
        (404, f"{part} file:///etc/passwd"),
    ):
        answer = client.ask("POST", headers={"Upload-Concat": f"final;{listed}"})
        assert status == told(answer)[0], listed
    assert [] == list(client.storage)
    assert 3 == client.offset(part)


# What is told of an upload that is complete.


def test_an_address_serves_what_the_handle_serves(storage: Storage) -> None:
    """With the same headers, ranges and conditions; only the version and the cache differ."""
    client = Client(storage)
    metadata = f"filename {encoded('a.png')},filetype {encoded('image/png')}"
    path = client.create(6, Upload_Metadata=metadata)
    client.patch(path, 0, b"abcdef")
    etag = client.ask("GET", path).headers["ETag"]
    for headers in (
        {},
        {"Range": "bytes=2-3"},
        {"Range": "bytes=9-"},
        {"If-None-Match": etag},
        {"If-Match": '"another"'},
    ):
        there = client.ask("GET", path, headers=headers)
        expected = client.ask("GET", path.removeprefix("/tus"), headers=headers)
        assert (expected.status_code, expected.content) == (there.status_code, there.content)
        own = ("tus-resumable", "vary", "cache-control")
        assert without(expected, *own) == without(there, *own)
        if there.is_success:
            assert expected.headers["Cache-Control"] == there.headers["Cache-Control"]


def without(answer: httpx.Response, *names: str) -> dict[str, str]:
    """Give the headers but some."""
    return {name: value for name, value in answer.headers.items() if name not in names}


def test_a_download_at_an_address_is_one_to_the_rule(memory: Client) -> None:
    """The rule that is asked about a handle is asked here; nothing else lets one pass."""
    path = memory.create(0)
    asked: list[tuple[str, str | None]] = []

    def rule(_: object, action: str, handle: str | None) -> bool:
        asked.append((action, handle))
        return action != "download"

    refused = Client(memory.storage, Access(rule)).ask("GET", path)
    assert (403, "denied") == told(refused)
    assert [("download", path.removeprefix("/tus"))] == asked
    only = Client(memory.storage, Access(lambda _, action, __: action == "download"))
    assert (200, 403) == (only.ask("GET", path).status_code, only.ask("HEAD", path).status_code)


def test_a_download_at_an_address_is_redirected_as_that_of_the_handle(s3: S3Storage) -> None:
    """Where the storage makes links, and the service is told to use them."""
    client = Client(s3, redirect=True)
    path = client.create(6)
    assert 6 == client.offset(path) + int(client.patch(path, 0, b"abcdef").headers["Upload-Offset"])
    answer = client.ask("GET", path)
    assert (307, "no-store") == (answer.status_code, answer.headers["Cache-Control"])
    assert b"abcdef" == httpx.get(answer.headers["Location"]).content
    assert 6 == client.offset(path)


def test_metadata_that_are_too_long_to_keep_become_name_and_type(client: Client) -> None:
    """Until the upload is complete, they are told as they were sent."""
    short = f"filename {encoded('größe.txt')},filetype {encoded('text/x-own')}"
    for size in (900, 5000):
        metadata = f"{short},more {encoded('x' * size)}"
        path = client.create(1, Upload_Metadata=metadata)
        assert metadata == client.ask("HEAD", path).headers["Upload-Metadata"]
        client.patch(path, 0, b"x")
        kept = client.ask("HEAD", path).headers["Upload-Metadata"]
        assert (metadata if size == 900 else short) == kept


def test_what_was_not_uploaded_by_tus_has_name_and_type(client: Client) -> None:
    """A header is made of them, as tus clients send it."""
    handle = client.storage.add("größe.txt", b"abc", content_type="text/x-own")
    answer = client.ask("HEAD", f"/tus{handle}")
    expected = f"filename {encoded('größe.txt')},filetype {encoded('text/x-own')}"
    assert (expected, "3") == (answer.headers["Upload-Metadata"], answer.headers["Upload-Offset"])
    assert "Upload-Concat" not in answer.headers


@pytest.mark.parametrize(
    "note", ["x", "[]", '["a"]', "[1, 2]", '{"a": 1}', "null", '["a\\r\\nX-Evil: 1", "é"]']
)
def test_a_note_that_another_program_wrote_is_not_told(note: str, client: Client) -> None:
    """It becomes neither a header line nor a failure."""
    handle = client.storage.uploads.create("a.txt", size=0, metadata=note).handle
    answer = client.ask("HEAD", f"/tus{handle}")
    assert 200 == answer.status_code
    assert "X-Evil" not in answer.headers
    assert answer.headers.get("Upload-Metadata", "filename").startswith("filename")
    assert "Upload-Concat" not in answer.headers


def test_a_list_that_is_too_long_to_keep_is_known_to_be_one(client: Client) -> None:
    """The final upload stays one: it has the metadata of an attachment, and takes no PATCH."""
    part = client.create(1, Upload_Concat="partial")
    client.patch(part, 0, b"x")
    metadata = f"filename {encoded('a.txt')}"
    path = client.join(*[part] * 50, Upload_Metadata=metadata)
    answer = client.ask("HEAD", path)
    assert ("final;", "50") == (answer.headers["Upload-Concat"], answer.headers["Upload-Length"])
    assert 403 == client.patch(path, 50, b"x").status_code
    assert b"x" * 50 == client.read(path)


# Who may.


def test_a_stranger_learns_nothing(storage: Storage) -> None:
    """Not even whether there is such an upload, nor which version is spoken."""
    path = Client(storage).create(6)
    for access, status in (
        (Access(access_rule("none", None)), 403),
        (Access(access_rule("bearer", Secret("key-of-a-program"))), 401),
    ):
        stranger = Client(storage, access)
        for method, where in (
            ("POST", "/tus"),
            ("HEAD", path),
            ("PATCH", path),
            ("DELETE", path),
            ("HEAD", f"{FOLDER}/a.txt"),
            ("PATCH", f"{FOLDER}/a.txt"),
            ("GET", path),
        ):
            for headers in ({"Upload-Length": "5"}, {"Tus-Resumable": "9"}, {"Upload-Offset": "x"}):
                answer = stranger.ask(method, where, headers=headers, content=b"x")
                assert status == told(answer)[0]
                assert "Upload-Offset" not in answer.headers
    assert 0 == Client(storage).offset(path)
    allowed = Client(storage, Access(access_rule("bearer", Secret("key-of-a-program"))))
    headers = {"Authorization": "Bearer key-of-a-program"}
    assert 200 == allowed.ask("HEAD", path, headers=headers).status_code


def test_the_rule_is_told_what_and_of_which(memory: Client) -> None:
    """An upload is uploaded to, a part too; an attachment is removed."""
    asked: list[tuple[str, str | None]] = []

    def rule(_: object, action: str, handle: str | None) -> bool:
        asked.append((action, handle))
        return action != "remove"

    client = Client(memory.storage, Access(rule))
    path = client.create(3, Upload_Concat="partial")
    handle = path.removeprefix("/tus")
    client.patch(path, 0, b"abc")
    client.offset(path)
    assert [("upload", None)] + [("upload", handle)] * 3 == asked
    asked.clear()
    joined = client.create(0, Upload_Concat=f"final;{path}").removeprefix("/tus")
    assert [("upload", None), ("upload", handle), ("upload", joined)] == asked
    asked.clear()
    assert 403 == client.ask("DELETE", f"/tus{joined}").status_code
    assert [("upload", joined), ("remove", joined)] == asked
    assert [joined] == list(client.storage)


def test_another_site_may_not_upload(storage: Storage) -> None:
    """Unless it is named; then its pages may read all that the protocol tells."""
    path = Client(storage).create(6)
    client = Client(storage, Access(lambda *_: True, origins=[ORIGIN]))
    for method, where in (("POST", "/tus"), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        for origin in ("https://evil.example", "null"):
            answer = client.ask(method, where, headers={"Origin": origin, "Upload-Length": "1"})
            assert 403 == answer.status_code
            assert "Access-Control-Allow-Origin" not in answer.headers
    preflight = client.ask(
        "OPTIONS",
        path,
        headers={
            "Tus-Resumable": "",
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type",
        },
    )
    assert (204, ORIGIN) == (
        preflight.status_code,
        preflight.headers["Access-Control-Allow-Origin"],
    )
    methods = {*preflight.headers["Access-Control-Allow-Methods"].split(", ")}
    assert {"POST", "HEAD", "PATCH", "OPTIONS", "GET", "DELETE"} == methods
    asked = client.ask("OPTIONS")
    for name in ("Tus-Version", "Tus-Extension", "Tus-Checksum-Algorithm"):
        assert asked.headers[name] == preflight.headers[name]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    there = {**PIECE, "Origin": ORIGIN, "Upload-Offset": "0"}
    for status, content in ((204, b"abc"), (409, b"abc")):
        answer = client.ask("PATCH", path, headers=there, content=content)
        assert (status, ORIGIN) == (
            answer.status_code,
            answer.headers["Access-Control-Allow-Origin"],
        )
        exposed = {*answer.headers["Access-Control-Expose-Headers"].split(", ")}
        assert exposed >= {
            "Upload-Offset",
            "Location",
            "Upload-Length",
            "Tus-Version",
            "Tus-Resumable",
            "Tus-Max-Size",
            "Tus-Extension",
            "Upload-Metadata",
            "Upload-Defer-Length",
            "Upload-Concat",
            "Upload-Expires",
        }


# Connections that break, and those that hang.


async def send(client: Client, path: str, offset: int, sent: Sent, **headers: str) -> int:
    """Send a piece as an ASGI server hands it over; give the status of the answer."""
    messages: list[Any] = []

    async def take(message: Any) -> None:
        messages.append(message)

    pairs = {**VERSION, **PIECE, "Upload-Offset": str(offset), "Host": "here", **headers}
    scope = {
        "type": "http",
        "method": "POST" if path == "/tus" else "PATCH",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
    }
    await client.app(scope, sent.receive, take)
    return int(messages[0]["status"])


def run(act: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine that must not hang."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await act()

    asyncio.run(bounded())


@pytest.mark.parametrize("then", ["disconnect", "silence"])
def test_what_came_before_it_broke_off_is_kept(then: Any, storage: Storage) -> None:
    """When the client goes away, or stalls; clients ask how far it is, and go on."""
    client = Client(storage, stall_seconds=0.05)
    path = client.create(9)

    async def act() -> None:
        status = await send(client, path, 0, Sent([b"abc", b"def"], then))
        assert {"disconnect": 400, "silence": 409}[then] == status

    run(act)
    assert 6 == client.offset(path)
    client.patch(path, 6, b"ghi")
    assert b"abcdefghi" == client.read(path)


@pytest.mark.parametrize("then", ["disconnect", "silence"])
def test_a_creation_that_breaks_off_leaves_nothing(then: Any, storage: Storage) -> None:
    """Its client has no address yet."""
    client = Client(storage, stall_seconds=0.05)

    async def act() -> None:
        sent = Sent([b"abc"], then)
        headers = {"Upload-Length": "9"}
        assert 400 <= await send(client, "/tus", 0, sent, **headers) < 500

    run(act)
    assert [] == list(storage.uploads.list())
    assert [] == list(storage)


def test_a_creation_that_is_cancelled_at_its_end_leaves_nothing(memory: Client) -> None:
    """Not even the attachment that it has just become."""
    drafts: Any = memory.storage.uploads._backend
    publish, publishes, go_on = drafts.publish, threading.Event(), threading.Event()

    def published(*args: Any) -> None:
        publishes.set()
        assert go_on.wait(PATIENCE)
        publish(*args)

    drafts.publish = published

    async def act() -> None:
        sending = asyncio.ensure_future(
            send(memory, "/tus", 0, Sent([b"abc"], "end"), **{"Upload-Length": "3"})
        )
        await asyncio.to_thread(publishes.wait, PATIENCE)
        sending.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait({sending})
        assert sending.cancelled()

    run(act)
    assert [] == list(memory.storage)


def test_a_piece_with_a_checksum_that_breaks_off_is_not_kept(storage: Storage) -> None:
    """Nobody can tell whether it is what was sent."""
    client = Client(storage, stall_seconds=0.05)
    path = client.create(9)

    async def act() -> None:
        sent = Sent([b"abc"], "disconnect")
        assert 400 == await send(client, path, 0, sent, **{"Upload-Checksum": checksum(b"abcdef")})

    run(act)
    assert 0 == client.offset(path)


def test_a_request_that_is_cancelled_keeps_what_came(client: Client) -> None:
    """As servers do when a client goes away."""
    path = client.create(9)

    async def act() -> None:
        sent = Sent([b"abc", b"def"], "silence")
        sending = asyncio.ensure_future(send(client, path, 0, sent))
        await sent.is_waiting.wait()
        sending.cancel()
        await asyncio.wait({sending})
        assert sending.cancelled()

    run(act)
    assert 6 == client.offset(path)


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_a_new_request_ends_one_that_hangs(method: str, client: Client) -> None:
    """Its client has given it up; what it had sent is kept."""
    path = client.create(9)

    async def act() -> None:
        sent = Sent([b"abc", b"def"], "silence")
        hanging = asyncio.ensure_future(send(client, path, 0, sent))
        await sent.is_waiting.wait()
        headers = {**PIECE, "Upload-Offset": "6"}
        answer = await client.asked(method, path, headers, content=b"ghi")
        assert {"HEAD": 200, "PATCH": 204, "DELETE": 204}[method] == answer.status_code
        assert 409 == await hanging

    run(act)
    if method == "DELETE":
        assert [] == list(client.storage.uploads.list())
    if method == "PATCH":
        assert b"abcdefghi" == client.read(path)


def test_those_that_come_at_once_do_not_get_mixed_up(client: Client) -> None:
    """Nobody hangs: whoever is not the one is told to ask again, and can go on."""
    path = client.create(6)

    async def act() -> None:
        headers = {**PIECE, "Upload-Offset": "0"}
        asked = [client.asked("PATCH", path, headers, content=b"abcdef") for _ in range(5)]
        statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert {*statuses} <= {204, 409, 423}

    run(act)
    offset = client.offset(path)
    assert 204 == client.patch(path, offset, b"abcdef"[offset:]).status_code
    assert b"abcdef" == client.read(path)


def test_each_of_those_that_hang_is_ended(storage: Storage) -> None:
    """Also when they came at once, and only one of them got to the storage."""
    client = Client(storage, stall_seconds=10 * PATIENCE)
    path = client.create(9)

    async def act() -> None:
        both = [
            asyncio.ensure_future(send(client, path, 0, Sent([b"abc"], "silence")))
            for _ in range(2)
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await client.asked("HEAD", path)
        assert {*await asyncio.gather(*both)} <= {409, 423}

    run(act)
    assert client.offset(path) in (0, 3)


async def fail_when_busy(storage: Storage, handle: str) -> None:
    """Ask again and again until a client appends to an upload, which raises `BUSY`."""
    while True:
        await storage.aio.uploads.check_idle(handle)


def test_an_upload_that_another_process_appends_to_is_locked(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the storage can tell."""
    monkeypatch.setattr("rex.attach.web.transfers.INTERRUPT_SECONDS", 0)
    path = client.create(6)

    async def act() -> None:
        has_come, go_on = asyncio.Event(), asyncio.Event()

        async def content() -> AsyncIterator[bytes]:
            yield b"abc"
            has_come.set()
            await go_on.wait()
            yield b"def"

        handle = path.removeprefix("/tus").replace("%20", " ")
        appending: asyncio.Task[Upload] = asyncio.ensure_future(
            client.storage.aio.uploads.append(handle, 0, content())
        )
        await has_come.wait()
        with pytest.raises(Error):
            await fail_when_busy(client.storage, handle)  # once the thread that appends has begun
        assert 423 == (await client.asked("HEAD", path)).status_code  # the offset would grow
        headers = {**PIECE, "Upload-Offset": "0"}
        answer = await client.asked("PATCH", path, headers, content=b"def")
        assert (423, "busy") == told(answer)
        assert 423 == (await client.asked("DELETE", path)).status_code
        go_on.set()
        await appending

    run(act)
    assert b"abcdef" == client.read(path)


def test_what_breaks_in_the_storage_is_no_answer_of_the_protocol(memory: Client) -> None:
    """It is an error of the server, without a word about its inside."""
    path = memory.create(6)
    uploads: Any = memory.storage.uploads

    def broken(*_: object) -> None:
        raise Error("It is broken", "the inside", kind=Kind.UNAVAILABLE)

    uploads._backend.load = broken
    answer = memory.ask("PATCH", path, headers={**PIECE, "Upload-Offset": "0"}, content=b"x")
    assert (503, "unavailable") == told(answer)
    assert "inside" not in answer.text
