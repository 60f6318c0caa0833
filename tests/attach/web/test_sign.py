"""One signature at a time, for a browser that speaks S3 itself, as Uppy 6 does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import unescape

import httpx
import pytest

from attach.s3_uploads import CONTENT, PARTS, abort_unfinished
from attach.web.uploaders import ORIGIN, Page
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.web import Access
from rex.attach.web.access import access_rule
from rex.core import Kind
from rex.core.problem import STATUSES

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach.backends.s3.storage import S3Storage

CANNOT = STATUSES[Kind.UNSUPPORTED]
KEY = "5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab-a.bin"
NAMED = (
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>abc</ETag></Part>"
    b"</CompleteMultipartUpload>"
)


@pytest.fixture
def storage(s3: S3Storage) -> S3Storage:
    """Give a storage on S3."""
    return s3


def sign(page: Page, method: str, key: str = KEY, **more: Any) -> Any:
    """Ask for one signature."""
    return page.json("POST", "/sign", json={"method": method, "key": key, **more})


HERE = "http://here/sign/"
"""Where the page finds the service."""


def send(
    page: Page, method: str, signed: Any, content: bytes | None = None, content_type: str = ""
) -> httpx.Response:
    """Make the request that was signed, as Uppy does: a part has no content type.

    The headers of a link are sent by versions that know them, and by those only where they have to.
    """
    assert "fields" not in signed
    own = {"Content-Type": content_type} if content_type else {}
    headers = {**own, **signed["headers"]}
    if signed["url"].startswith(HERE):
        path = signed["url"].removeprefix("http://here")
        return page.ask(method, path, headers=headers, content=content)
    return httpx.request(method, signed["url"], headers=headers, content=content)


def begun(page: Page, key: str = KEY, content_type: str = "x/own") -> dict[str, str]:
    """Begin an upload in parts; give the key and the id that the server answers."""
    signed = sign(page, "POST", key)
    answer = send(page, "POST", signed, content_type=content_type)
    assert 200 == answer.status_code, answer.text
    assert signed["key"] == unescape(element(answer, "Key"))
    return {"key": signed["key"], "uploadId": element(answer, "UploadId")}


def send_parts(page: Page, upload: dict[str, str], parts: list[bytes]) -> bytes:
    """Send the parts; give the body that completes the upload."""
    body = b"<CompleteMultipartUpload>"
    for number, part in enumerate(parts, 1):
        sent = send(page, "PUT", sign(page, "PUT", **upload, partNumber=number), part)
        assert 200 == sent.status_code
        etag = sent.headers["ETag"].strip('"')
        body += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>".encode()
    return body + b"</CompleteMultipartUpload>"


def element(answer: httpx.Response, name: str) -> str:
    """Find the text of an element in S3's XML."""
    found = re.search(f"<{name}>([^<]+)</{name}>", answer.text)
    assert found is not None
    return found[1]


def status(page: Page, wanted: Any, **options: Any) -> int:
    """Give the status of an answer to a wish."""
    return page.ask("POST", "/sign", json=wanted, **options).status_code


@pytest.mark.parametrize("name", ["photo.png", "中文 é.jpg", "../../a b.txt", "uuid-x y.gif"])
def test_a_file_is_sent_in_one_piece(storage: S3Storage, page: Page, name: str) -> None:
    """The key is replaced by ours, which keeps the name; the link works once."""
    signed = sign(page, "PUT", f"folder/{name}", contentType="image/gif")
    assert storage.key_of_handle(signed["handle"]) == signed["key"]
    assert not signed["url"].startswith(HERE)
    assert 200 == send(page, "PUT", signed, b"content").status_code
    assert 412 == send(page, "PUT", signed, b"another").status_code
    info = storage.info(signed["handle"])
    assert (name.rpartition("/")[2], "image/gif", 7) == (info.name, info.content_type, info.size)


def test_a_file_is_sent_with_a_form_where_its_size_is_limited(
    storage: S3Storage, page: Page
) -> None:
    """Only a form can hold a client to a limit."""
    storage.max_size = 5
    for content, expected in ((b"123456", 400), (b"12345", 204)):
        signed = sign(page, "PUT", contentType="image/gif")
        assert signed["key"] == signed["fields"]["key"]
        sent = httpx.post(signed["url"], data=signed["fields"], files={"file": ("a", content)})
        assert expected == sent.status_code
        assert (expected == 204) is (signed["handle"] in storage)


