"""Links to the service: what each permits is done, and nothing else is, whatever is tried."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attach.harnesses import LocalHarness, MemoryHarness
from attach.web.virtual_time import VirtualTime
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.links.grant import Grant
from rex.attach.web import Access, attachments
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.links.link import PresignedLink

HERE = "http://here/attach"
NAME = "ü b+c.txt"
BORDER = "border"

Field = tuple[str, str]
A_FILE = 'name="file"; filename="file"'


class Answer(NamedTuple):
    """What the service answered."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def refused(self) -> bool:
        """Whether it said that one may not."""
        return 400 <= self.status < 500


@pytest.fixture(params=[MemoryHarness, LocalHarness])
def served(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Give an empty storage whose links lead to the service."""
    with request.param().storage() as storage:
        storage.url = HERE
        yield storage


def ask(
    storage: Storage,
    method: str,
    target: bytes | str,
    headers: Sequence[Field] = (),
    body: bytes = b"",
) -> Answer:
    """Send a request for a target just as it is, to the service over a storage."""
    if isinstance(target, str):
        target = target.removeprefix("http://here").encode()
    raw_path, _, query = target.partition(b"?")
    names = {name.lower() for name, _ in headers}
    length = [] if "content-length" in names else [("content-length", str(len(body)))]
    scope = {
        "type": "http",
        "method": method,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "root_path": "/attach",
        "query_string": query,
        "headers": [
            (name.lower().encode(), value.encode("latin-1")) for name, value in (*headers, *length)
        ],
    }
    to_send = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        message = next(to_send, None)
        return message if message is not None else await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message)

    async def live() -> None:
        await attachments(storage, Access(lambda *_: False))(scope, receive, send)

    asyncio.run(live())
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], httpx.Headers(sent[0]["headers"]), content)


def form(fields: Sequence[Field], *files: tuple[str, bytes], after: bytes = b"") -> bytes:
    """Write a form."""
    parts = [(f'name="{name}"', value.encode()) for name, value in fields] + list(files)
    written = [
        f"--{BORDER}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    ]
    return b"".join(written) + after + f"--{BORDER}--\r\n".encode()


def post(
    storage: Storage, link: PresignedLink, body: bytes | None = None, url: str | None = None
) -> Answer:
    """Send a form to a link, by default the right one."""
    body = form([*link.fields.items()], (A_FILE, b"content")) if body is None else body
    headers = [("Content-Type", f"multipart/form-data; boundary={BORDER}")]
    return ask(storage, "POST", link.url if url is None else url, headers, body)


def put(storage: Storage, link: PresignedLink, body: bytes = b"content") -> Answer:
    """Send content to a link."""
    return ask(storage, "PUT", link.url, [*link.headers.items()], body)


def content_of(storage: Storage, handle: str) -> bytes:
    """Read an attachment."""
    with storage.open(handle) as stream:
        return stream.read()


def expect_denied(answer: Answer) -> None:
    """See that a request was refused as not permitted."""
    assert (403, "application/problem+json", b'"kind":"denied"') == (
        answer.status,
        answer.headers["Content-Type"],
        b'"kind":"denied"' if b'"kind":"denied"' in answer.body else answer.body,
    )


def test_an_upload_is_answered_with_what_it_became(served: Storage) -> None:
    """ETag and Location, as direct upload needs them; they are those of the attachment."""
    for method, status in (("POST", 204), ("PUT", 201)):
        handle = served.reserve(NAME)
        link = served.upload_link(handle, method=method)  # type: ignore[arg-type]  # both are
        answer = post(served, link) if method == "POST" else put(served, link)
        assert (status, b"") == (answer.status, answer.body)
        assert served.info(handle).etag == answer.headers["ETag"]
        place = answer.headers["Location"].removeprefix(HERE)
        assert handle == unquote_to_bytes(place).decode()
        assert b"content" == content_of(served, handle)
        assert "text/plain" == served.info(handle).content_type


def test_links_look_as_they_should(served: Storage) -> None:
    """ASCII stands as it is, and the signature at the very end."""
    handle = served.reserve("a-b.txt")
    link = served.download_link(handle)
    assert re.fullmatch(re.escape(f"{HERE}/signed{handle}?token=") + "[A-Za-z0-9_.-]+", link.url)
    served.url = f"{HERE}/"
    form_link = served.upload_link(handle)
    assert re.fullmatch(re.escape(f"{HERE}/signed/") + "[A-Za-z0-9_.-]+/", form_link.url)
    assert {"key", "Content-Type"} == set(form_link.fields)


@pytest.mark.parametrize("name", ["é" * 127, "中" * 85, "a" * 251 + ".txt", "𝄞" * 63, "'%;+" * 63])
def test_the_longest_names_have_links(name: str) -> None:
    """With the longest type and another name of that length for the download."""
    storage = MemoryStorage(url=HERE)
    handle, media_type = storage.reserve(name), "a/b" + '; c="\\""' * 28
    assert 204 == post(storage, storage.upload_link(handle, content_type=media_type)).status
    link = storage.download_link(handle, filename=name, inline=True)
    assert b"content" == ask(storage, "GET", link.url).body


def test_a_link_works_wherever_the_secret_is_the_same(tmp_path: Path) -> None:
    """In another process over the same directory, which has one; or where it is given."""
    first, second = LocalStorage(tmp_path, url=HERE), LocalStorage(tmp_path, url=HERE)
    handle = first.reserve("a.txt")
    assert 204 == post(second, first.upload_link(handle)).status
    given_one = LocalStorage(tmp_path, url=HERE, secret="one")
    expect_denied(ask(first, "GET", given_one.download_link(handle).url))
    assert 200 == ask(given_one, "GET", given_one.download_link(handle).url).status


def test_a_download_is_served_as_it_was_signed(served: Storage) -> None:
    """With ranges and conditions, and in each part the type that was signed."""
    handle = served.add("a.png", b"0123456789", content_type="text/html")
    link = served.download_link(handle, inline=True, filename="b.png")
    whole = ask(served, "GET", link.url)
    assert (200, b"0123456789") == (whole.status, whole.body)
    assert "image/png" == whole.headers["Content-Type"]
    assert 'inline; filename="b.png"' == whole.headers["Content-Disposition"]
    assert "nosniff" == whole.headers["X-Content-Type-Options"]
    part = ask(served, "GET", link.url, [("Range", "bytes=2-4")])
    assert (206, b"234") == (part.status, part.body)
    several = ask(served, "GET", link.url, [("Range", "bytes=0-0,9-9")])
    assert (206, 2) == (several.status, several.body.count(b"Content-Type: image/png"))
    known = [("If-None-Match", whole.headers["ETag"])]
    assert 304 == ask(served, "GET", link.url, known).status


def test_a_download_is_kept_until_its_link_ends(served: Storage) -> None:
    """By the browser that had it; a refusal is not kept."""
    handle = served.add("a.png", b"0123456789")
    url = served.download_link(handle, expires=600).url
    for headers in ((), [("Range", "bytes=2-4")], [("If-None-Match", "*")]):
        answer = ask(served, "GET", url, headers)
        found = re.fullmatch(r"private, max-age=(\d+), immutable", answer.headers["Cache-Control"])
        assert found
        assert 540 < int(found[1]) <= 600
        assert "Vary" not in answer.headers
    assert "no-store" == ask(served, "GET", f"{url}x").headers["Cache-Control"]


@pytest.mark.parametrize("value", ["*", '"x"', ""])
def test_an_upload_that_is_to_replace_something_is_refused(served: Storage, value: str) -> None:
    """A link stores where nothing is (RFC 9110, section 13.1.1)."""
    link = served.upload_link(served.reserve("a.txt"), method="PUT")
    headers = [*link.headers.items(), ("If-Match", value)]
    assert 412 == ask(served, "PUT", link.url, headers, b"content").status
    assert [] == list(served)


def test_a_text_shown_by_a_link_says_how_it_is_encoded(served: Storage) -> None:
    """Judged by its name, as the rest of what is shown."""
    handle = served.add("a.txt", "Grüße".encode())
    answer = ask(served, "GET", served.download_link(handle, inline=True).url)
    assert "text/plain; charset=utf-8" == answer.headers["Content-Type"]


def test_a_download_that_is_not_shown_has_its_stored_type(served: Storage) -> None:
    """And is an attachment."""
    handle = served.add("a.png", b"<b>", content_type="text/html")
    answer = ask(served, "GET", served.download_link(handle).url)
    assert "text/html" == answer.headers["Content-Type"]
    assert 'attachment; filename="a.png"' == answer.headers["Content-Disposition"]


# One changed byte.

BYTES = st.integers(0x21, 0xFF).map(lambda number: bytes([number]))


def changed(text: bytes, place: int, byte: bytes) -> bytes:
    """Put another byte into a text, or none."""
    at = place % len(text)
    assume(text[at : at + 1] != byte)
    return text[:at] + byte + text[at + 1 :]


@settings(max_examples=200)
@given(st.sampled_from(["GET", "PUT", "POST"]), st.integers(0, 4000), BYTES | st.just(b""))
def test_one_changed_byte_of_an_address_is_refused(method: Any, place: int, byte: bytes) -> None:
    """Wherever it is, unless it is another way to write the same (the digits of ``%C3``)."""
    storage = MemoryStorage(url=HERE)
    handle = storage.reserve(NAME)
    if method == "GET":
        storage.put(handle, b"content")
        link = storage.download_link(handle)
    else:
        link = storage.upload_link(handle, method=method)
    headers, body = [*link.headers.items()], b"content"
    if method == "POST":
        headers = [("Content-Type", f"multipart/form-data; boundary={BORDER}")]
        body = form([*link.fields.items()], (A_FILE, b"content"))
    before = list(storage)
    target = link.url.removeprefix("http://here/attach").encode()
    hostile = changed(target, place, byte)
    assume(unquote_to_bytes(hostile) != unquote_to_bytes(target))
    answer = ask(storage, method, b"/attach" + hostile, headers, body)
    assert answer.refused
    assert b"content" not in answer.body
    assert before == list(storage)


@settings(max_examples=150)
@given(st.integers(0, 1), st.integers(0, 1), st.integers(0, 4000), BYTES | st.just(b""))
def test_one_changed_byte_of_a_form_is_refused(
    which: int,
    part: int,
    place: int,
    byte: bytes,
) -> None:
    """In the name or the value of any field."""
    storage = MemoryStorage(url=HERE)
    link = storage.upload_link(storage.reserve(NAME))
    parts = [[name.encode(), value.encode()] for name, value in link.fields.items()]
    parts[which][part] = changed(parts[which][part], place, byte)
    body = b"".join(
        b'--border\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name, value)
        for name, value in parts
    )
    assert post(storage, link, body + form([], (A_FILE, b"content"))).refused
    assert [] == list(storage)


@settings(max_examples=100)
@given(st.sampled_from(["Content-Type", "If-None-Match"]), st.integers(0, 20), BYTES)
def test_one_changed_byte_of_a_header_is_refused(name: str, place: int, byte: bytes) -> None:
    """Of those that a PUT link names."""
    storage = MemoryStorage(url=HERE)
    link = storage.upload_link(storage.reserve(NAME), method="PUT")
    value = changed(link.headers[name].encode(), place, byte).decode("latin-1")
    expect_denied(put(storage, dataclasses.replace(link, headers={**link.headers, name: value})))
    assert [] == list(storage)


# What else is tried.


def expired(storage: Storage, link: PresignedLink, method: str, permission: Grant) -> str:
    """Sign what a link permits anew, for a time that has passed."""
    token = permission.sign(storage.tokens, method, expires=time.time())
    return f"{link.url.partition('?')[0]}?token={token}"


def test_what_has_expired_is_refused(served: Storage) -> None:
    """Whatever it permitted."""
    there, free = served.add("a.txt", b"content"), served.reserve("b.txt")
    permission = Grant(there[1:], disposition="attachment")
    link = served.download_link(there)
    answer = ask(served, "GET", expired(served, link, "GET", permission))
    expect_denied(answer)
    assert b"expired" in answer.body
    upload = served.upload_link(free, method="PUT")
    permission = Grant(free[1:], "text/plain")
    expect_denied(
        put(served, dataclasses.replace(upload, url=expired(served, upload, "PUT", permission)))
    )
    posted = served.upload_link(free)
    token = permission.sign(served.tokens, "POST", expires=time.time())
    expect_denied(post(served, posted, url=f"{HERE}/signed/{token}/"))
    assert [there] == list(served)


def test_a_link_is_for_one_method(served: Storage) -> None:
    """No token does what another was made for."""
    handle = served.add("a.txt", b"content")
    free = served.reserve("b.txt")
    get, place = served.download_link(handle), served.upload_link(free, method="PUT")
    form_link = served.upload_link(free)
    expect_denied(ask(served, "PUT", get.url, [*place.headers.items()], b"x"))
    expect_denied(ask(served, "GET", place.url))
    get_token, put_token = (link.url.partition("token=")[2] for link in (get, place))
    for token in (get_token, put_token):
        expect_denied(post(served, form_link, url=f"{HERE}/signed/{token}/"))
    address = place.url.partition("?")[0]
    for token in (get_token, form_link.url.split("/")[-2]):
        expect_denied(put(served, dataclasses.replace(place, url=f"{address}?token={token}")))
    assert [handle] == list(served)
    assert b"content" == content_of(served, handle)


def test_a_link_is_for_one_attachment(served: Storage) -> None:
    """Though another is there, or may be uploaded too."""
    handle, other = served.add("a.txt", b"first"), served.add("b.txt", b"other")
    url = served.download_link(handle).url
    expect_denied(ask(served, "GET", url.replace(handle, other)))
    link = served.upload_link(served.reserve("c.txt"))
    free = served.reserve("d.txt")[1:]
    expect_denied(post(served, dataclasses.replace(link, fields={**link.fields, "key": free})))
    assert {handle, other} == set(served)


@pytest.mark.parametrize(
    "added",
    ["&response-content-type=text/html", "&response-content-disposition=inline", "&", "&token=x"],
)
def test_a_parameter_is_neither_added_nor_missing(served: Storage, added: str) -> None:
    """Nor is there one where a form is sent."""
    handle, free = served.add("a.txt", b"content"), served.reserve("b.txt")
    get = served.download_link(handle)
    path, _, query = get.url.partition("?")
    urls = [get.url + added, f"{path}?{added[1:]}&{query}", path, f"{path}?", f"{path}?token="]
    for url in (*urls, get.url.replace("token=", "Token="), f"{get.url}&{query}"):
        expect_denied(ask(served, "GET", url))
    link = served.upload_link(free)
    expect_denied(post(served, link, url=f"{link.url}?{added[1:] or 'x'}"))
    upload = served.upload_link(free, method="PUT")
    expect_denied(put(served, dataclasses.replace(upload, url=upload.url + added)))
    assert [handle] == list(served)


def test_an_upload_is_not_repeated(served: Storage) -> None:
    """A PUT finds its condition broken, a form a conflict; nothing changes."""
    for method, status in (("PUT", 412), ("POST", 409)):
        handle = served.reserve("a.txt")
        link = served.upload_link(handle, method=method)  # type: ignore[arg-type]  # both are
        assert (post(served, link) if method == "POST" else put(served, link)).status in (201, 204)
        before = served.info(handle)
        other = form([*link.fields.items()], (A_FILE, b"other"))
        again = post(served, link, other) if method == "POST" else put(served, link, b"other")
        assert (status, True) == (again.status, b'"kind":"exists"' in again.body)
        assert before == served.info(handle)
        assert b"content" == content_of(served, handle)


TWICE = "the same again"


@pytest.mark.parametrize(
    ("files", "after"),
    [
        ([], b""),
        ([('name="files"; filename="file"', b"x")], b""),
        ([('name="file"', b"x")], b""),
        ([('name="file"; filename=""', b"")], b""),
        ([(A_FILE, b"x"), (A_FILE, b"x")], b""),
        ([(A_FILE, b"x"), ('name="other"; filename="o"', b"x")], b""),
        ([(A_FILE, b"x"), ('name="acl"', b"public-read")], b""),
        ([(A_FILE, b"x"), ('name="key"', b"elsewhere")], b""),
        ([(A_FILE, b"x")], b"--border\r\n\r\n"),
    ],
)
def test_a_form_is_its_fields_and_one_file(
    served: Storage, files: list[tuple[str, bytes]], after: bytes
) -> None:
    """Called ``file`` and sent last; of anything else nothing is stored."""
    link = served.upload_link(served.reserve("a.txt"))
    answer = post(served, link, form([*link.fields.items()], *files, after=after))
    assert answer.refused
    assert [] == list(served)


@pytest.mark.parametrize("name", ["key", "Content-Type"])
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("value", [TWICE, "other"])
def test_a_field_is_not_given_twice(served: Storage, name: str, place: str, value: str) -> None:
    """Neither with the same value nor with another, before the right one or after it."""
    link = served.upload_link(served.reserve("a.txt"))
    given_fields = [*link.fields.items()]
    again = (name, link.fields[name] if value is TWICE else value)
    fields = [again, *given_fields] if place == "first" else [*given_fields, again]
    expect_denied(post(served, link, form(fields, (A_FILE, b"x"))))
    assert [] == list(served)


def test_a_header_is_not_given_twice(served: Storage) -> None:
    """Nor is there more than one content type of a form."""
    link = served.upload_link(served.reserve("a.txt"), method="PUT")
    for again in (("Content-Type", "text/plain"), ("If-None-Match", '"x"')):
        expect_denied(ask(served, "PUT", link.url, [*link.headers.items(), again], b"x"))
    form_link = served.upload_link(served.reserve("a.txt"))
    body = form([*form_link.fields.items()], (A_FILE, b"x"))
    kind = ("Content-Type", f"multipart/form-data; boundary={BORDER}")
    assert 400 == ask(served, "POST", form_link.url, [kind, kind], body).status
    assert [] == list(served)


def test_a_large_upload_is_refused_before_it_comes(served: Storage) -> None:
    """When its length tells; the client has not sent its file yet, and will not."""
    link = served.upload_link(served.reserve("a.bin"), max_size=10)
    fields = form([*link.fields.items()], (A_FILE, b"0"))[: -len(f"\r\n--{BORDER}--\r\n")]

    async def trickle() -> AsyncIterator[bytes]:
        yield fields
        await asyncio.Future()

    async def live() -> httpx.Response:
        app = attachments(served, Access(lambda *_: False))
        transport = httpx.ASGITransport(app, root_path="/attach")
        headers = {
            "Content-Type": f"multipart/form-data; boundary={BORDER}",
            "Content-Length": "1000000000",
        }
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.post(link.url, headers=headers, content=trickle())

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        assert 413 == runner.run(live()).status_code
    assert [] == list(served)


def test_the_limit_of_the_storage_holds_when_the_link_is_used(served: Storage) -> None:
    """Whatever the link was made for."""
    handle = served.reserve("a.bin")
    posted, place = served.upload_link(handle), served.upload_link(handle, method="PUT")
    served.max_size = 6
    assert 413 == post(served, posted).status
    assert 413 == put(served, place).status
    large = ask(
        served, "PUT", place.url, [*place.headers.items(), ("Content-Length", "10000000")], b"x"
    )
    assert 413 == large.status
    assert [] == list(served)


def test_what_breaks_off_is_not_stored(served: Storage) -> None:
    """A form without its last boundary, and content shorter than its length."""
    link = served.upload_link(served.reserve("a.txt"))
    whole = form([*link.fields.items()], (A_FILE, b"content"))
    for end in (len(whole) - 4, len(whole) - 12, len(whole) - 20):
        assert 400 == post(served, link, whole[:end]).status
    place = served.upload_link(served.reserve("a.txt"), method="PUT")
    headers = [*place.headers.items(), ("Content-Length", "8")]
    assert 400 == ask(served, "PUT", place.url, headers, b"content").status
    assert [] == list(served)


def test_every_site_may_use_a_link(served: Storage) -> None:
    """Its pages may ask beforehand, and read what is answered, refusals too (Fetch, CORS)."""
    handle = served.add("a.txt", b"content")
    origin = ("Origin", "https://elsewhere.example")
    url = served.download_link(handle).url
    asked = ask(served, "OPTIONS", url, [origin, ("Access-Control-Request-Method", "PUT")])
    assert (204, "GET, PUT, POST", "*") == (
        asked.status,
        asked.headers["Access-Control-Allow-Methods"],
        asked.headers["Access-Control-Allow-Headers"],
    )
    link = served.upload_link(served.reserve("a.txt"))
    for answer in (
        asked,
        ask(served, "GET", url, [origin]),
        ask(served, "GET", f"{url}x", [origin]),
        post(served, link),
        post(served, link),
    ):
        assert "*" == answer.headers["Access-Control-Allow-Origin"]
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed >= {"Accept-Ranges", "Content-Range", "ETag", "Last-Modified", "Location"}
        assert "cross-origin" == answer.headers["Cross-Origin-Resource-Policy"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "PATCH", "POST", "TRACE"])
def test_other_methods_are_answered_405(served: Storage, method: str) -> None:
    """With those that there are."""
    handle = served.add("a.txt", b"content")
    answer = ask(served, method, served.download_link(handle).url)
    assert (405, "GET, PUT") == (answer.status, answer.headers["Allow"])
    if method != "POST":
        answer = ask(served, method, served.upload_link(served.reserve("a.txt")).url)
        assert (405, "POST") == (answer.status, answer.headers["Allow"])
    assert [handle] == list(served)


@pytest.mark.parametrize(
    "path",
    ["", "/x", "//", "/../a", "/%2e%2e/a", "/2026/11/23/../../x", "/%00", "/\xff", "/a%2fb"],
)
def test_other_paths_are_refused(served: Storage, path: str) -> None:
    """With a token or without one."""
    query = served.download_link(served.add("a.txt", b"content")).url.partition("?")[2]
    for end in ("", f"?{query}"):
        for method in ("GET", "PUT"):
            target = f"/attach/signed{path}{end}".encode("latin-1")
            assert ask(served, method, target).refused


def test_a_storage_with_links_of_its_own_has_none_here(storage: Storage) -> None:
    """Nor has one without an address: every token is refused, and no secret is made for it."""
    storage._secret = MemoryStorage(url=HERE, secret="given")._secret
    maker = MemoryStorage(url=HERE, secret="given")
    handle = storage.add("a.txt", b"content")
    expect_denied(ask(storage, "GET", maker.download_link(handle).url))
    link = maker.upload_link(storage.reserve("a.txt"))
    expect_denied(post(storage, link))
    expect_denied(ask(storage, "DELETE", link.url))
    assert [handle] == list(storage)
    if isinstance(storage, LocalStorage):
        storage._secret = None
        expect_denied(ask(storage, "GET", maker.download_link(handle).url))
        assert [] == LocalHarness().garbage(storage)


def test_without_an_address_the_error_names_the_setting() -> None:
    """And the other way to have links."""
    storage = MemoryStorage()
    with pytest.raises(Error) as refused:
        storage.download_link(storage.reserve("a.txt"))
    assert Kind.UNSUPPORTED is refused.value.kind
    assert "attach_url" in str(refused.value)
    assert "S3" in str(refused.value)


def test_no_secret_is_shown(served: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what signs nor what was signed, in a log at any level or in a repr."""
    caplog.set_level(logging.DEBUG)
    handle = served.reserve("a.txt")
    link, place = served.upload_link(handle), served.upload_link(handle, method="PUT")
    post(served, link)
    post(served, link)
    put(served, place)
    get = served.download_link(handle)
    ask(served, "GET", get.url)
    ask(served, "GET", f"{get.url}x")
    secret = served._own_secret()
    told = f"{caplog.text}{served!r}{served.tokens!r}{link!r}{place!r}{get!r}"
    tokens = [link.url.split("/")[-2], *(one.url.partition("token=")[2] for one in (place, get))]
    for hidden in (secret.hex(), repr(secret), *tokens, *(token[-43:] for token in tokens)):
        assert hidden not in told
    assert "added" in told
