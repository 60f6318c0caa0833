"""Papers in folders, and pictures."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import FileExtensionValidator
from django.db import models

from rex.attach.django import AttachmentField, AttachmentImageField


def check_content(file: models.fields.files.FieldFile) -> None:
    """Refuse a file that says so itself."""
    file.open()
    if file.read(6) == b"refuse":
        raise ValidationError("The content is refused.")


class Folder(models.Model):
    """A folder."""

    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Paper(models.Model):
    """A paper, perhaps in a folder."""

    folder = models.ForeignKey(Folder, models.CASCADE, null=True, blank=True)
    title = models.CharField(max_length=20)
    file = AttachmentField(
        blank=True, validators=[FileExtensionValidator(["pdf", "txt"]), check_content]
    )

    def __str__(self) -> str:
        return self.title


class Picture(models.Model):
    """A picture, and its dimensions."""

    image = AttachmentImageField(width_field="width", height_field="height")
    width = models.IntegerField(null=True, editable=False)
    height = models.IntegerField(null=True, editable=False)

    def __str__(self) -> str:
        return self.image.filename
