"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["AttachConfig"]


class AttachConfig(AppConfig):
    """The application ``rex.attach.django``, with the label ``rex_attach``."""

    name = "rex.attach.django"
    label = "rex_attach"
    verbose_name = "Attachments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and connect the signals of the clean-up."""
        from rex.attach.django import checks, upload_checks  # noqa: F401 - registers them
        from rex.attach.django.cleanup import connect_installed

        connect_installed()
