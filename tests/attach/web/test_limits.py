"""The largest size of an attachment holds at every door, in whatever order requests come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from attach.s3_uploads import abort_unfinished
from attach.web.test_companion import send as send_companion_parts
from attach.web.test_sign import begun, send, send_parts, sign
from attach.web.test_sign_relay import chunks
from attach.web.tus_client import Client
from attach.web.uploaders import Page, at
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage

LIMIT = 6 * 1024**2
"""One part and a bit, since S3 takes no smaller parts."""
PART = bytes(5 * 1024**2)
TOO_MUCH = bytes(LIMIT + 1)

Door = tuple[str, "Callable[[Page, Client], httpx.Response]"]


def by_tus(_: Page, client: Client) -> httpx.Response:
    """Begin without a size, and append too much in two requests."""
    path = client.create()
    assert 204 == client.patch(path, 0, PART).status_code
    return client.patch(path, len(PART), PART)


def by_tus_with_a_late_size(_: Page, client: Client) -> httpx.Response:
    """Tell the size when the first bytes are there."""
    path = client.create()
    assert 204 == client.patch(path, 0, PART).status_code
    return client.patch(path, len(PART), b"x", Upload_Length=str(len(TOO_MUCH)))


def by_joined_parts(_: Page, client: Client) -> httpx.Response:
    """Join uploads of which none is too large."""
    parts = [client.create(len(PART), Upload_Concat="partial") for _ in range(2)]
    for part in parts:
        assert 204 == client.patch(part, 0, PART).status_code
    return client.ask("POST", headers={"Upload-Concat": f"final;{' '.join(parts)}"})


def by_a_part_twice(_: Page, client: Client) -> httpx.Response:
    """Join one upload with itself."""
    part = client.create(len(PART), Upload_Concat="partial")
    assert 204 == client.patch(part, 0, PART).status_code
    return client.ask("POST", headers={"Upload-Concat": f"final;{part} {part}"})


def by_a_form_link(page: Page, _: Client) -> httpx.Response:
    """Send a form by a link that was asked for without a size."""
    link = page.ask("POST", "/links", json={"name": "a"}).json()["link"]
    assert "POST" == link["method"]
    sent: dict[str, Any] = {"data": link["fields"], "files": {"file": ("a", TOO_MUCH)}}
    if link["url"].startswith("http://here"):
        return page.ask("POST", link["url"].removeprefix("http://here"), **sent)
    return httpx.post(link["url"], **sent)


DOORS: dict[str, Callable[[Page, Client], httpx.Response]] = {
    "a body": lambda page, _: page.ask("POST", "/?name=a", content=TOO_MUCH),
    "a body of unknown size": lambda page, _: page.ask(
        "POST", "/?name=a", content=chunks(PART, PART)
    ),
    "a form": lambda page, _: page.ask("POST", "/", files={"file": ("a", TOO_MUCH)}),
    "a link that is asked for more": lambda page, _: page.ask(
        "POST", "/links", json={"name": "a", "size": LIMIT + 1}
    ),
    "a form link": by_a_form_link,
    "tus, told at once": lambda _, client: client.ask(
        "POST", headers={"Upload-Length": str(len(TOO_MUCH))}
    ),
    "tus, never told": by_tus,
    "tus, told late": by_tus_with_a_late_size,
    "tus, joined": by_joined_parts,
    "tus, joined with itself": by_a_part_twice,
    "a signed PUT through the service": lambda page, _: page.ask(
        "PUT", sign(page, "PUT", "a")["url"].removeprefix("http://here"), content=TOO_MUCH
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_nothing_larger_is_stored(door: str, storage: Storage) -> None:
    """On each kind of storage; S3 itself refuses a form with 400."""
    storage.max_size, storage.url = LIMIT, "http://here"
    answer = DOORS[door](Page(storage), Client(storage))
    links = storage.abilities.links
    is_by_s3 = door == "a form link" and links is not None and not links.is_service
    assert (400 if is_by_s3 else 413) == answer.status_code, answer.text
    assert [] == list(storage)


@pytest.mark.parametrize("first", ["the parts", "the request that completes the upload"])
def test_parts_that_are_signed_one_by_one_have_the_limit(first: str, s3: S3Storage) -> None:
    """Also of those that arrive after the request that completes the upload has been signed."""
    s3.max_size = LIMIT
    page = Page(s3)
    upload = begun(page)
    signed = sign(page, "POST", **upload) if first != "the parts" else None
    body = send_parts(page, upload, [PART, PART])
    completed = send(page, "POST", signed or sign(page, "POST", **upload), body)
    assert (413, "too-large") == (completed.status_code, completed.json()["kind"])
    assert ([], []) == ([*s3], [*s3._bucket.control.list_uploads(s3.prefix)])
    upload = begun(page)
    body = send_parts(page, upload, [PART, b"x"])
    assert 200 == send(page, "POST", sign(page, "POST", **upload), body).status_code


def test_parts_of_companion_have_the_limit_of_their_beginning(s3: S3Storage) -> None:
    """And the limit of the end, whichever is less."""
    page = Page(s3)
    for before, after in ((LIMIT, None), (None, LIMIT), (LIMIT, 10 * LIMIT)):
        s3.max_size = before
        upload = page.json("POST", "/s3/multipart", json={"filename": "a", "type": "a/b"})
        named = send_companion_parts(page, upload, [PART, PART])
        s3.max_size = after
        refused = page.ask("POST", at(upload, "/complete"), json={"parts": named})
        assert (413, "too-large") == (refused.status_code, refused.json()["kind"])
        assert [] == list(s3)
    abort_unfinished(s3)


def test_no_link_completes_an_upload_where_there_is_a_limit(s3: S3Storage) -> None:
    """Whoever has it could send more parts before it is used."""
    handle = s3.reserve("a")
    upload_id = s3.multipart.create(handle)
    assert s3.multipart.complete_link(handle, upload_id).url
    s3.max_size = LIMIT
    with pytest.raises(Error) as caught:
        s3.multipart.complete_link(handle, upload_id)
    assert Kind.UNSUPPORTED == caught.value.kind
    s3.multipart.abort(handle, upload_id)
