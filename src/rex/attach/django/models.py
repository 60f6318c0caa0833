"""The model of the storage that keeps names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    import datetime

__all__ = ["File"]


class File(models.Model):
    """A name in a storage, and the handle of its attachment.

    The row is in the application's database, so that a rollback undoes the name together with the
    rows that refer to it.
    """

    storage: models.CharField[str, str] = models.CharField(max_length=64, verbose_name="storage")
    """The alias of the storage in ``STORAGES``, or what else recognises it."""
    name: models.CharField[str, str] = models.CharField(
        max_length=500, db_index=True, verbose_name="name"
    )
    """The name that the application chose; indexed for its directories."""
    handle: models.CharField[str, str] = models.CharField(max_length=400, verbose_name="handle")
    """The handle of the attachment."""
    created: models.DateTimeField[datetime.datetime, datetime.datetime] = models.DateTimeField(
        verbose_name="created"
    )
    """The time when the content was stored."""

    class Meta:
        """Options of the model."""

        constraints = (
            models.UniqueConstraint(fields=["storage", "name"], name="rex_attach_file_name"),
        )
        verbose_name = "file"
        verbose_name_plural = "files"

    def __str__(self) -> str:
        return self.name
