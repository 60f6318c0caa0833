"""Companion's routes for uploads to S3, used as Uppy 5 and 6 use them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from attach.s3_uploads import CONTENT, PARTS, abort_unfinished
from attach.web.uploaders import ORIGIN, Page, at
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.web import Access
from rex.attach.web.access import access_rule
from rex.core import Error, Kind, Secret
from rex.core.problem import STATUSES

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach.backends.s3.storage import S3Storage

pytestmark = pytest.mark.long

JSON = {"Content-Type": "application/json"}
FILE = {"filename": "a.bin", "type": "application/octet-stream", "metadata": {"name": "a.bin"}}


class User(NamedTuple):
    """A user as frameworks have them."""

    username: str


@pytest.fixture
def storage(s3: S3Storage) -> S3Storage:
    """Give a storage on S3."""
    return s3


def send(page: Page, upload: dict[str, str], parts: list[bytes]) -> list[dict[str, Any]]:
    """Send the parts straight to the server; give their numbers and ETags."""
    named = []
    for number, part in enumerate(parts, 1):
        link = page.json("GET", at(upload, f"/{number}"))
        assert 3590 <= link["expires"] <= 3600
        sent = httpx.put(link["url"], content=part, headers={"Content-Type": ""})
        assert 200 == sent.status_code
        named.append({"PartNumber": number, "ETag": sent.headers["ETag"]})
    return named


def abort(page: Page, upload: dict[str, str]) -> None:
    """End an upload, and see that the answer is JSON: Uppy 5 parses it."""
    assert {} == page.json("DELETE", at(upload))


# One piece.


@pytest.mark.parametrize(
    "name", ["photo.png", "中文 é.jpg", "../../a b.txt", "${filename}.txt", ""]
)
def test_a_file_is_sent_with_the_form_of_params(storage: S3Storage, page: Page, name: str) -> None:
    """The fields are concrete, the address ends in a slash, and the answer tells the handle."""
    query = {"filename": name, "type": "image/gif", "metadata[name]": name, "metadata[x]": "1"}
    made = page.json("GET", "/s3/params", params=query)
    fields = made["fields"]
    assert ("POST", True) == (made["method"], made["url"].endswith("/"))
    assert 3590 <= made["expires"] <= 3600
    assert f"{storage.prefix}{made['handle'][1:]}" == fields["key"]
    assert not {"file", "success_action_redirect", "redirect"} & {field.lower() for field in fields}
    sent = httpx.post(made["url"], data=fields, files={"file": (name or "x", CONTENT[:99])})
    assert 204 == sent.status_code
    assert "ETag" in sent.headers
    assert CONTENT[:99] == storage.open(made["handle"]).read()
    assert "image/gif" == storage.info(made["handle"]).content_type


@pytest.mark.parametrize(
    "given", [{}, {"type": ""}, {"type": "undefined"}, {"type": "a/b\r\nX: y"}]
)
def test_the_name_decides_where_the_browser_knows_no_type(
    page: Page, given: dict[str, str]
) -> None:
    """Uppy sends what the browser says, which may be nothing."""
    made = page.json("GET", "/s3/params", params={"filename": "a.png", **given})
    assert "image/png" == made["fields"]["Content-Type"]


def test_params_honour_the_largest_size(storage: S3Storage, page: Page) -> None:
    """A form with a byte too many is refused by the server."""
    storage.max_size = 5
    for content, status in ((b"123456", 400), (b"12345", 204)):
        made = page.json("GET", "/s3/params", params={"filename": "a.bin"})
        sent = httpx.post(made["url"], data=made["fields"], files={"file": ("a.bin", content)})
        assert status == sent.status_code
        assert (status == 204) is (made["handle"] in storage)


def test_params_work_on_a_directory_too(tmp_path: Path) -> None:
    """The same form goes to the service, which serves the links of a directory."""
    with LocalStorage(tmp_path, url="http://here", secret="secret") as storage:
        page = Page(storage)
        made = page.json("GET", "/s3/params", params={"filename": "é.png"})
        assert made["handle"][1:] == made["fields"]["key"]
        path = made["url"].removeprefix("http://here")
        sent = page.ask("POST", path, data=made["fields"], files={"file": ("é.png", b"content")})
        assert 204 == sent.status_code
        assert b"content" == storage.open(made["handle"]).read()


def test_storages_without_parts_say_so(tmp_path: Path) -> None:
    """A directory refuses the routes of an upload in parts."""
    with LocalStorage(tmp_path) as local, MemoryStorage() as memory:
        for storage in (local, memory):
            answer = Page(storage).ask("POST", "/s3/multipart", json=FILE)
            assert STATUSES[Kind.UNSUPPORTED] == answer.status_code
            problem = answer.json()
            assert "no-multipart" == problem["type"]
            assert problem["detail"] == problem["message"]


def test_who_may_not_is_refused_before_a_token_is_read(tmp_path: Path) -> None:
    """No secret is made for a stranger."""
    with LocalStorage(tmp_path) as storage:
        nobody = Page(storage, access=Access(access_rule("none", None)))
        assert 403 == nobody.ask("GET", "/s3/multipart/token/1?key=a").status_code
    assert [] == list(tmp_path.iterdir())


# In parts.


@pytest.mark.parametrize("name", ["a.bin", "中文 é (1) + %.bin"])
def test_a_file_is_sent_in_parts(storage: S3Storage, page: Page, name: str) -> None:
    """Created, sent, listed, completed: the whole way of a big file."""
    upload = page.json("POST", "/s3/multipart", json={**FILE, "filename": name})
    assert {"key", "uploadId", "bucket", "handle"} == set(upload)
    assert (storage.bucket, storage.key_of_handle(upload["handle"])) == (
        upload["bucket"],
        upload["key"],
    )
    named = send(page, upload, PARTS)
    listed = page.json("GET", at(upload))
    assert [{**one, "Size": len(part)} for one, part in zip(named, PARTS, strict=True)] == listed
    made = page.json("POST", at(upload, "/complete"), json={"parts": named})
    assert {name: upload[name] for name in ("key", "bucket", "handle")} == {
        name: made[name] for name in ("key", "bucket", "handle")
    }
    assert "?" not in made["location"]
    assert made["location"].startswith(storage.endpoint)
    info = storage.info(made["handle"])
    assert (name, len(CONTENT), FILE["type"]) == (info.name, info.size, info.content_type)
    assert CONTENT == storage.open(made["handle"]).read()


def test_etags_go_without_quotes_too(storage: S3Storage, page: Page) -> None:
    """As Uppy 6 sends them back."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    named = [{**part, "ETag": part["ETag"].strip('"')} for part in send(page, upload, [b"abc"])]
    page.json("POST", at(upload, "/complete"), json={"parts": named})
    assert b"abc" == storage.open(upload["handle"]).read()


