"""Links with V4 signatures that are refused, and what is said of them."""

from __future__ import annotations

import datetime
import json
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from attach.fake_gcs import FakeGCS
from attach.gcs_storage import gcs_storage
from attach.v4_cases import EMAIL, KEY_FILE
from rex.attach.explain import explain
from rex.attach.links.client import Client
from rex.attach.links.reason import Certainty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.backends.gcs.storage import GCSStorage
    from rex.attach.links.link import PresignedLink

CERTAIN, LIKELY, _ = Certainty
HANDLE = "/2026/11/29/0d9d3a52-7c4c-4b3c-8a44-0f6f0c1f0a11/a b.txt"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGCS]:
    """Run the fake."""
    with FakeGCS() as fake:
        yield fake


@pytest.fixture(scope="module")
def storage(fake: FakeGCS) -> Iterator[GCSStorage]:
    """Give a storage with an attachment."""
    with gcs_storage(fake.bucket, endpoint=fake.endpoint, key=str(KEY_FILE)) as storage:
        storage.put(HANDLE, b"x")
        yield storage


class Sent(NamedTuple):
    """What a client made of a link: what it asked for, and with which headers."""

    url: str
    method: str = "GET"
    headers: dict[str, str] | None = None
    later: float = 0
    """The seconds between the making of the link and its explanation."""


class Case(NamedTuple):
    """A broken link, and the reason that must come first."""

    broken: Callable[[GCSStorage], Sent]
    code: str
    certainty: Certainty
    is_refused: bool = True
    """Whether the fake refuses it, and explains it with its response alone."""


def get(storage: GCSStorage, expires: float = 600) -> str:
    """Make a download link."""
    return storage.download_link(HANDLE, expires=expires).url


def put(storage: GCSStorage) -> PresignedLink:
    """Make an upload link."""
    return storage.upload_link(storage.reserve("b.txt"), method="PUT")


def without_a_header(storage: GCSStorage) -> Sent:
    """Leave out the condition."""
    link = put(storage)
    headers = {name: text for name, text in link.headers.items() if "x-goog" not in name}
    return Sent(link.url, "PUT", headers)


def with_another_type(storage: GCSStorage) -> Sent:
    """Change a signed header."""
    link = put(storage)
    return Sent(link.url, "PUT", {**link.headers, "Content-Type": "text/html"})


def with_another_header(storage: GCSStorage) -> Sent:
    """Add a header of Google's."""
    link = put(storage)
    return Sent(link.url, "PUT", {**link.headers, "x-goog-meta-owner": "me"})


def used_twice(storage: GCSStorage) -> Sent:
    """Upload before."""
    link = put(storage)
    assert Client().put(link, b"x").ok
    return Sent(link.url, "PUT", dict(link.headers))


def of_another_key(storage: GCSStorage) -> Sent:
    """Replace the signature."""
    return Sent(re.sub("(X-Goog-Signature=)[0-9a-f]{512}", r"\g<1>" + "ab" * 256, get(storage)))


CASES = {
    "changed name": Case(
        lambda storage: Sent(get(storage).replace("a%20b.txt", "c.txt")),
        "signature-mismatch",
        LIKELY,
    ),
    "longer": Case(
        lambda storage: Sent(
            get(storage, expires=3600).replace("X-Goog-Expires=3600", "X-Goog-Expires=86400")
        ),
        "parameter-changed",
        CERTAIN,
    ),
    "added parameter": Case(
        lambda storage: Sent(get(storage) + "&utm_source=mail"), "parameter-changed", CERTAIN
    ),
    "added parameter in front": Case(
        lambda storage: Sent(get(storage).replace("?", "?utm_source=mail&")),
        "parameter-changed",
        CERTAIN,
    ),
    "cut off": Case(lambda storage: Sent(get(storage)[:-20]), "cut-off", CERTAIN),
    "cut at an ampersand": Case(
        lambda storage: Sent(get(storage).partition("&")[0]), "incomplete", CERTAIN
    ),
    "from HTML": Case(
        lambda storage: Sent(get(storage).replace("&", "&amp;")), "from-html", CERTAIN
    ),
    "used as a download": Case(
        lambda storage: Sent(put(storage).url, "GET", {}), "wrong-method", CERTAIN
    ),
    "expired": Case(
        lambda storage: Sent(get(storage, expires=60), later=3600),
        "link-expired",
        CERTAIN,
        is_refused=False,
    ),
    "without a header": Case(without_a_header, "header-missing", CERTAIN),
    "another type": Case(with_another_type, "header-changed", CERTAIN),
    "a header more": Case(with_another_header, "header-added", CERTAIN),
    "used twice": Case(used_twice, "exists", CERTAIN),
    "another key": Case(of_another_key, "signature-mismatch", LIKELY),
    "another bucket": Case(
        lambda storage: Sent(get(storage).replace("/attachments/", "/others/")),
        "other-bucket",
        CERTAIN,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_link_is_explained(name: str, storage: GCSStorage) -> None:
    """With the settings and the response of the server; nothing secret is said."""
    case = CASES[name]
    sent = case.broken(storage)
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=sent.later)
    response = None
    if case.is_refused:
        url = sent.url.replace("&amp;", "&amp%3B") if "&amp;" in sent.url else sent.url
        body = b"x" if sent.method == "PUT" else None
        answer = Client().send(sent.method, url, sent.headers or {}, body)
        assert answer.refused, answer
        head = f"HTTP/1.1 {answer.status} X\n\n".encode()
        response = head + answer.body
    found = explain(
        sent.url,
        response=response,
        storage=storage,
        method=sent.method,
        headers=sent.headers,
        now=now,
    )
    shown = "\n".join(f"{each}" for each in found.reasons)
    assert (case.code, case.certainty) in [(each.code, each.certainty) for each in found.reasons], (
        shown
    )
    if case.certainty is CERTAIN:
        assert CERTAIN is found.reasons[0].certainty, shown
    signature = sent.url.partition("X-Goog-Signature=")[2][:100]
    assert not signature or signature not in shown
    assert EMAIL not in shown


def test_a_right_link_has_no_reason(storage: GCSStorage) -> None:
    """Its signature is checked, with the method that it is signed for."""
    for link in (storage.download_link(HANDLE), put(storage), storage.upload_link(HANDLE)):
        found = explain(json.dumps(link.as_dict()), storage=storage, method=link.method)
        assert [] == found.reasons
        assert "the signature, with the private key of the settings" in found.checked


def test_a_form_with_another_field_is_explained(storage: GCSStorage) -> None:
    """By its policy."""
    link = storage.upload_link(HANDLE).as_dict()
    fields = dict(storage.upload_link(HANDLE).fields)
    link["fields"] = {**fields, "acl": "public-read", "Content-Type": "text/html"}
    found = explain(json.dumps(link), storage=storage)
    assert {"field-added", "field-changed"} == {each.code for each in found.reasons}


def test_a_link_of_amazon_is_not_compared_with_google(storage: GCSStorage) -> None:
    """And the other way about."""
    url = (
        "https://bucket.s3.amazonaws.com/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A"
        "&X-Amz-Date=20261129T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    )
    found = explain(url, storage=storage)
    assert not any("private key" in each for each in found.checked)