def test_a_file_is_sent_in_parts(storage: S3Storage, page: Page) -> None:
    """Each of the five requests, signed and made; the server's own XML between them."""
    upload = begun(page, "中文 é (1).png")
    body = send_parts(page, upload, PARTS)
    listed = send(page, "GET", sign(page, "GET", **upload))
    assert ["1", "2", "3"] == re.findall("<PartNumber>([0-9]+)<", listed.text)
    signed = sign(page, "POST", **upload)
    completed = send(page, "POST", signed, body, "application/xml")
    assert (200, "application/xml") == (completed.status_code, completed.headers["Content-Type"])
    assert upload["key"] == element(completed, "Key")
    assert element(completed, "Location").startswith(storage._bucket.public_url)
    info = storage.info(signed["handle"])
    assert ("中文 é (1).png", "x/own") == (info.name, info.content_type)
    assert CONTENT == storage.open(signed["handle"]).read()


def test_an_upload_is_aborted(storage: S3Storage, page: Page) -> None:
    """It leaves nothing, and its id is worth nothing."""
    upload = begun(page)
    send_parts(page, upload, [b"abc"])
    assert 204 == send(page, "DELETE", sign(page, "DELETE", **upload)).status_code
    assert 404 == send(page, "GET", sign(page, "GET", **upload)).status_code
    assert 404 == send(page, "POST", sign(page, "POST", **upload), NAMED).status_code
    assert [] == list(storage)


def test_too_much_is_not_completed(storage: S3Storage, page: Page) -> None:
    """The parts are summed up when it is completed, also if the link is older than they are."""
    storage.max_size = 5
    upload = begun(page)
    signed = sign(page, "POST", **upload)
    body = send_parts(page, upload, [b"123456"])
    answer = send(page, "POST", signed, body)
    assert (413, "too-large") == (answer.status_code, answer.json()["kind"])
    assert 404 == send(page, "GET", sign(page, "GET", **upload)).status_code
    assert [] == list(storage)


def test_the_storage_chooses_every_key(storage: S3Storage, page: Page) -> None:
    """What is stored cannot be asked for to be written, nor anything outside the storage."""
    handle = storage.add("a.txt", b"first")
    for method in ("PUT", "POST"):
        for key in (storage.key_of_handle(handle), handle[1:], "x", "/etc/passwd"):
            signed = sign(page, method, key)
            assert handle != signed["handle"]
            assert signed["key"].startswith(storage.prefix)
    assert b"first" == storage.open(handle).read()


def test_what_is_stored_is_not_replaced(storage: S3Storage, page: Page) -> None:
    """Two uploads for one key: the second is refused, though its link was signed in time."""
    signed = sign(page, "POST")
    ids = [element(send(page, "POST", signed), "UploadId") for _ in range(2)]
    first, second = ({"key": signed["key"], "uploadId": upload_id} for upload_id in ids)
    bodies = [send_parts(page, one, [one["uploadId"].encode()]) for one in (first, second)]
    links = [sign(page, "POST", **one) for one in (first, second)]
    assert [200, 409] == [
        send(page, "POST", link, body).status_code for link, body in zip(links, bodies, strict=True)
    ]
    assert ids[0].encode() == storage.open(signed["handle"]).read()
    send(page, "DELETE", sign(page, "DELETE", **second))


def test_what_follows_names_a_key_of_ours(storage: S3Storage, page: Page) -> None:
    """A key without the prefix, with another, or of nothing that we could have made."""
    upload = begun(page)
    handle = storage.handle_of_key(upload["key"])
    for key in (KEY, handle, handle[1:], "other/" + handle[1:], upload["key"] + "/x", ""):
        for method in ("PUT", "GET", "POST", "DELETE"):
            wanted = {**upload, "method": method, "key": key, "partNumber": 1}
            answer = page.ask("POST", "/sign", json=wanted)
            assert 400 == answer.status_code
            assert "@uppy/aws-s3" in answer.json()["detail"]
    abort_unfinished(storage)


