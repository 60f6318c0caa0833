"""The fixture `upload_via`: an upload by a link as a page in a browser makes it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from attach.fake_server import refused_address
from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from attach.s3_storage import s3_storage
from attach.service import Service
from attach.testing.page_cases import CASES, DATA, Case, Recording
from rex.attach.testing.browser import BrowserRefused, upload_via

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from rex.attach import Storage
    from rex.attach.conformance import Harness
    from rex.attach_demo.seaweedfs import SeaweedFS

    Method = Literal["POST", "PUT"]

PAGE = "http://page.example"
BIG = b"x" * 300_000


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Run the service."""
    with Service() as service:
        yield service


@pytest.fixture(params=["memory", "directory", "s3"])
def harness(request: pytest.FixtureRequest, service: Service) -> Harness:
    """Give each kind of storage, with links."""
    if request.param == "s3":
        return S3Harness(request.getfixturevalue("seaweedfs"))
    return MemoryHarness(service) if request.param == "memory" else LocalHarness(service)


@pytest.fixture
def storage(harness: Harness) -> Iterator[Storage]:
    """Open a storage; see afterwards that nothing but attachments is in it."""
    with harness.storage() as storage:
        yield storage
        assert [] == harness.garbage(storage)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_page_sees_what_the_server_allows(case: Case) -> None:
    """As `test_upload_via` of the browser tests has Chromium see it."""
    with Recording(case, PAGE).running() as server:
        if case.readable is None:
            with pytest.raises(BrowserRefused) as refusal:
                upload_via(server.link, DATA, origin=PAGE)
            assert case.is_sent == refusal.value.is_sent
            assert "sig=x" not in str(refusal.value)
        else:
            answer = upload_via(server.link, DATA, origin=PAGE)
            assert case.upload.status == answer.status
            assert case.readable == {name.lower() for name in answer.headers}
    assert ["OPTIONS", *([case.link[0]] if case.is_sent else [])] == server.methods
    assert [PAGE] * len(server.asked) == [request.headers["Origin"] for request in server.asked]


def test_a_preflight_asks_for_what_needs_permission() -> None:
    """The names of headers in lower case, sorted, without spaces (Fetch)."""
    with Recording(CASES[0], PAGE).running() as server:
        upload_via(server.link, DATA, origin=PAGE)
    asked = server.asked[0].headers
    assert "PUT" == asked["Access-Control-Request-Method"]
    assert "content-type,if-none-match" == asked["Access-Control-Request-Headers"]


def test_a_page_of_the_same_origin_needs_no_permission() -> None:
    """The page reads every header, and no preflight is sent."""
    case = dataclasses.replace(CASES[0], upload=CASES[0].upload._replace(headers={"X-Other": "2"}))
    with Recording(case, PAGE).running() as server:
        answer = upload_via(server.link, DATA)
        assert "2" == answer.headers["X-Other"]
        assert "2" == upload_via(server.link, DATA, origin=server.url).headers["X-Other"]
    assert ["PUT", "PUT"] == server.methods
    assert server.url == server.asked[0].headers["Origin"]


@pytest.mark.parametrize(
    ("url", "page", "is_mixed"),
    [
        ("http://storage.example/a", "https://page.example", True),
        ("http://127.0.0.1:1/a", "https://page.example", False),
        ("http://localhost:1/a", "https://page.example", False),
        ("http://127.0.0.1:1/a", "http://page.example", False),
    ],
)
def test_a_page_with_tls_must_not_upload_without(url: str, page: str, *, is_mixed: bool) -> None:
    """Except to this machine; the refusal comes before any connection."""
    link = dataclasses.replace(Recording(CASES[0], PAGE).link, url=url)
    expected, text = (BrowserRefused, "Mixed content") if is_mixed else (OSError, "refused")
    with pytest.raises(expected, match=text):
        upload_via(link, DATA, origin=page)


@pytest.mark.parametrize("name", ["Cookie", "sec-fetch-mode", "Proxy-Authorization", "ORIGIN"])
def test_a_page_must_not_set_some_headers(name: str) -> None:
    """A link that needs one of them cannot be used in a browser."""
    link = dataclasses.replace(Recording(CASES[0], PAGE).link, headers={name: "x"})
    with pytest.raises(BrowserRefused, match=name.lower()):
        upload_via(link, DATA)


@pytest.mark.parametrize(
    "origin", ["page.example", "https://page.example/", "https://page.example/a", "ftp://a", ""]
)
def test_an_origin_has_a_scheme_and_a_host(origin: str) -> None:
    """Anything else is a mistake of the test."""
    with pytest.raises(ValueError, match="origin"):
        upload_via(Recording(CASES[0], PAGE).link, DATA, origin=origin)


def test_a_download_link_is_refused() -> None:
    """It is a mistake of the test."""
    link = dataclasses.replace(Recording(CASES[0], PAGE).link, method="GET", url="http://h/")
    with pytest.raises(ValueError, match="GET"):
        upload_via(link, DATA)


def test_a_server_that_cannot_be_reached_is_an_os_error() -> None:
    """As for any client."""
    link = dataclasses.replace(Recording(CASES[0], PAGE).link, url=refused_address())
    with pytest.raises(OSError, match="refused"):
        upload_via(link, DATA)


def test_a_redirect_is_refused() -> None:
    """No link redirects, and a browser would show the page another response."""
    upload = CASES[0].upload._replace(status=307)
    with (
        Recording(dataclasses.replace(CASES[0], upload=upload), PAGE).running() as server,
        pytest.raises(BrowserRefused, match="307"),
    ):
        upload_via(server.link, DATA)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("origin", [None, "https://page.example", "null"])
def test_every_storage_takes_uploads(storage: Storage, method: Method, origin: str | None) -> None:
    """From every page: a link is the permission."""
    handle = storage.reserve("a.png")
    answer = upload_via(storage.upload_link(handle, method=method), BIG, origin=origin)
    assert answer.ok
    assert BIG == storage.open(handle).read()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("cut", [0, 1, len(BIG) - 1])
def test_a_cut_upload_leaves_nothing(storage: Storage, method: Method, cut: int) -> None:
    """The handle can still be used: the client tries again."""
    handle = storage.reserve("a.png")
    link = storage.upload_link(handle, method=method)
    outcome: object = upload_via(link, BIG, origin=PAGE, cut_after=cut)
    assert outcome is None
    assert [] == list(storage)
    assert upload_via(link, BIG, origin=PAGE).ok


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_response_can_be_lost(storage: Storage, method: Method) -> None:
    """The server has everything when the call returns, and the client knows nothing."""
    handle = storage.reserve("a.png")
    link = storage.upload_link(handle, method=method)
    outcome: object = upload_via(link, BIG, origin=PAGE, cut_after=len(BIG))
    assert outcome is None
    assert BIG == storage.open(handle).read()


def test_the_rules_of_a_bucket_decide(seaweedfs: SeaweedFS) -> None:
    """A page of another origin is refused before it sends a byte."""
    seaweedfs.create_bucket("upload-via")
    with s3_storage(
        "upload-via",
        endpoint=seaweedfs.endpoint,
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
    ) as storage:
        storage.cors.allow(["https://page.example"])
        handle = storage.reserve("a.png")
        link = storage.upload_link(handle, method="PUT")
        with pytest.raises(BrowserRefused) as refusal:
            upload_via(link, DATA, origin="https://other.example")
        assert not refusal.value.is_sent
        assert handle not in storage
        answer = upload_via(link, DATA, origin="https://page.example")
        assert answer.ok
        assert answer.headers["ETag"]
        assert "x-amz-request-id" not in answer.headers
        storage.remove(handle)
