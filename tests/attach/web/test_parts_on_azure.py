"""Uploads in parts on Azure, as Uppy makes them: the service stores each part."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.azure_harness import AzureHarness
from attach.web.test_sign import NAMED, begun, send, send_parts, sign
from attach.web.uploaders import ORIGIN, Page, at
from rex.attach.storage.hooks import Hooks
from rex.attach.web import Access
from rex.attach.web.access import access_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage
    from rex.attach_demo.azurite import Azurite

HERE = "http://here"
FILE = {"filename": "größe.bin", "type": "x/own"}
PARTS = [b"one", b"two", b"three"]


class User(NamedTuple):
    """A user as frameworks have them."""

    username: str


@pytest.fixture
def storage(azurite: Azurite) -> Iterator[Storage]:
    """Return a storage on Azurite, and check afterwards that nothing but attachments is in it."""
    harness = AzureHarness(azurite)
    with harness.storage() as storage:
        yield storage
        assert [] == harness.garbage(storage)


@pytest.fixture
def page(storage: Storage) -> Page:
    """Return the page of somebody unknown."""
    return Page(storage)


def put(page: Page, url: str, content: bytes, **options: Any) -> Any:
    """Send a part to the service."""
    return page.ask("PUT", url.removeprefix(HERE), content=content, **options)


def send_to(page: Page, upload: dict[str, str], parts: list[bytes]) -> list[dict[str, Any]]:
    """Send parts by Companion's links; give what completes the upload."""
    named = []
    for number, part in enumerate(parts, 1):
        link = page.json("GET", at(upload, f"/{number}"))
        assert 3590 <= link["expires"] <= 3600
        sent = put(page, link["url"], part)
        assert 200 == sent.status_code
        named.append({"PartNumber": number, "ETag": sent.headers["ETag"]})
    return named


# Companion.


def test_companion_sends_a_file_in_parts(storage: Storage, page: Page) -> None:
    """Created, sent, listed, completed; each ETag is that of the list."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    assert {"key", "uploadId", "bucket", "handle"} == set(upload)
    named = send_to(page, upload, PARTS)
    listed = page.json("GET", at(upload))
    assert [{**one, "Size": len(part)} for one, part in zip(named, PARTS, strict=True)] == listed
    made = page.json("POST", at(upload, "/complete"), json={"parts": named})
    assert upload["handle"] == made["handle"]
    info = storage.info(made["handle"])
    assert ("größe.bin", 11, "x/own") == (info.name, info.size, info.content_type)
    assert b"onetwothree" == storage.open(made["handle"]).read()


def test_links_for_parts_come_by_the_batch(page: Page) -> None:
    """Each under its number; what is not a number is refused."""
    upload = page.json("POST", "/s3/multipart", json=FILE)
    urls = page.json("GET", at(upload, "/batch") + "&partNumbers=1,10000")["presignedUrls"]
    assert ["1", "10000"] == list(urls)
    assert 200 == put(page, urls["10000"], b"abc").status_code
    assert [10_000] == [part["PartNumber"] for part in page.json("GET", at(upload))]
    for wrong in ("", "1,x", "0", "10001"):
        answer = page.ask("GET", at(upload, "/batch") + f"&partNumbers={wrong}")
        assert 400 == answer.status_code
    assert {} == page.json("DELETE", at(upload))
    assert 404 == page.ask("GET", at(upload)).status_code
    assert 404 == put(page, urls["1"], b"abc").status_code


def test_a_wrong_part_is_refused(storage: Storage, page: Page) -> None:
    """One that was not sent, one with another ETag, one of another upload."""
    upload, other = (page.json("POST", "/s3/multipart", json=FILE) for _ in range(2))
    (part,), of_other = send_to(page, upload, [b"abc"]), send_to(page, other, [b"abc"])
    for parts in ([part, {**part, "PartNumber": 2}], [{**part, "ETag": '"abc"'}], of_other):
        answer = page.ask("POST", at(upload, "/complete"), json={"parts": parts})
        assert (409, "parts-mismatch") == (answer.status_code, answer.json()["type"])
    assert [] == [*storage]
    for each in (upload, other):
        assert {} == page.json("DELETE", at(each))


def test_an_upload_is_its_owners_alone(storage: Storage) -> None:
    """Nobody else gets a link; a link is the permission of whoever has it."""
    mine, another = Page(storage, User("me")), Page(storage, User("you"))
    upload = mine.json("POST", "/s3/multipart", json=FILE)
    for method, rest in (("GET", ""), ("GET", "/1"), ("POST", "/complete"), ("DELETE", "")):
        content = b'{"parts": [{"PartNumber": 1, "ETag": "x"}]}'
        assert 403 == another.ask(method, at(upload, rest), content=content).status_code
    link = mine.json("GET", at(upload, "/1"))
    assert 200 == put(another, link["url"], b"abc").status_code
    assert {} == mine.json("DELETE", at(upload))


# signRequest.


def test_a_signer_sends_a_file_in_parts(storage: Storage, page: Page) -> None:
    """Each of the five requests goes to the service, and is answered as by S3."""
    told: list[str] = []
    storage.hooks = Hooks(on_stored=lambda upload: told.append(upload.handle))
    upload = begun(page, "größe (1).png")
    body = send_parts(page, upload, PARTS)
    listed = send(page, "GET", sign(page, "GET", **upload))
    assert (200, "application/xml") == (listed.status_code, listed.headers["Content-Type"])
    etags = re.findall("<ETag>&quot;([0-9a-f]+)&quot;</ETag>", listed.text)
    assert ["1", "2", "3"] == re.findall("<PartNumber>([0-9]+)<", listed.text)
    assert etags == re.findall("<ETag>([0-9a-f]+)</ETag>", body.decode())
    assert [] == told
    for _ in range(2):  # a client repeats a request whose response was lost
        completed = send(page, "POST", sign(page, "POST", **upload), body, "application/xml")
        assert (200, "application/xml") == (
            completed.status_code,
            completed.headers["Content-Type"],
        )
    (handle,) = storage
    assert handle in told
    assert b"onetwothree" == storage.open(handle).read()
    assert "x/own" == storage.info(handle).content_type


def test_an_upload_is_aborted(page: Page) -> None:
    """Its parts are gone, which the fixture sees; then there is nothing to abort or list."""
    upload = begun(page)
    send_parts(page, upload, PARTS)
    signed, listing = sign(page, "DELETE", **upload), sign(page, "GET", **upload)
    assert 204 == send(page, "DELETE", signed).status_code
    assert 404 == send(page, "DELETE", signed).status_code
    assert 404 == send(page, "GET", listing).status_code


def test_only_an_upload_that_was_begun_takes_parts(page: Page) -> None:
    """A client that makes up the id of an upload stores nothing; the fixture sees that."""
    upload = begun(page)
    forged = {**upload, "uploadId": "0" * 16}
    assert 404 == send(page, "PUT", sign(page, "PUT", **forged, partNumber=1), b"x").status_code
    assert 404 == send(page, "POST", sign(page, "POST", **forged), NAMED).status_code
    for number in (0, 10_001, "1", None, True, 1.5):
        wanted = {"method": "PUT", **upload, "partNumber": number}
        assert 400 == page.ask("POST", "/sign", json=wanted).status_code
    assert 204 == send(page, "DELETE", sign(page, "DELETE", **upload)).status_code


def test_a_permission_is_for_one_request(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another method, another part, another moment: each is refused."""
    upload = begun(page)
    steps = [
        ("PUT", sign(page, "PUT", **upload, partNumber=1)),
        ("GET", sign(page, "GET", **upload)),
        ("DELETE", sign(page, "DELETE", **upload)),
        ("POST", sign(page, "POST", **upload)),
    ]
    for own, signed in steps:
        path = signed["url"].removeprefix(HERE)
        for method, _ in steps:
            if method != own:
                assert 403 == page.ask(method, path, content=NAMED).status_code
        assert 403 == page.ask(own, path + "&partNumber=2", content=NAMED).status_code
    later = time.time() + 7200
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        assert [403] * 4 == [
            send(page, method, signed, NAMED).status_code for method, signed in steps
        ]
    assert 204 == send(page, "DELETE", steps[2][1]).status_code


