"""The response with an attachment: what the service sends, under WSGI and ASGI."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage, storages
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404
from django.middleware.gzip import GZipMiddleware
from django.test import AsyncRequestFactory, RequestFactory

from attach.django.archive.models import Report
from rex.attach.django import AttachmentResponse, AttachmentStorage
from rex.attach.web import Access, attachments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from django.http import HttpRequest

    Door = Callable[[str, str, Mapping[str, str]], "Answer"]

pytestmark = pytest.mark.usefixtures("database")

CONTENT = bytes(range(256)) * 1200
ETAG = "{etag}"
DATE = "{date}"
OLD = "Mon, 23 Nov 2020 10:00:00 GMT"
NEW = "Wed, 23 Nov 2095 10:00:00 GMT"

REQUESTS: list[tuple[str, dict[str, str], int]] = [
    ("GET", {}, 200),
    ("HEAD", {}, 200),
    ("HEAD", {"Range": "bytes=0-9"}, 200),
    ("GET", {"Range": "bytes=0-9"}, 206),
    ("GET", {"Range": "bytes=300000-"}, 206),
    ("GET", {"Range": "bytes=-5"}, 206),
    ("GET", {"Range": "bytes=0-0, 5-9,-3"}, 206),
    ("GET", {"Range": "bytes=0-5,3-9"}, 200),
    ("GET", {"Range": "lines=0-5"}, 200),
    ("GET", {"Range": "bytes=307200-"}, 416),
    ("GET", {"Range": "bytes=-0"}, 416),
    ("GET", {"If-None-Match": ETAG}, 304),
    ("GET", {"If-None-Match": f'"x", W/{ETAG}'}, 304),
    ("GET", {"If-None-Match": "*"}, 304),
    ("GET", {"If-None-Match": '"x"'}, 200),
    ("HEAD", {"If-None-Match": ETAG}, 304),
    ("GET", {"If-Modified-Since": DATE}, 304),
    ("GET", {"If-Modified-Since": OLD}, 200),
    ("GET", {"If-Modified-Since": "yesterday"}, 200),
    ("GET", {"If-Match": ETAG}, 200),
    ("GET", {"If-Match": '"x"'}, 412),
    ("GET", {"If-Match": f"W/{ETAG}"}, 412),
    ("HEAD", {"If-Match": '"x"'}, 412),
    ("GET", {"If-Unmodified-Since": OLD}, 412),
    ("GET", {"If-Unmodified-Since": NEW}, 200),
    ("GET", {"Range": "bytes=0-9", "If-Range": ETAG}, 206),
    ("GET", {"Range": "bytes=0-9", "If-Range": f"W/{ETAG}"}, 200),
    ("GET", {"Range": "bytes=0-9", "If-Range": DATE}, 206),
    ("GET", {"Range": "bytes=0-9", "If-Range": OLD}, 200),
    ("GET", {"Range": "bytes=0-9", "If-None-Match": ETAG}, 304),
    ("GET", {"Range": "bytes=0-9", "If-Match": '"x"'}, 412),
]


class Answer(NamedTuple):
    """A response; the boundary of its ranges is always the same."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return a response with its headers in lower case."""
    given = {name.lower(): value for name, value in headers.items()}
    found = re.search("boundary=(.+)", given.get("content-type", ""))
    if found is not None:
        given["content-type"] = "multipart/byteranges"
        body = body.replace(found[1].encode(), b"B")
    return Answer(status, given, body)


def service(method: str, name: str, headers: Mapping[str, str]) -> Answer:
    """Send a request to the service."""

    async def send() -> httpx.Response:
        app = attachments(default_storage.rex, Access(lambda *_: True))  # type: ignore[attr-defined]
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = client.build_request(method, f"/{name}", headers=dict(headers))
            return await client.send(asked)

    sent = asyncio.run(send())
    return answer(sent.status_code, sent.headers, sent.content)


