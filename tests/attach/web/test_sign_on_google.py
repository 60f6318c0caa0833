"""Signatures for a browser on Google, whose PUT links can limit the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.fake_gcs import FakeGCS
from attach.gcs_storage import GCSHarness
from attach.web.uploaders import Page
from rex.attach.links.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.storage import Storage


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Give a storage on a fake of Google's server."""
    with FakeGCS() as fake, GCSHarness(fake).storage() as storage:
        yield storage


def test_a_file_of_limited_size_goes_to_google(storage: Storage) -> None:
    """By a PUT link, which is refused for a larger file."""
    storage.max_size = 5
    wanted = {"method": "PUT", "key": "a.png", "contentType": "image/png"}
    signed, client = Page(storage).json("POST", "/sign", json=wanted), Client()
    assert "0,5" == signed["headers"]["x-goog-content-length-range"]
    assert client.send("PUT", signed["url"], signed["headers"], b"content").refused
    assert client.send("PUT", signed["url"], signed["headers"], b"small").ok
    assert ("image/png", 5) == (
        storage.info(signed["handle"]).content_type,
        storage.info(signed["handle"]).size,
    )
