"""The service with the settings of an application."""

from __future__ import annotations

from starlette.types import ASGIApp  # noqa: TC002 - resolved at run time

from rex.attach.opening import get_storage
from rex.attach.settings import (
    ACCESS,
    ACCESS_KEYS,
    HOSTS,
    REDIRECT,
    STALL,
    comma_separated,
    cors_origins,
)
from rex.attach.web.access import Access, access_rule
from rex.attach.web.app import Options, attachments
from rex.attach.web.timeouts import CutsStalled
from rex.core import Rex  # noqa: TC001 - resolved at run time

__all__ = ["access_of", "routes"]


def routes(rex: Rex) -> ASGIApp:
    """Return the ASGI application of the package `rex.attach`.

    Errors: `CONFIGURATION` for invalid settings such as ``attach_access``.
    """
    settings = rex.settings
    options = Options(redirect=settings[REDIRECT], stall_seconds=settings[STALL])
    service = attachments(get_storage(), access_of(rex), options)
    return CutsStalled(service, options.stall_seconds)


def access_of(rex: Rex) -> Access:
    """Return the access control that the settings of an application describe, for other routes.

    Errors: `CONFIGURATION`.
    """
    settings = rex.settings
    rule = access_rule(settings[ACCESS], settings[ACCESS_KEYS])
    hosts = comma_separated(settings[HOSTS])
    return Access(rule, origins=cors_origins(settings), hosts=hosts)
