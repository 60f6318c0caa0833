"""The admin with each storage, and the requests that it makes to a server."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse
from PIL import Image

from attach.counting import CountingRelay
from attach.django import project
from attach.django.app.models import Document, Picture
from attach.django.archive.models import Photo
from attach.django.conftest import s3_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def admin(database: None) -> Client:
    """Return a client that is signed in."""
    del database  # the user is in it
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


def jpeg() -> bytes:
    """Return an image."""
    file = io.BytesIO()
    Image.new("RGB", (200, 100), "teal").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(params=["default", "named"])
def storages(request: pytest.FixtureRequest, everywhere: str) -> Iterator[str]:
    """Use each storage as the default, at each place."""
    del everywhere  # the settings are from it
    from django.conf import settings

    given = settings.STORAGES
    with override_settings(STORAGES={**given, "default": given[request.param]}):
        yield str(request.param)


@pytest.mark.usefixtures("storages")
def test_the_admin_adds_shows_changes_clears_and_deletes(admin: Client) -> None:
    """With its plain fields and widgets."""
    upload = SimpleUploadedFile("a b.txt", b"first", content_type="text/html")
    response: Any = admin.post(
        reverse("admin:app_document_add"), {"title": "one", "file": upload}, follow=True
    )
    assert response.status_code == 200
    document = Document.objects.get()
    first = str(document.file.name)
    assert default_storage.open(first).read() == b"first"
    change = reverse("admin:app_document_change", args=[document.pk])
    assert first in admin.get(change).content.decode()
    assert first in admin.get(reverse("admin:app_document_changelist")).content.decode()
    admin.post(change, {"title": "two"})
    document.refresh_from_db()
    assert ("two", first) == (document.title, document.file.name)
    admin.post(change, {"title": "two", "file": SimpleUploadedFile("b.txt", b"second")})
    document.refresh_from_db()
    assert document.file.read() == b"second"
    admin.post(change, {"title": "two", "file-clear": "on"})
    document.refresh_from_db()
    assert not document.file
    admin.post(reverse("admin:app_document_delete", args=[document.pk]), {"post": "yes"})
    assert not Document.objects.exists()


@pytest.mark.usefixtures("storages")
def test_the_admin_shows_a_row_whose_file_is_gone(admin: Client) -> None:
    """So that it can be repaired there; so is a row with a name that is no handle."""
    gone = Document.objects.create(file=ContentFile(b"content", name="a.txt"))
    default_storage.delete(str(gone.file.name))
    for document in (gone, Document.objects.create(file="defaults/a.png")):
        change = reverse("admin:app_document_change", args=[document.pk])
        assert admin.get(change).status_code == 200
        assert admin.get(reverse("admin:app_document_changelist")).status_code == 200


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[CountingRelay]:
    """Use a default storage on S3, through a relay that counts."""
    with CountingRelay(seaweedfs.endpoint) as counting:
        url, options = s3_place(seaweedfs, counting.endpoint)
        with override_settings(STORAGES=project.storages_at(url, **options)):
            yield counting


@pytest.mark.usefixtures("relay")
def test_saving_a_file_is_one_request(relay: CountingRelay) -> None:
    """Nothing is looked up first."""
    document = Document.objects.create(file=ContentFile(b"content", name="a.txt"))
    assert relay.taken() == ["PUT"]
    assert Document.objects.get().file.url
    assert relay.taken() == []
    assert document.file.size == 7
    assert relay.taken() == ["HEAD"]


@pytest.mark.parametrize("model", [Picture, Photo], ids=["Django's field", "our field"])
def test_saving_an_image_is_one_request_with_its_dimensions(
    relay: CountingRelay, model: Any
) -> None:
    """A row is loaded without one."""
    model.objects.create(image=ContentFile(jpeg(), name="a.jpeg"))
    assert relay.taken() == ["PUT"]
    row = model.objects.get()
    assert (row.width, row.height, relay.taken()) == (200, 100, [])


@pytest.mark.parametrize(
    ("model", "requests"), [(Picture, ["GET"]), (Photo, [])], ids=["Django's field", "our field"]
)
def test_the_admin_asks_a_server_nothing_that_our_field_can_avoid(
    relay: CountingRelay, admin: Client, model: Any, requests: list[str]
) -> None:
    """Showing a row makes no request; saving one makes Django's own field read the image again."""
    row = model.objects.create(image=ContentFile(jpeg(), name="a.jpeg"))
    change = reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk]
    )
    relay.taken()
    assert admin.get(change).status_code == 200
    assert relay.taken() == []
    given = {"title": "x", "caption": "x", "width": 200, "height": 100}
    assert admin.post(change, given).status_code == 302
    assert relay.taken() == requests
    row.refresh_from_db()
    assert (row.width, row.height) == (200, 100)


def test_a_list_of_a_hundred_rows_with_their_urls_makes_no_request(
    relay: CountingRelay, admin: Client
) -> None:
    """Each URL is signed here."""
    name = default_storage.save("a.txt", ContentFile(b"content"))
    Document.objects.bulk_create(Document(title=str(n), file=name) for n in range(100))
    relay.taken()
    response: Any = admin.get(reverse("admin:app_document_changelist"))
    assert response.content.count(b"X-Amz-Signature") == 100
    assert relay.taken() == []


def test_a_named_storage_asks_the_server_as_little(relay: CountingRelay) -> None:
    """Names are looked up in the database."""
    with override_settings(STORAGES={**project_storages(), "default": project_storages()["named"]}):
        document = Document.objects.create(file=ContentFile(b"content", name="a.txt"))
        assert relay.taken() == ["PUT"]
        assert document.file.url
        assert default_storage.exists("documents/a.txt")
        assert default_storage.listdir("documents") == ([], ["a.txt"])
        assert default_storage.get_modified_time("documents/a.txt").tzinfo is not None
        assert relay.taken() == []


def project_storages() -> dict[str, Any]:
    """Return the storages of now."""
    from django.conf import settings

    found: dict[str, Any] = settings.STORAGES
    return found