def wsgi(method: str, name: str, headers: Mapping[str, str]) -> Answer:
    """Return the response under WSGI."""
    request = RequestFactory().generic(method, "/", headers=dict(headers))
    response = AttachmentResponse(request, name)
    body = b"" if method == "HEAD" else response.getvalue()
    response.close()
    return answer(response.status_code, dict(response.items()), body)


def asgi(method: str, name: str, headers: Mapping[str, str]) -> Answer:
    """Return the response under ASGI."""

    async def send() -> Answer:
        request = AsyncRequestFactory().generic(method, "/", headers=dict(headers))
        response = await AttachmentResponse.acreate(request, name)
        assert response.is_async
        body = b"".join([chunk async for chunk in response])
        response.close()
        sent = b"" if method == "HEAD" else body
        return answer(response.status_code, dict(response.items()), sent)

    return asyncio.run(send())


def filled(headers: Mapping[str, str], name: str) -> dict[str, str]:
    """Return headers with the entity tag and the date of an attachment."""
    sent = service("HEAD", name, {}).headers
    return {
        key: value.replace(ETAG, sent["etag"]).replace(DATE, sent["last-modified"])
        for key, value in headers.items()
    }


@pytest.mark.parametrize("door", [wsgi, asgi], ids=["WSGI", "ASGI"])
@pytest.mark.parametrize("name", ["page.html", "photo.png", "small.mp3", "empty.txt"])
def test_a_response_is_that_of_the_service(everywhere: str, door: Door, name: str) -> None:
    """With the same status, headers and body for each range and condition."""
    del everywhere
    sizes = {"small.mp3": 100, "empty.txt": 0}
    content = CONTENT[: sizes.get(name, len(CONTENT))]
    saved = default_storage.save(name, ContentFile(content))
    for method, given, _ in REQUESTS:
        headers = filled(given, saved)
        expected = service(method, saved, headers)
        expected.headers.setdefault("content-length", "0")
        found = door(method, saved, headers)
        found.headers.setdefault("content-length", "0")
        assert (method, headers, expected) == (method, headers, found)


@pytest.mark.parametrize(("method", "headers", "status"), REQUESTS, ids=str)
def test_the_table_has_each_status(method: str, headers: dict[str, str], status: int) -> None:
    """Of RFC 9110: 200, 206, 304, 412 and 416."""
    saved = default_storage.save("a.bin", ContentFile(CONTENT))
    assert status == wsgi(method, saved, filled(headers, saved)).status


def request(**headers: str) -> HttpRequest:
    """Return a request with headers."""
    return RequestFactory().get("/", headers=headers)


def test_the_file_of_a_row_and_a_handle_are_files() -> None:
    """A handle begins with a slash, a name does not."""
    row = Report.objects.create(file=ContentFile("row", name="row.txt"))
    assert AttachmentResponse(request(), row.file).getvalue() == b"row"
    assert AttachmentResponse(request(), str(row.file.name)).getvalue() == b"row"
    assert AttachmentResponse(request(), f"/{row.file.name}").getvalue() == b"row"


def test_a_proxy_sends_the_file_of_a_storage_with_sendfile(tmp_path: Path) -> None:
    """Under WSGI and ASGI; the response has no bytes."""
    storage = AttachmentStorage(tmp_path / "attachments", sendfile="/_attach")
    name = storage.save("a.bin", ContentFile(CONTENT))
    asynchronous = AsyncRequestFactory().get("/")
    for asked in (request(), asynchronous):
        response = AttachmentResponse(asked, name, storage=storage)
        assert (f"/_attach/{name}", "0") == (
            response["X-Accel-Redirect"],
            response["Content-Length"],
        )
        assert response.status_code == 200
        response.close()
    assert b"" == AttachmentResponse(request(), name, storage=storage).getvalue()
    storage.close()