def test_the_largest_size_holds(storage: Storage, page: Page) -> None:
    """For each part as it arrives, and for their sum at the end, which aborts the upload."""
    storage.max_size = 5
    upload = begun(page)
    signed = sign(page, "PUT", **upload, partNumber=1)
    assert 413 == send(page, "PUT", signed, b"123456").status_code
    body = send_parts(page, upload, [b"123", b"456"])
    signed = sign(page, "POST", **upload)
    assert 413 == send(page, "POST", signed, body).status_code
    assert 404 == send(page, "POST", signed, body).status_code
    assert [] == [*storage]


def test_the_limit_of_on_begin_holds(storage: Storage, page: Page) -> None:
    """For each part, and for their sum; the id of the upload carries it."""
    storage.hooks = Hooks(on_begin=lambda upload: dataclasses.replace(upload, max_size=5))
    upload = begun(page)
    signed = sign(page, "PUT", **upload, partNumber=1)
    assert 413 == send(page, "PUT", signed, b"123456").status_code
    body = send_parts(page, upload, [b"123", b"456"])
    assert 413 == send(page, "POST", sign(page, "POST", **upload), body).status_code
    assert [] == [*storage]


def test_a_page_of_another_site_reads_the_etag(page: Page) -> None:
    """Its origin is allowed; of any other it may not."""
    upload = begun(page)
    path = sign(page, "PUT", **upload, partNumber=1)["url"].removeprefix(HERE)
    headers = {"Origin": ORIGIN}
    preflight = page.ask("OPTIONS", path, headers=headers)
    sent = put(page, path, b"abc", headers=headers)
    for answer in (preflight, sent):
        assert ORIGIN == answer.headers["Access-Control-Allow-Origin"]
    assert {"PUT", "GET", "DELETE", "POST"} <= {
        *preflight.headers["Access-Control-Allow-Methods"].split(", ")
    }
    assert "ETag" in sent.headers["Access-Control-Expose-Headers"]
    assert 204 == send(page, "DELETE", sign(page, "DELETE", **upload)).status_code


def test_who_may_not_upload_gets_no_link(storage: Storage) -> None:
    """Nor does the service answer a link that it did not sign."""
    nobody = Page(storage, access=Access(access_rule("none", None)))
    assert 403 == nobody.ask("POST", "/s3/multipart", json=FILE).status_code
    assert 403 == nobody.ask("POST", "/sign", json={"method": "POST", "key": "a"}).status_code
    handle = storage.reserve("a.bin")
    for method in ("GET", "PUT", "DELETE", "POST"):
        assert 403 == Page(storage).ask(method, f"/sign{handle}?token=x.y").status_code