def test_links_for_parts_come_by_the_batch(page: Page) -> None:
    """Each under its number; `batch` is no number of a part."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    urls = page.json("GET", at(upload, "/batch") + "&partNumbers=1,2,10000")["presignedUrls"]
    assert ["1", "2", "10000"] == list(urls)
    assert 200 == httpx.put(urls["10000"], content=b"abc").status_code
    assert [10_000] == [part["PartNumber"] for part in page.json("GET", at(upload))]
    for wrong in ("", "1,x", "0", "1,,2", "10001", ",".join(["1"] * 1001)):
        answer = page.ask("GET", at(upload, "/batch") + f"&partNumbers={wrong}")
        assert 400 == answer.status_code
    abort(page, upload)


def test_an_aborted_upload_leaves_nothing(storage: S3Storage, page: Page) -> None:
    """It is gone with its parts; aborting again is no failure on this server."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    named = send(page, upload, [b"abc"])
    abort(page, upload)
    assert 404 == page.ask("GET", at(upload)).status_code
    completed = page.ask("POST", at(upload, "/complete"), json={"parts": named})
    assert (404, "not-found") == (completed.status_code, completed.json()["kind"])
    assert [] == list(storage)


def test_too_much_is_refused_and_aborted(storage: S3Storage, page: Page) -> None:
    """The sum of the parts on the server counts, by the limit of when the upload began."""
    storage.max_size = 5
    upload = page.json("POST", "/s3/multipart", json=FILE)
    named = send(page, upload, [b"123456"])
    storage.max_size = None
    answer = page.ask("POST", at(upload, "/complete"), json={"parts": named})
    assert (413, "too-large") == (answer.status_code, answer.json()["kind"])
    assert 404 == page.ask("GET", at(upload)).status_code
    assert [] == list(storage)


