"""Content that is announced as a part is never stored as if it were the whole, at any door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from attach.web.test_sign import sign
from attach.web.tus_client import PIECE, VERSION
from attach.web.uploaders import Page
from rex.attach.backends.memory.storage import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from rex.attach import PresignedLink, Storage

CONTENT = b"only a part"

PARTIAL = [
    ("Upload-Complete", "?0"),
    ("Upload-Complete", "?0;a=1"),
    ("Upload-Incomplete", "?1"),
    ("Content-Range", "bytes 0-10/100"),
    ("Content-Range", "bytes 0-10/11"),
    ("Content-Range", "bytes */11"),
    ("Content-Range", "junk"),
]
"""Of the drafts of the IETF (resumable uploads), and of RFC 9110 (partial PUT)."""

WHOLE = [
    ("Upload-Complete", "?1"),
    ("Upload-Incomplete", "?0"),
    ("Upload-Draft-Interop-Version", "6"),
    # Malformed, so that the draft demands to ignore them.
    ("Upload-Complete", "0"),
    ("Upload-Complete", "false"),
    ("Upload-Complete", "?1, ?0"),
    ("Upload-Incomplete", "1"),
    ("Range", "bytes=0-1"),
]


def link_of(storage: Storage, method: Any) -> PresignedLink:
    """Permit an upload by a link of the service."""
    return storage.upload_link(storage.reserve("a.txt"), method=method, content_type="x/own")


def path_of(url: str) -> str:
    """Give path and query of an address."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def post_body(page: Page, _: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload a file as the body of a request."""
    return page.ask("POST", "/?name=a.txt", headers=headers, content=CONTENT)


def post_form(page: Page, _: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload a file in a form."""
    return page.ask("POST", "/", headers=headers, files={"file": ("a.txt", CONTENT)})


def put_by_link(page: Page, storage: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload with a link of the service."""
    link = link_of(storage, "PUT")
    return page.ask("PUT", path_of(link.url), headers={**link.headers, **headers}, content=CONTENT)


def post_by_link(page: Page, storage: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload with a form that is a link of the service."""
    link = link_of(storage, "POST")
    files = {"file": ("a.txt", CONTENT)}
    return page.ask("POST", path_of(link.url), headers=headers, data=dict(link.fields), files=files)


def put_signed(page: Page, _: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload to the service in place of S3."""
    signed = sign(page, "PUT", "a.txt")
    return page.ask("PUT", path_of(signed["url"]), headers=headers, content=CONTENT)


def tus_creation(page: Page, _: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload with the creation of an upload by tus."""
    length = {"Upload-Length": str(len(CONTENT))}
    given = {**VERSION, **PIECE, **length, **headers}
    return page.ask("POST", "/tus", headers=given, content=CONTENT)


def tus_piece(page: Page, storage: Storage, headers: dict[str, str]) -> httpx.Response:
    """Upload with a piece of tus."""
    handle = storage.uploads.create("a.txt", size=len(CONTENT)).handle
    given = {**VERSION, **PIECE, "Upload-Offset": "0", **headers}
    return page.ask("PATCH", f"/tus{handle}", headers=given, content=CONTENT)


DOORS: list[Callable[[Page, Storage, dict[str, str]], httpx.Response]] = [
    post_body,
    post_form,
    put_by_link,
    post_by_link,
    put_signed,
    tus_creation,
    tus_piece,
]


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Give a storage whose links the service answers."""
    with MemoryStorage(url="http://here") as storage:
        yield storage


@pytest.mark.parametrize("header", PARTIAL, ids=": ".join)
@pytest.mark.parametrize("door", DOORS)
def test_a_part_is_refused(door: Any, header: tuple[str, str], storage: Storage) -> None:
    """With an error that names the header, and what to use; nothing is stored."""
    answer = door(Page(storage), storage, dict([header]))
    if door is post_body and header[0].startswith("Upload-"):
        # It begins a resumable upload.
        assert (201, "11") == (answer.status_code, answer.headers["Upload-Offset"])
        assert [] == list(storage)
        return
    assert (400, "ill-formed") == (answer.status_code, answer.json()["kind"])
    assert header[0].lower() in answer.json()["detail"]
    assert "tus" in answer.json()["detail"]
    assert [] == list(storage)


@pytest.mark.parametrize("header", WHOLE, ids=": ".join)
@pytest.mark.parametrize("door", DOORS)
def test_the_whole_is_stored(door: Any, header: tuple[str, str], storage: Storage) -> None:
    """A client that could send parts, and says that it does not."""
    answer = door(Page(storage), storage, dict([header]))
    assert answer.is_success, answer.text
    (handle,) = storage
    assert CONTENT == storage.open(handle).read()


def test_the_media_type_of_a_part_is_refused(storage: Storage) -> None:
    """By POST as by PATCH, which takes the pieces of tus alone."""
    page = Page(storage)
    partial = {"Content-Type": "application/partial-upload"}
    assert 400 == post_body(page, storage, partial).status_code
    assert 415 == tus_piece(page, storage, partial).status_code
    handle = storage.add("a.txt", b"first")
    for path in ("/", handle):
        answer = page.ask("PATCH", path, headers={**partial, "Upload-Offset": "5"}, content=CONTENT)
        assert 405 == answer.status_code
    assert b"first" == storage.open(handle).read()
    assert [handle] == list(storage)
