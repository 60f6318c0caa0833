"""The files of users."""

from django.conf import settings
from django.db import models

from rex.attach.django import AttachmentField


class Document(models.Model):
    """A file and whose it is."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    title = models.CharField(max_length=50)
    file = AttachmentField(cleanup=True)

    def __str__(self) -> str:
        return self.title