def test_parts_that_are_not_there_complete_nothing(storage: S3Storage, page: Page) -> None:
    """Neither an unknown part, nor another content, nor a list that is none."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    (part,) = send(page, upload, [b"abc"])
    for parts, status in (
        ([part, {**part, "PartNumber": 2}], 409),
        ([{**part, "ETag": '"0bbc18cdea1c4aaa17777d441214774a"'}], 409),
        ([{**part, "PartNumber": "1"}], 400),
        ([{**part, "ETag": None}], 400),
        ([{"PartNumber": 1}], 400),
        ([1], 400),
        (["ab"], 400),
        ([], 400),
        ({}, 400),
        (None, 400),
    ):
        answer = page.ask("POST", at(upload, "/complete"), json={"parts": parts})
        assert status == answer.status_code, parts
    assert [] == list(storage)
    abort(page, upload)


def test_the_list_of_parts_may_have_a_mebibyte(storage: S3Storage, page: Page) -> None:
    """Ten thousand parts fit; more is refused before it is read to its end."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    named = send(page, upload, [b"abc"])
    many = [{"PartNumber": number, "ETag": "0" * 64} for number in range(1, 10_001)]
    answer = page.ask("POST", at(upload, "/complete"), json={"parts": many})
    assert 409 == answer.status_code
    for size, status in ((2**20 + 1, 413), (2**20, 200)):
        content = (
            b'{"parts": [{"PartNumber": 1, "ETag": %s}]}'
            % named[0]["ETag"].replace('"', '\\"').join('""').encode()
        )
        body = content.ljust(size)
        answer = page.ask("POST", at(upload, "/complete"), content=body, headers=JSON)
        assert status == answer.status_code
    assert b"abc" == storage.open(upload["handle"]).read()


@pytest.mark.parametrize("number", ["0", "10001", "x", "-1", "1.0", "", "१", "%31%00", "99999999"])
def test_parts_are_numbered_from_1_to_10000(page: Page, number: str) -> None:
    """Anything else is a mistake of the client, and nothing is signed."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    answer = page.ask("GET", at(upload, f"/{number}"))
    assert (400, "ill-formed") == (answer.status_code, answer.json()["kind"])
    abort(page, upload)


# Who may.


def every(page: Page, upload: dict[str, str], headers: dict[str, str] | None = None) -> set[int]:
    """Try everything that can be done with an upload; give the statuses."""
    tries = [
        ("GET", at(upload)),
        ("GET", at(upload, "/1")),
        ("GET", at(upload, "/batch") + "&partNumbers=1"),
        ("POST", at(upload, "/complete")),
        ("DELETE", at(upload)),
    ]
    content = b'{"parts": [{"PartNumber": 1, "ETag": "x"}]}'
    return {
        page.ask(method, path, headers=headers, content=content).status_code
        for method, path in tries
    }


def test_an_upload_is_its_owners_alone(storage: S3Storage) -> None:
    """Nobody else can do anything with it, though he may upload himself and knows its token."""
    mine, another = Page(storage, User("me")), Page(storage, User("you"))
    upload = mine.json("POST", "/s3/multipart", json=FILE)
    assert {403} == every(another, upload)
    assert {403} == every(Page(storage), upload)
    assert [] == Page(storage, User("me")).json("GET", at(upload))
    abort(mine, upload)


def test_an_upload_belongs_to_the_key_of_a_bearer(storage: S3Storage) -> None:
    """Two keys are two owners, and without one there is a challenge."""
    keys = "one-of-the-two-keys", "two-of-the-two-keys"
    page = Page(storage, access=Access(access_rule("bearer", Secret(",".join(keys)))))
    one, two = ({"Authorization": f"Bearer {key}"} for key in keys)
    assert 401 == page.ask("POST", "/s3/multipart", json=FILE).status_code
    upload = page.json("POST", "/s3/multipart", json=FILE, headers=one)
    assert {403} == every(page, upload, two)
    assert {401} == every(page, upload)
    assert {} == page.json("DELETE", at(upload), headers=one)


def test_a_changed_token_is_refused(page: Page) -> None:
    """One changed character anywhere, another purpose, nothing at all."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    token = upload["uploadId"]
    for place in (0, 10, len(token) // 2, len(token) - 1):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert {403} == every(page, {**upload, "uploadId": changed})
    for wrong in ("x", "x.y", "é", token + "=", token.swapcase(), "a" * 5000):
        assert {403} == every(page, {**upload, "uploadId": wrong})
    abort(page, upload)


def test_an_expired_token_is_refused(storage: S3Storage, page: Page) -> None:
    """And it expires when the setting says."""
    storage.upload_expires = 60
    upload = page.json("POST", "/s3/multipart", json=FILE)
    tokens, read = storage.tokens, storage.tokens.read("s3-multipart", upload["uploadId"])
    old = tokens.sign("s3-multipart", read, expires=time.time() - 1)
    assert {403} == every(page, {**upload, "uploadId": old})
    other = tokens.sign("another-purpose", read, expires=time.time() + 60)
    assert {403} == every(page, {**upload, "uploadId": other})
    abort(page, upload)
    storage.upload_expires = -1
    upload = page.json("POST", "/s3/multipart", json=FILE)
    assert {403} == every(page, upload)
    abort_unfinished(storage)


def test_the_key_must_be_that_of_the_token(storage: S3Storage, page: Page) -> None:
    """The key of another upload, the bare handle, or none, is refused."""
    upload, other = (page.json("POST", "/s3/multipart", json=FILE) for _ in range(2))
    for key in (other["key"], upload["handle"], upload["handle"][1:], "", f"{upload['key']}x"):
        assert {403} == every(page, {**upload, "key": key})
    assert 403 == page.ask("GET", at(upload).partition("?")[0]).status_code
    for one in (upload, other):
        abort(page, one)
    assert [] == list(storage)


def test_other_sites_may_not_upload(page: Page) -> None:
    """Unless a setting names their origin; those may read the answers, the errors too."""
    for method, path in (("GET", "/s3/params?filename=a"), ("POST", "/s3/multipart")):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = page.ask(method, path, headers=headers, content=b"{}")
            assert 403 == answer.status_code
            assert "Access-Control-Allow-Origin" not in answer.headers
    allowed = page.ask("GET", "/s3/params?filename=a", headers={"Origin": ORIGIN})
    refused = page.ask("GET", "/s3/params", headers={"Origin": ORIGIN})
    preflight = page.ask("OPTIONS", "/s3/multipart/x?key=y", headers={"Origin": ORIGIN})
    assert [200, 400, 204] == [one.status_code for one in (allowed, refused, preflight)]
    for answer in (allowed, refused, preflight):
        assert ORIGIN == answer.headers["Access-Control-Allow-Origin"]
    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]


