"""The views: downloads and uploads by signed paths, for storages without links of their own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.test import AsyncClient, Client, override_settings

from attach.django import project
from rex.attach.django.upload_links import make_upload_link
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.http import HttpResponse

    from rex.attach import PresignedLink, Storage, StoredUpload

pytestmark = pytest.mark.usefixtures("database")

OTHER_KEY = "another secret key of the tests, of fifty characters or more"


@pytest.fixture(autouse=True, params=["memory", "directory"])
def _storages(request: pytest.FixtureRequest, database: None, tmp_path: Path) -> Iterator[None]:
    """Use the storages without links of their own."""
    del database
    url = "memory:" if request.param == "memory" else str(tmp_path / "attachments")
    with override_settings(STORAGES=project.storages_at(url)):
        yield


def rex() -> Storage:
    """Return the storage below the default one."""
    found: Storage = default_storage.rex  # type: ignore[attr-defined]
    return found


def save(name: str = "a.txt", content: bytes = b"content") -> str:
    """Store a file; return its URL."""
    return default_storage.url(default_storage.save(name, ContentFile(content)))


def link(name: str = "a.txt", **options: Any) -> PresignedLink:
    """Return a link for an upload."""
    given: Any = default_storage
    return make_upload_link(given, rex().reserve(name), **options)


def put(
    allowed: PresignedLink, content: bytes, *, client: Client | None = None, **headers: Any
) -> HttpResponse:
    """Upload by a link."""
    media_type = allowed.headers["Content-Type"]
    response: Any = (client or Client()).put(
        allowed.url, content, content_type=media_type, headers=headers
    )
    return response  # type: ignore[no-any-return]


def handle_of(allowed: PresignedLink) -> str:
    """Return the handle of a link."""
    from django.urls import resolve

    from rex.attach.django.upload_links import read_upload_token

    return read_upload_token(resolve(allowed.url).kwargs["token"]).handle


def test_a_file_is_downloaded_by_its_url() -> None:
    """The path is relative to the site, and the browser may keep the file as long as the link."""
    url = save("häl lo.png")
    response: Any = Client().get(url)
    assert url.startswith("/attachments/download/")
    assert (response.status_code, response.getvalue()) == (200, b"content")
    assert response["Content-Type"] == "image/png"
    assert response["Content-Disposition"].startswith("inline;")
    assert response["Cache-Control"].endswith(", immutable")
    part: Any = Client().get(url, headers={"Range": "bytes=3-"})
    assert (part.status_code, part.getvalue()) == (206, b"tent")
    assert Client().head(url)["Content-Length"] == "7"


def test_a_file_is_downloaded_in_an_event_loop() -> None:
    """Under ASGI, it is streamed asynchronously."""
    url = save(content=bytes(500_000))

    async def get() -> bytes:
        response: Any = await AsyncClient().get(url)
        return b"".join([chunk async for chunk in response])

    assert bytes(500_000) == asyncio.run(get())


def test_a_file_that_keeps_its_name_is_downloaded() -> None:
    """By the handle that it had when the URL was made."""
    named = storages["named"]
    name = named.save("folder/a.txt", ContentFile(b"named"))
    response: Any = Client().get(named.url(name))
    assert (response.status_code, response.getvalue()) == (200, b"named")


def test_a_changed_path_is_refused() -> None:
    """In each of its parts."""
    url = save()
    for changed in (
        url.replace("a.txt", "b.txt"),
        url.replace("download/", "download/x"),
        url.replace("/a.txt", "A/a.txt"),
    ):
        response: Any = Client().get(changed)
        assert response.status_code == 403
        assert response.json()["kind"] == "denied"
    assert Client().post(url).status_code == 405


def test_an_expired_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a download, and of an upload."""
    url, allowed = save(), link()
    monkeypatch.setattr("time.time", lambda: allowed.expires_at.timestamp() + 1)
    assert Client().get(url).json()["type"] == "link-expired"
    assert put(allowed, b"x").json()["type"] == "link-expired"  # type: ignore[attr-defined]


def test_an_older_secret_key_still_counts() -> None:
    """One of ``SECRET_KEY_FALLBACKS``, until it is removed from there."""
    url, allowed = save(), link()
    with override_settings(SECRET_KEY=OTHER_KEY, SECRET_KEY_FALLBACKS=[project.SECRET_KEY]):
        assert Client().get(url).status_code == 200
        assert put(allowed, b"x").status_code == 201
    with override_settings(SECRET_KEY=OTHER_KEY):
        assert Client().get(url).json()["type"] == "bad-signature"
        assert put(allowed, b"x").json()["type"] == "bad-signature"  # type: ignore[attr-defined]


