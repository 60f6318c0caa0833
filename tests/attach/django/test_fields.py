"""The fields: file names, deletion after the commit, dimensions with few bytes, migrations."""

from __future__ import annotations

import contextlib
import io
import random
from typing import TYPE_CHECKING

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.migrations.writer import MigrationWriter
from django.forms import modelform_factory
from django.test import override_settings
from PIL import Image

from attach.counting import CountingRelay
from attach.django import project
from attach.django.archive.models import Photo, Report
from attach.django.conftest import s3_place
from rex.attach.django import AttachmentField, AttachmentFieldFile, AttachmentImageField

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.usefixtures("database")


def report(content: str = "first") -> Report:
    """Store a report with an attachment."""
    return Report.objects.create(file=ContentFile(content, name="report.txt"))


def test_a_file_has_its_file_name_without_the_rest_of_the_handle() -> None:
    """Empty where there is no file."""
    assert report().file.filename == "report.txt"
    assert Report().file.filename == ""


def test_the_class_of_the_file_is_the_fields_own() -> None:
    """The parameter of the field is for type checkers."""
    assert isinstance(report().file, AttachmentFieldFile)
    assert AttachmentField[AttachmentFieldFile] is AttachmentField


def test_a_name_of_255_characters_is_not_cut() -> None:
    """By default, the column is long enough."""
    name = f"{'a' * 251}.txt"
    saved = Report.objects.create(file=ContentFile("x", name=name))
    saved.full_clean()
    assert Report.objects.get().file.filename == name


def test_a_deleted_file_is_there_until_the_commit() -> None:
    """Although the row is saved already."""
    saved = report()
    name = str(saved.file.name)
    with transaction.atomic():
        saved.file.delete()
        assert default_storage.exists(name)
        assert Report.objects.get().file.name == ""
    assert not default_storage.exists(name)


def test_a_file_whose_deletion_is_rolled_back_is_still_there() -> None:
    """Since its row is."""
    saved = report()
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        saved.file.delete()
        raise ZeroDivisionError
    assert Report.objects.get().file.read() == b"first"


def test_a_file_is_deleted_without_its_row_being_saved() -> None:
    """As the caller wants, who saves or deletes the row."""
    saved = report()
    name = str(saved.file.name)
    saved.file.delete(save=False)
    assert not default_storage.exists(name)
    assert Report.objects.get().file.name == name


def test_a_file_stays_if_its_row_cannot_be_saved() -> None:
    """The row is saved first."""
    saved = report()
    saved.title = None  # type: ignore[assignment]  # the database refuses it
    with pytest.raises(Exception, match="NOT NULL"):
        saved.file.delete()
    assert Report.objects.get().file.read() == b"first"


def test_a_shared_file_stays_until_its_last_row_is_cleared() -> None:
    """With the clean-up of its field."""
    saved = report()
    other = Report.objects.create(annex=str(saved.file.name))
    saved.file.delete()
    assert other.annex.read() == b"first"
    name = str(other.annex.name)
    other.annex.delete()
    assert not default_storage.exists(name)


def test_a_field_that_is_not_set_can_be_deleted() -> None:
    """Nothing happens."""
    saved = Report.objects.create()
    saved.file.delete()
    assert not Report.objects.get().file


def test_a_migration_names_the_class_and_only_what_differs_from_the_default() -> None:
    """The clean-up has no meaning there."""
    field = AttachmentField(cleanup=True)
    field.set_attributes_from_name("file")
    assert field.deconstruct()[1:] == (
        "rex.attach.django.fields.AttachmentField",
        [],
        {"upload_to": ""},
    )
    image = AttachmentImageField(max_length=100, width_field="width")
    assert image.deconstruct()[3] == {"max_length": 100, "upload_to": "", "width_field": "width"}
    text, imports = MigrationWriter.serialize(image)
    assert "AttachmentImageField(max_length=100" in text
    assert imports == {"import rex.attach.django.fields"}


# The dimensions of images.


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[CountingRelay]:
    """Use a default storage on S3, through a relay that counts the bytes."""
    with CountingRelay(seaweedfs.endpoint) as counting:
        url, options = s3_place(seaweedfs, counting.endpoint)
        with override_settings(STORAGES=project.storages_at(url, **options)):
            yield counting


def jpeg() -> ContentFile[bytes]:
    """Return a photo of about 560 kB."""
    noise = random.Random(7).randbytes(800 * 600 * 3)  # noqa: S311 - no secret
    file = io.BytesIO()
    Image.frombytes("RGB", (800, 600), noise).save(file, "JPEG", quality=95)
    assert file.tell() > 400_000
    return ContentFile(file.getvalue(), name="photo.jpg")


def test_saving_an_image_with_its_dimensions_is_one_request(relay: CountingRelay) -> None:
    """They are read from what is uploaded."""
    relay.taken()
    photo = Photo.objects.create(image=jpeg())
    assert relay.taken() == ["PUT"]
    assert (photo.width, photo.height) == (800, 600)


def test_a_row_with_dimensions_is_loaded_without_a_request(relay: CountingRelay) -> None:
    """They are in its columns."""
    Photo.objects.create(image=jpeg())
    relay.taken()
    photo = Photo.objects.get()
    assert (photo.width, photo.height, relay.taken()) == (800, 600, [])


def test_the_width_of_an_image_is_read_from_its_first_80_kilobytes(relay: CountingRelay) -> None:
    """Of 560."""
    Photo.objects.create(image=jpeg())
    relay.received()
    assert Photo.objects.get().image.width == 800
    assert relay.received() <= 80_000


def test_a_form_that_does_not_touch_the_image_makes_no_request(relay: CountingRelay) -> None:
    """Nor does the validation of the row."""
    photo = Photo.objects.create(image=jpeg())
    photo = Photo.objects.get()
    relay.taken()
    form = modelform_factory(Photo, fields=["image", "caption"])({"caption": "new"}, instance=photo)
    form.save()
    assert relay.taken() == []
    saved = Photo.objects.get()
    assert (saved.caption, saved.width, saved.image.filename) == ("new", 800, "photo.jpg")


@pytest.mark.usefixtures("relay")
def test_another_image_gets_its_own_dimensions() -> None:
    """And none without an image."""
    photo = Photo.objects.create(image=jpeg())
    small = io.BytesIO()
    Image.new("RGB", (20, 10)).save(small, "PNG")
    photo.image = ContentFile(small.getvalue(), name="small.png")
    photo.save()
    saved = Photo.objects.get()
    assert (saved.width, saved.height) == (20, 10)
    saved.image.delete()
    cleared = Photo.objects.get()
    assert (cleared.width, cleared.height, cleared.image.name) == (None, None, "")
