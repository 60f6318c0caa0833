"""Requests that a browser makes to the service in place of S3: what they permit, and nothing else.

They are those of @uppy/aws-s3 6.1, which sends no header that it is told to send, and tells no type
to the signer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from attach.s3_uploads import abort_unfinished
from attach.web.test_sign import NAMED, begun, element, send, send_parts, sign
from attach.web.uploaders import ORIGIN, Page
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.web import Access
from rex.attach.web.access import access_rule
from rex.core import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage

HERE = "http://here"
NAME = "größe (1).png"


async def chunks(*sent: bytes) -> AsyncIterator[bytes]:
    """Give a body whose size is not told."""
    for chunk in sent:
        yield chunk


def put(
    page: Page, signed: Any, content: Any = b"content", content_type: str = "x/own"
) -> tuple[int, str]:
    """Send a whole file, without any other header; give the status, and the kind of a problem."""
    path = signed["url"].removeprefix(HERE)
    answer = page.ask("PUT", path, headers={"Content-Type": content_type}, content=content)
    return answer.status_code, answer.json()["kind"] if answer.content else ""


def stored_headers(storage: S3Storage, handle: str) -> dict[str, str]:
    """Ask S3 for the headers of an object."""
    client = storage._bucket.control._client()
    answer = client.head_object(Bucket=storage.bucket, Key=storage.key_of_handle(handle))
    headers: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


def test_a_whole_file_is_stored_as_a_link_would_pin_it(storage: Storage) -> None:
    """Under the key of the link, once, with the type that the client sends with it."""
    page = Page(storage)
    signed = sign(page, "PUT", f"folder/{NAME}")
    assert {} == signed["headers"]
    assert (200, "") == put(page, signed)
    assert (412, "exists") == put(page, signed, b"another")
    info = storage.info(signed["handle"])
    assert (NAME, "x/own", 7) == (info.name, info.content_type, info.size)
    assert b"content" == storage.open(signed["handle"]).read()


def test_uploads_go_to_the_service_while_only_the_older_storage_has_links() -> None:
    """The storage that attachments move into makes none."""
    older = MemoryStorage(url="http://older")
    with FallbackStorage(MemoryStorage(), older) as storage:
        page = Page(storage)
        signed = sign(page, "PUT", NAME, contentType="x/own")
        assert (200, "") == put(page, signed)
        assert [signed["handle"]] == [*storage.new]


@pytest.mark.parametrize("given", ["", "junk", "x/y\x00", "a b/c"])
def test_the_name_decides_where_the_client_tells_no_type(page: Page, given: str) -> None:
    """What is not a media type is not stored as one."""
    signed = sign(page, "PUT", NAME)
    assert (200, "") == put(page, signed, content_type=given)
    answer = page.ask("GET", quote(signed["handle"]))
    assert "image/png" == answer.headers["Content-Type"]


def test_an_object_has_the_headers_of_every_other(s3: S3Storage, page: Page) -> None:
    """Whichever way it came: a public bucket serves it as a download."""
    there = s3.add(NAME, b"content", content_type="x/own")
    whole = sign(page, "PUT", NAME)
    assert (200, "") == put(page, whole)
    upload = begun(page, NAME)
    signed = sign(page, "POST", **upload)
    assert 200 == send(page, "POST", signed, send_parts(page, upload, [b"content"])).status_code
    expected = stored_headers(s3, there)
    for handle in (whole["handle"], signed["handle"]):
        found = stored_headers(s3, handle)
        for name in ("content-type", "content-disposition", "cache-control"):
            assert expected[name] == found[name]


def test_the_largest_size_holds(storage: Storage) -> None:
    """Also of content whose size is not told."""
    storage.max_size = 5
    page = Page(storage)
    signed = sign(page, "PUT", NAME)
    for content in (b"123456", chunks(b"123", b"456")):
        assert (413, "too-large") == put(page, signed, content)
        assert [] == list(storage)
    assert (200, "") == put(page, signed, b"12345")


def test_a_permission_is_for_one_request(s3: S3Storage, page: Page) -> None:
    """Another method, another step, another handle, another parameter: all are refused."""
    whole, created = sign(page, "PUT", NAME), sign(page, "POST", NAME)
    upload = begun(page, NAME)
    completed = sign(page, "POST", **upload)
    paths = [one["url"].removeprefix(HERE) for one in (whole, created, completed)]
    tokens = [path.partition("?")[2] for path in paths]
    handles = [path.partition("?")[0] for path in paths]
    for place, path in enumerate(paths):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"):
            if method != ("PUT", "POST", "POST")[place]:
                status = 405 if method in ("HEAD", "PATCH") else 403
                assert status == page.ask(method, path, content=b"x").status_code
        other = handles[place - 1]
        for changed in (
            f"{other}?{tokens[place]}",
            f"{handles[place]}?{tokens[place]}&x=1",
            f"{handles[place]}?{tokens[place][:-1]}",
            f"{handles[place]}?x{tokens[place][1:]}",
            f"{handles[place]}",
            f"{handles[place]}/x?{tokens[place]}",
        ):
            answer = page.ask(("PUT", "POST", "POST")[place], changed, content=NAMED)
            assert answer.status_code in (403, 404), changed
    assert [] == list(s3)
    abort_unfinished(s3)


def test_a_permission_ends(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time that the page asked for."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    signed = sign(page, "PUT", NAME, expiresIn=100)
    monkeypatch.setattr(time, "time", lambda: now + 99)
    assert (200, "") == put(page, signed)
    monkeypatch.setattr(time, "time", lambda: now + 101)
    assert (403, "denied") == put(page, signed)


def test_a_permission_needs_no_key_of_the_service(s3: S3Storage) -> None:
    """Uppy sends none; the page that asked for it showed one."""
    page = Page(s3, access=Access(access_rule("bearer", Secret("key-of-a-program"))))
    wanted = {"method": "PUT", "key": NAME}
    assert 401 == page.ask("POST", "/sign", json=wanted).status_code
    allowed = page.ask(
        "POST", "/sign", json=wanted, headers={"Authorization": "Bearer key-of-a-program"}
    )
    assert (200, "") == put(page, allowed.json())


def test_pages_of_other_sites_may_send(storage: Storage) -> None:
    """Of those that may ask for a signature; they may read the answer."""
    page = Page(storage)
    signed = sign(page, "PUT", NAME)
    path = signed["url"].removeprefix(HERE)
    for origin, expected in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        preflight = page.ask("OPTIONS", path, headers=asked)
        assert expected == preflight.headers.get("Access-Control-Allow-Origin")
    assert {"POST", "PUT", "GET", "DELETE"} == {*preflight_methods(page, path)}
    answer = page.ask("PUT", path, headers={"Origin": ORIGIN}, content=b"content")
    assert (200, ORIGIN) == (answer.status_code, answer.headers["Access-Control-Allow-Origin"])
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert storage.info(signed["handle"]).etag == answer.headers["ETag"]


def preflight_methods(page: Page, path: str) -> list[str]:
    """Ask which methods a page of another site may use."""
    answer = page.ask("OPTIONS", path, headers={"Origin": ORIGIN})
    return answer.headers["Access-Control-Allow-Methods"].split(", ")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "http://here/sign/"),
        ({"Host": "there:81"}, "http://there:81/sign/"),
        ({"Origin": "https://here", "Sec-Fetch-Site": "same-origin"}, "https://here/sign/"),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, "http://here/sign/"),
    ],
)
def test_an_address_is_absolute(s3: S3Storage, headers: dict[str, str], expected: str) -> None:
    """As the browser knows the service: Uppy parses it without the address of the page."""
    answer = Page(s3).ask("POST", "/sign", json={"method": "PUT", "key": "a"}, headers=headers)
    assert answer.json()["url"].startswith(expected)
    s3.url = "https://files.example.org/attach/"
    answer = Page(s3).ask("POST", "/sign", json={"method": "PUT", "key": "a"}, headers=headers)
    assert answer.json()["url"].startswith("https://files.example.org/attach/sign/20")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<CompleteMultipartUpload></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload/>",
        NAMED.replace(b">1<", b">0<"),
        NAMED.replace(b">1<", b">10001<"),
        NAMED.replace(b">1<", b">x<"),
        NAMED.replace(b"abc", b""),
        NAMED.replace(b"abc", b"<!-- -->"),
        NAMED.replace(b"</Part>", b"</Part>" + NAMED[25:-26]),
        b'<!DOCTYPE x [<!ENTITY a "a">]>' + NAMED,
        NAMED[:-1],
        NAMED + b"<x/>",
        b"\xff" + NAMED,
        b"{}",
    ],
)
def test_what_does_not_name_parts_completes_nothing(s3: S3Storage, page: Page, body: bytes) -> None:
    """It is read by what Uppy sends, and by nothing more."""
    upload = begun(page)
    send_parts(page, upload, [b"abc"])
    signed = sign(page, "POST", **upload)
    assert 400 == send(page, "POST", signed, body).status_code
    assert 413 == send(page, "POST", signed, bytes(1024 * 1024 + 1)).status_code
    assert [] == list(s3)
    abort_unfinished(s3)


def test_parts_are_those_that_the_server_has(s3: S3Storage, page: Page) -> None:
    """Another ETag or number is a conflict; quotes around an ETag do not matter."""
    upload = begun(page)
    body = send_parts(page, upload, [b"abc"])
    signed = sign(page, "POST", **upload)
    for wrong in (NAMED, body.replace(b">1<", b">2<")):
        assert 409 == send(page, "POST", signed, wrong).status_code
    quoted = body.replace(b"<ETag>", b'<ETag>"').replace(b"</ETag>", b'"</ETag>')
    completed = send(page, "POST", signed, quoted)
    assert (200, upload["key"]) == (completed.status_code, element(completed, "Key"))
    assert b"abc" == s3.open(signed["handle"]).read()


def test_an_id_that_is_none_completes_nothing(page: Page) -> None:
    """Whatever it is, it is refused, at the latest when it is used."""
    upload = begun(page)
    for wrong in ("", "x", "a\nb", "é", "x" * 3000):
        wanted = {**upload, "uploadId": wrong, "method": "POST"}
        answer = page.ask("POST", "/sign", json=wanted)
        if answer.status_code == 200:
            answer = send(page, "POST", answer.json(), NAMED)
        assert answer.status_code in (400, 403, 404), wrong
    junk: list[Any] = [1, [], {}, True]
    for given in junk:
        wanted = {**upload, "uploadId": given, "method": "POST"}
        assert 400 == page.ask("POST", "/sign", json=wanted).status_code
    send(page, "DELETE", sign(page, "DELETE", **upload))
