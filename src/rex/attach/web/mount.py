"""The service as the settings of an application describe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.web.access import Access, access_rule
from rex.attach.web.app import Options, attachments
from rex.attach.web.stalled import CutsStalled
from rex.attach.wiring import (
    ACCESS,
    ACCESS_KEYS,
    REDIRECT,
    STALL,
    allowed_origins,
    get_storage,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from rex.core import Rex

__all__ = ["routes"]


def routes(rex: Rex) -> ASGIApp:
    """Make the routes of the package `rex.attach`.

    Errors: `CONFIGURATION` for what is wrong with ``attach_access`` and its like.
    """
    settings = rex.settings
    rule = access_rule(settings[ACCESS], settings[ACCESS_KEYS])
    options = Options(redirect=settings[REDIRECT], stall_seconds=settings[STALL])
    service = attachments(get_storage(), Access(rule, origins=allowed_origins(settings)), options)
    return CutsStalled(service, options.stall_seconds)
