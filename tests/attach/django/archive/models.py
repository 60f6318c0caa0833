"""The models with the fields of rex.attach."""

# ruff: noqa: DJ008 - no page shows these rows

from __future__ import annotations

from django.db import models
from simple_history.models import HistoricalRecords  # type: ignore[import-untyped]

from rex.attach.django import AttachmentField, AttachmentImageField


class Folder(models.Model):
    """A row whose deletion deletes reports."""

    name: models.CharField[str, str] = models.CharField(max_length=100, blank=True)


class Report(models.Model):
    """A row with two attachments that are cleaned up."""

    title: models.CharField[str, str] = models.CharField(max_length=100, blank=True)
    folder: models.ForeignKey[Folder | None, Folder | None] = models.ForeignKey(
        Folder, models.CASCADE, null=True, blank=True
    )
    file = AttachmentField(blank=True, cleanup=True)
    annex = AttachmentField(blank=True, null=True, cleanup=True)


class Scan(Report):
    """A row in two tables."""

    page = AttachmentField(blank=True, cleanup=True)


class Proxy(Report):
    """The same table."""

    class Meta:
        """Options of the model."""

        proxy = True


class Photo(models.Model):
    """An image with its dimensions, which is not cleaned up."""

    image = AttachmentImageField(blank=True, width_field="width", height_field="height")
    width: models.IntegerField[int | None, int | None] = models.IntegerField(null=True, blank=True)
    height: models.IntegerField[int | None, int | None] = models.IntegerField(null=True, blank=True)
    caption: models.CharField[str, str] = models.CharField(max_length=100, blank=True)


class Contract(models.Model):
    """A row with a history, whose rows refer to former attachments."""

    file = AttachmentField(blank=True, cleanup=True)
    history = HistoricalRecords()


class Plain(models.Model):
    """A row with a field of Django, and the default storage."""

    file = models.FileField(blank=True, max_length=400)
