"""The admin of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from attach.django.app.models import Document, Picture
from attach.django.archive.models import Photo

if TYPE_CHECKING:
    _Documents = admin.ModelAdmin[Document]
    _Pictures = admin.ModelAdmin[Picture]
    _Photos = admin.ModelAdmin[Photo]
else:
    _Documents = _Pictures = _Photos = admin.ModelAdmin  # Django's class takes no parameters


@admin.register(Document)
class DocumentAdmin(_Documents):
    """A list with the links of the files."""

    list_display = ("title", "file")


@admin.register(Picture)
class PictureAdmin(_Pictures):
    """A list with the links of the images."""

    list_display = ("title", "image")


@admin.register(Photo)
class PhotoAdmin(_Photos):
    """An image with our field."""
