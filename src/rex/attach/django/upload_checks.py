"""The system check of direct uploads, with the tag ``rex_attach``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from rex.attach.django.requests import direct_upload

__all__ = ["LINK_VIEW", "check_direct_upload"]

LINK_VIEW = "rex_attach:upload-link"


@register("rex_attach")
def check_direct_upload(**_: Any) -> list[CheckMessage]:
    """Check that the view of direct uploads is there, if their middleware is (E005)."""
    try:
        if not any(import_string(path) is direct_upload for path in settings.MIDDLEWARE):
            return []
        reverse(LINK_VIEW)
    except ImportError:
        return []  # Django reports it
    except NoReverseMatch:
        message = "Direct uploads need their view, for which the middleware makes forms ask"
        hint = (
            'Add path("attachments/", include("rex.attach.django.urls")) to the URL configuration, '
            "or remove rex.attach.django.direct_upload from MIDDLEWARE."
        )
        return [Error(message, hint=hint, id="rex_attach.E005")]
    return []