def test_a_name_that_is_kept_is_a_file() -> None:
    """Of the storage that keeps names."""
    named = storages["named"]
    named.save("folder/a.txt", ContentFile("named"))
    assert AttachmentResponse(request(), "folder/a.txt", storage=named).getvalue() == b"named"


@pytest.mark.parametrize(
    "name", ["", "a.txt", "/", "../a", "2026/11/28/00000000-0000-4000-8000-000000000000/a.txt"]
)
def test_a_file_that_does_not_exist_is_404(name: str) -> None:
    """Whether the name could be one or not."""
    with pytest.raises(Http404):
        AttachmentResponse(request(), name)
    with pytest.raises(Http404):
        AttachmentResponse(request(), Report().file)


def test_a_file_of_another_storage_is_an_error() -> None:
    """Which names the storage."""
    other = FileSystemStorage()
    with pytest.raises(ImproperlyConfigured, match="FileSystemStorage"):
        AttachmentResponse(request(), "a.txt", storage=other)


def test_a_file_gets_another_name_and_is_not_shown() -> None:
    """As the caller wants."""
    saved = default_storage.save("a.txt", ContentFile("text"))
    response = AttachmentResponse(request(), saved, filename="../Bericht.txt", inline=False)
    assert response["Content-Disposition"] == 'attachment; filename="Bericht.txt"'
    shown = AttachmentResponse(request(), saved)
    assert shown["Content-Disposition"] == 'inline; filename="a.txt"'
    assert shown["Cache-Control"] == "private, no-cache"
    kept = AttachmentResponse(request(), saved, max_age=60)
    assert re.fullmatch(r"private, max-age=(59|60), immutable", kept["Cache-Control"])


def test_a_page_is_never_shown() -> None:
    """What can carry a script is downloaded, whatever the caller says."""
    saved = default_storage.save("page.html", ContentFile("<script>"))
    for options in ({}, {"filename": "a.png"}, {"max_age": 5}):
        given: Any = options
        response = AttachmentResponse(request(), saved, inline=True, **given)
        assert response["Content-Disposition"].startswith("attachment;")
        assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_the_bytes_of_a_range_are_not_compressed() -> None:
    """Those of the whole are, which the client sees."""
    saved = default_storage.save("a.txt", ContentFile("text " * 1000))

    def compressed(**headers: str) -> Any:
        asked = request(**{"Accept-Encoding": "gzip", **headers})
        return GZipMiddleware(lambda _: AttachmentResponse(asked, saved))(asked)

    part = compressed(Range="bytes=5-8")
    assert (part.status_code, part.getvalue(), part["Content-Length"]) == (206, b"text", "4")
    assert "Content-Encoding" not in dict(part.items())
    assert compressed()["Content-Encoding"] == "gzip"


def reader(response: AttachmentResponse) -> Any:
    """Return the open attachment of a response."""
    given: Any = response
    body = given._resource_closers[0].__self__
    return getattr(body, "_download", body)._reader  # under ASGI, the download is inside


def test_a_response_that_is_not_sent_is_closed(everywhere: str) -> None:
    """As a server does when the client has gone."""
    del everywhere
    saved = default_storage.save("a.bin", ContentFile(bytes(3_000_000)))
    response = AttachmentResponse(request(), saved)
    assert len(next(iter(response))) > 0
    opened = reader(response)
    assert not opened.closed
    response.close()
    assert opened.closed


def test_a_cancelled_task_closes_the_attachment(everywhere: str) -> None:
    """Also while a thread reads a chunk."""
    del everywhere
    saved = default_storage.save("a.bin", ContentFile(bytes(3_000_000)))

    async def leave() -> Any:
        asked = AsyncRequestFactory().get("/")
        assert isinstance(asked, ASGIRequest)
        response = await AttachmentResponse.acreate(asked, saved)
        opened = reader(response)
        chunks = aiter(response)
        await anext(chunks)
        reading = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.to_thread(response.close)
        return opened

    assert asyncio.run(leave()).closed