def test_the_rule_is_asked_first_and_with_the_handle(storage: S3Storage) -> None:
    """Who may make no links learns nothing, and a rule can decide by the attachment."""
    asked: list[Any] = []

    def rule(_: Any, action: str, handle: str | None) -> bool:
        asked.append((action, handle))
        return handle is None or len(asked) < 3

    upload = Page(storage, access=Access(rule)).json("POST", "/s3/multipart", json=FILE)
    assert {403} == every(Page(storage, access=Access(rule)), upload)
    assert [("link", None), ("link", upload["handle"])] * 6 == asked
    nobody = Page(storage, access=Access(access_rule("none", None)))
    for path in ("/s3/params", "/s3/params?filename=a", "/s3", "/s3/x", "/s3/multipart"):
        assert 403 == nobody.ask("GET", path).status_code
    abort(Page(storage), upload)


# What is said of mistakes.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/s3", 404),
        ("GET", "/s3/", 404),
        ("GET", "/s3/sts", 404),
        ("GET", "/s3/multipart/a/b/c", 404),
        ("POST", "/s3/params", 405),
        ("GET", "/s3/multipart", 405),
        ("PUT", "/s3/multipart/x", 405),
        ("GET", "/s3/params", 400),
        ("POST", "/s3/multipart", 400),
    ],
)
def test_mistakes_are_told(page: Page, method: str, path: str, status: int) -> None:
    """Errors are problems in JSON; Uppy shows their message."""
    answer = page.ask(method, path, content=b"[1]")
    assert (status, "application/problem+json") == (
        answer.status_code,
        answer.headers["Content-Type"],
    )
    content = answer.json()
    assert status == content["status"]
    assert status == 405 or content["detail"] == content["message"]


@pytest.mark.parametrize("name", [None, 1, [], {}])
def test_a_name_is_a_text(page: Page, name: Any) -> None:
    """What cannot be the name of a file begins no upload."""
    answer = page.ask("POST", "/s3/multipart", json={**FILE, "filename": name})
    assert (400, "ill-formed") == (answer.status_code, answer.json()["kind"])


def test_an_address_shows_no_secret(storage: S3Storage, page: Page) -> None:
    """The token names neither the user nor any key of ours."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    read = storage.tokens.read("s3-multipart", upload["uploadId"])
    assert {"handle", "id", "max"} == set(read)
    with pytest.raises(Error) as caught:
        storage.tokens.read("s3-multipart", upload["uploadId"] + "x")
    assert Kind.DENIED == caught.value.kind
    assert upload["uploadId"] not in str(caught.value)
    abort(page, upload)