@pytest.mark.parametrize("number", [0, -1, 10_001, "1", "x", None, 1.5, True])
def test_parts_are_numbered_from_1_to_10000(storage: S3Storage, page: Page, number: object) -> None:
    """Nothing else is signed."""
    key = storage.key_of_handle(storage.reserve("a.bin"))
    wanted = {"method": "PUT", "key": key, "uploadId": "id", "partNumber": number}
    assert 400 == status(page, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        [],
        {},
        {"method": "PUT"},
        {"method": "PUT", "key": 1},
        {"key": "a"},
        {"method": "GET", "key": "a"},
        {"method": "DELETE", "key": "a"},
        {"method": ["PUT"], "key": "a"},
        {"method": "PUT", "key": "a", "expiresIn": "x"},
        {"method": "PUT", "key": "a", "expiresIn": -1},
        {"method": "PUT", "key": "a", "uploadId": 1},
    ],
)
def test_what_is_no_request_of_uppy_is_refused(page: Page, wanted: object) -> None:
    """Among them to read or to remove an attachment."""
    assert 400 == status(page, wanted)


def test_methods_and_ids_that_follow_are_checked(storage: S3Storage, page: Page) -> None:
    """Only the four methods, only ids as servers give them out."""
    key = storage.key_of_handle(storage.reserve("a.bin"))
    wrong: list[Any] = ["", "a\nb", "é", 1, [], "x" * 3000]
    for upload_id in wrong:
        assert 400 == status(page, {"method": "GET", "key": key, "uploadId": upload_id})
    assert 400 == status(page, {"method": "PATCH", "key": key, "uploadId": "id"})


def test_a_link_lasts_no_longer_than_is_set(storage: S3Storage, page: Page) -> None:
    """The page may ask for less."""
    storage.link_expires = 600
    for asked, expected in ((None, "600"), (100, "100"), (9999, "600")):
        signed = sign(page, "PUT", contentType="x/own", expiresIn=asked)
        assert f"X-Amz-Expires={expected}&" in signed["url"]


def test_the_rule_is_asked_with_the_handle(storage: S3Storage, page: Page) -> None:
    """Nobody learns anything; a rule can decide by the attachment; other sites are refused."""
    there = storage.reserve("a.bin")
    key = storage.key_of_handle(there)
    begin, follow = {"method": "PUT", "key": "a"}, {"method": "GET", "key": key, "uploadId": "x"}
    nobody = Page(storage, access=Access(access_rule("none", None)))
    only_new = Page(storage, access=Access(lambda _, __, handle: handle != there))
    assert [403, 403] == [status(nobody, wanted) for wanted in (begin, follow)]
    assert [200, 403] == [status(only_new, wanted) for wanted in (begin, follow)]
    assert 403 == status(page, begin, headers={"Origin": "https://evil.example"})
    allowed = page.ask("POST", "/sign", json=begin, headers={"Origin": ORIGIN})
    assert ORIGIN == allowed.headers["Access-Control-Allow-Origin"]
    assert "POST" == page.ask("GET", "/sign").headers["Allow"]


def test_a_directory_takes_whole_files_only(tmp_path: Path) -> None:
    """With a link to the service; what has parts is refused."""
    with LocalStorage(tmp_path, url="http://here", secret="secret") as storage:
        page = Page(storage)
        signed = sign(page, "PUT", "folder/é.png", contentType="image/png")
        assert signed["handle"][1:] == signed["key"]
        path = signed["url"].removeprefix("http://here")
        sent = page.ask("PUT", path, headers=signed["headers"], content=b"content")
        assert 201 == sent.status_code
        assert b"content" == storage.open(signed["handle"]).read()
        assert CANNOT == status(page, {"method": "POST", "key": "a"})
        follow = {"key": signed["key"], "uploadId": "x", "partNumber": 1}
        for method in ("PUT", "GET", "POST", "DELETE"):
            assert CANNOT == status(page, {**follow, "method": method})


@pytest.mark.parametrize("told", [{}, {"contentType": "image/gif"}])
def test_where_there_are_no_links_the_service_takes_whole_files(told: dict[str, str]) -> None:
    """Whatever the version of the client; what has parts is refused."""
    with MemoryStorage() as storage:
        page = Page(storage)
        signed = sign(page, "PUT", "a.bin", **told)
        assert signed["url"].startswith(HERE)
        assert 200 == send(page, "PUT", signed, b"content", "image/gif").status_code
        assert "image/gif" == storage.info(signed["handle"]).content_type
        assert CANNOT == status(page, {"method": "POST", "key": "a"})
