"""The models of the tests."""

from __future__ import annotations

from django.db import models


class Document(models.Model):
    """A title, and a plain file field."""

    title: models.CharField[str, str] = models.CharField(max_length=100, blank=True)
    file = models.FileField(upload_to="documents", blank=True, max_length=400)

    def __str__(self) -> str:
        return self.title


class Picture(models.Model):
    """A plain image field, with its dimensions."""

    title: models.CharField[str, str] = models.CharField(max_length=100, blank=True)
    image = models.ImageField(
        max_length=400, width_field="width", height_field="height", blank=True
    )
    width: models.IntegerField[int | None, int | None] = models.IntegerField(null=True, blank=True)
    height: models.IntegerField[int | None, int | None] = models.IntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return self.title