def test_a_file_that_is_gone_is_404() -> None:
    """As its path is still valid."""
    url = save()
    for handle in list(rex().list()):
        rex().remove(handle)
    assert Client().get(url).status_code == 404


def test_an_upload_is_stored_under_its_handle() -> None:
    """With the type of the link; a client may repeat the upload, but not change the attachment."""
    allowed = link("photo.png", content_type="image/x-own")
    response = put(allowed, b"bytes")
    info = rex().info(handle_of(allowed))
    assert (response.status_code, response["ETag"]) == (201, info.etag)
    assert (info.size, info.content_type) == (5, "image/x-own")
    assert put(allowed, b"bytes").status_code == 201
    assert put(allowed, b"other").status_code == 409
    assert rex().open(info.handle).read() == b"bytes"


def test_an_upload_needs_no_csrf_token() -> None:
    """The token in the path is the access right."""
    assert put(link(), b"x", client=Client(enforce_csrf_checks=True)).status_code == 201


def test_an_upload_has_its_limit() -> None:
    """That of the link, or the lower one of the storage; nothing is stored."""
    allowed = link(max_size=5)
    assert put(allowed, b"123456").status_code == 413
    assert list(rex().list()) == []
    assert put(allowed, b"12345").status_code == 201
    with override_settings(STORAGES=project.storages_at("memory:", max_size=3)):
        assert put(link(max_size=5), b"1234").status_code == 413


def test_an_empty_upload_is_stored() -> None:
    """Where the link permits that."""
    response: Any = Client().put(link().url, b"", CONTENT_LENGTH="0")
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Range": "bytes 0-0/5"}, 400),
        ({"Upload-Complete": "?0"}, 400),
        ({"Content-Digest": "sha-256=:AAAA:"}, 400),
        ({"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}, 400),
        ({"Content-Digest": "sha-256={digest}"}, 201),
    ],
    ids=str,
)
def test_a_body_that_is_not_what_it_seems_is_refused(headers: dict[str, str], status: int) -> None:
    """As the service refuses it."""
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    given = {name: value.replace("{digest}", f":{digest}:") for name, value in headers.items()}
    assert put(link(), b"x", client=None, **given).status_code == status
    assert len(list(rex().list())) == (status == 201)


def test_an_incomplete_or_endless_upload_is_refused() -> None:
    """Where the connection broke, or where the client does not announce the size."""
    allowed = link()
    cut: Any = {"wsgi.input": io.BytesIO(b"x"), "CONTENT_LENGTH": "5"}
    short: Any = Client().put(allowed.url, b"x", **cut)
    endless: Any = Client().generic("PUT", allowed.url, b"x", CONTENT_LENGTH="")
    assert (short.status_code, endless.status_code) == (400, 411)
    assert list(rex().list()) == []


def test_an_upload_in_an_event_loop_is_stored() -> None:
    """Under ASGI."""
    allowed = link()
    response: Any = asyncio.run(AsyncClient().put(allowed.url, b"bytes", content_type="text/plain"))
    assert (response.status_code, rex().open(handle_of(allowed)).read()) == (201, b"bytes")


def test_the_hooks_get_the_user_of_the_session() -> None:
    """And may refuse the upload, which is removed then."""
    told: list[object] = []

    def complete(upload: StoredUpload) -> None:
        told.append(upload.owner)
        if upload.info.size == 3:
            raise Error("Not three bytes", kind=Kind.REFUSED)

    user = User.objects.create_user("ada")
    client = Client()
    client.force_login(user)
    with override_settings(STORAGES=project.storages_at("memory:", on_complete=complete)):
        assert put(link(), b"1234", client=client).status_code == 201
        refused: Any = put(link(), b"123", client=Client())
        assert (refused.status_code, refused.json()["detail"]) == (422, "Not three bytes")
        assert len(list(rex().list())) == 1
    assert told == [user, None]


@override_settings(ROOT_URLCONF="attach.django.no_urls")
def test_a_project_without_the_views_is_told_to_add_them() -> None:
    """When a URL is needed."""
    with pytest.raises(ImproperlyConfigured, match="include"):
        save()
    with pytest.raises(ImproperlyConfigured, match="include"):
        link()


def test_the_links_of_a_server_are_its_own() -> None:
    """Here those of the service, whose address the storage has."""
    place = "memory:?url=https://files.example.org"
    with override_settings(STORAGES=project.storages_at(place, secret="s" * 32)):
        assert link(max_size=5).method == "POST"
