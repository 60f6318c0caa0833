"""The storage whose names are handles: lengths, links, modes."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import requests
from django.core import signing
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client, override_settings

from attach.django import project
from attach.django.conftest import s3_place
from programs import PATIENCE
from rex.attach.django import AttachmentStorage
from rex.attach.django.links import read_token
from rex.attach.handle import make_handle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import UploadRequest
    from rex.attach_demo.seaweedfs import SeaweedFS


@pytest.fixture
def storage() -> Iterator[AttachmentStorage]:
    """Give a storage in memory, by its alias."""
    with override_settings(STORAGES=project.storages_at("memory:")):
        found = storages["default"]
        assert isinstance(found, AttachmentStorage)
        yield found


def token_of(url: str) -> str:
    """Return the token in a signed path."""
    found = re.fullmatch(r"/attachments/download/([^/]+)/[^/]+", url)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("given", "max_length", "kept"),
    [
        ("a" * 90 + ".txt", 100, "a" * 48 + ".txt"),
        ("é" * 90 + ".txt", 100, "é" * 48 + ".txt"),
        ("a.txt", 53, "a.txt"),
        ("ab.txt", 53, "a.txt"),
        ("photos/2026/a b.tar.gz", 57, "a.tar.gz"),
        ("a.b. .txt", 100, "a.b. .txt"),
        ("a" * 300 + ".txt", None, "a" * 251 + ".txt"),
        ("e\u0301" * 60, 100, "é" * 52),
    ],
)
def test_a_name_is_cut_by_characters_and_keeps_its_extension(
    storage: AttachmentStorage, given: str, max_length: int | None, kept: str
) -> None:
    """As many characters as the column has besides the rest of the handle."""
    name = storage.save(given, ContentFile(b"x"), max_length=max_length)
    assert kept == name[48:]


@pytest.mark.parametrize("name", ["a.txt", "abcde", "photos/a.jpeg"])
def test_a_column_without_room_for_a_name_is_said_in_djangos_words(
    storage: AttachmentStorage, name: str
) -> None:
    """Users find that sentence in the documentation of Django."""
    with pytest.raises(SuspiciousFileOperation, match='allows sufficient "max_length"'):
        storage.save(name, ContentFile(b"x"), max_length=48)
    assert list(storage.rex) == []


def test_a_hook_that_makes_a_name_longer_than_the_column_stores_nothing() -> None:
    """The database would refuse the row, and the file would be an orphan."""

    def longer(request: UploadRequest) -> UploadRequest:
        import dataclasses

        return dataclasses.replace(request, name="a" * 100)

    storage = AttachmentStorage("memory:", on_begin=longer)
    with pytest.raises(SuspiciousFileOperation):
        storage.save("a.txt", ContentFile(b"x"), max_length=100)
    assert list(storage.rex) == []


def test_nothing_is_written_or_listed(storage: AttachmentStorage) -> None:
    """An attachment never changes, and a bucket has no directories."""
    name = storage.save("a.txt", ContentFile(b"x"))
    for mode in ("w", "wb", "a", "r+b", "x"):
        with pytest.raises(io.UnsupportedOperation):
            storage.open(name, mode)
    with pytest.raises(NotImplementedError, match=r"rex\.list"):
        storage.listdir("")


def test_a_signed_path_says_what_it_allows(storage: AttachmentStorage) -> None:
    """The view needs nothing else."""
    name = storage.save("a b.pdf", ContentFile(b"x"))
    allowed = read_token(token_of(storage.url(name)))
    assert (storage, f"/{name}", "a b.pdf", True) == (
        allowed.storage,
        allowed.handle,
        allowed.filename,
        allowed.inline,
    )
    assert 3590 <= allowed.seconds <= 3600
    url = storage.url(name, filename="c.pdf", inline=False, expires=60)
    allowed = read_token(token_of(url))
    assert ("c.pdf", False) == (allowed.filename, allowed.inline)
    assert allowed.seconds <= 60


def test_a_path_of_an_old_secret_key_is_valid_while_it_is_a_fallback(
    storage: AttachmentStorage,
) -> None:
    """As Django's own signatures are."""
    token = token_of(storage.url(storage.save("a.txt", ContentFile(b"x"))))
    with override_settings(SECRET_KEY="new" * 20, SECRET_KEY_FALLBACKS=[project.SECRET_KEY]):
        assert read_token(token).filename == "a.txt"
    with override_settings(SECRET_KEY="new" * 20), pytest.raises(signing.BadSignature):
        read_token(token)
    with pytest.raises(signing.BadSignature):
        read_token(f"x{token}")


def test_links_stay_the_same_within_their_window() -> None:
    """So that browsers can cache the file."""
    storage = AttachmentStorage("memory:", link_window=600, link_expires=3600)
    name = storage.save("a.txt", ContentFile(b"x"))
    assert 1 <= len({storage.url(name) for _ in range(20)}) <= 2  # a window may just end


def test_a_view_delivers_the_file_of_a_signed_path(storage: AttachmentStorage) -> None:
    """A type that can carry a script is downloaded."""
    response: Any = Client().get(storage.url(storage.save("a b.txt", ContentFile(b"content"))))
    assert (200, b"content") == (response.status_code, response.getvalue())
    assert "inline" in response["Content-Disposition"]
    name = storage.save("a.html", ContentFile(b"<script>"))
    response = Client().get(storage.url(name))
    assert response["Content-Disposition"].startswith("attachment")


def test_the_url_of_what_does_not_exist_is_not_found(storage: AttachmentStorage) -> None:
    """A page that shows such a URL is not broken."""
    for name in (make_handle("a.txt")[1:], "defaults/a.png", "/x", ""):
        assert Client().get(storage.url(name)).status_code == 404


@pytest.mark.usefixtures("storage")
def test_a_storage_without_an_alias_has_links_too() -> None:
    """The view finds it among the storages of the process."""
    own = AttachmentStorage("memory:")
    response: Any = Client().get(own.url(own.save("a.txt", ContentFile(b"own"))))
    assert response.getvalue() == b"own"


def test_without_the_view_a_url_says_what_to_add(storage: AttachmentStorage) -> None:
    """The line to add is part of the message."""
    name = storage.save("a.txt", ContentFile(b"x"))
    empty = type("Urls", (), {"urlpatterns": []})
    with override_settings(ROOT_URLCONF=empty), pytest.raises(ImproperlyConfigured) as raised:
        storage.url(name)
    assert 'path("attachments/", include("rex.attach.django.urls"))' in str(raised.value)


def test_the_service_of_the_storage_answers_its_links_if_it_has_one() -> None:
    """The view is not needed then."""
    storage = AttachmentStorage("memory:?url=https://example.org/attach")
    name = storage.save("a.txt", ContentFile(b"x"))
    assert storage.url(name).startswith("https://example.org/attach/signed/")


def test_a_link_of_a_server_is_its_own(seaweedfs: SeaweedFS) -> None:
    """With the name that a function chooses; a missing file is not found there."""
    url, options = s3_place(seaweedfs)
    storage = AttachmentStorage(url, filename="attach.django.test_handles.shown", **options)
    name = storage.save("a b.txt", ContentFile(b"content"))
    response = requests.get(storage.url(name), timeout=PATIENCE)
    assert response.content == b"content"
    assert "shown-a b.txt" in unquote(response.headers["Content-Disposition"])
    assert response.headers["Content-Disposition"].startswith("inline")
    assert requests.get(storage.url("never.txt"), timeout=PATIENCE).status_code == 404
    storage.close()


def shown(name: str) -> str:
    """Return the name under which a client saves a file."""
    return f"shown-{name}"
