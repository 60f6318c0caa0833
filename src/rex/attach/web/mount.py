"""The service as the settings of an application describe it."""

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
    """Make the routes of the package `rex.attach`.

    Errors: `CONFIGURATION` for what is wrong with ``attach_access`` and its like.
    """
    settings = rex.settings
    options = Options(redirect=settings[REDIRECT], stall_seconds=settings[STALL])
    service = attachments(get_storage(), access_of(rex), options)
    return CutsStalled(service, options.stall_seconds)


def access_of(rex: Rex) -> Access:
    """Give who may do what, as the settings of an application say: for routes beside the service.

    Errors: `CONFIGURATION`.
    """
    settings = rex.settings
    rule = access_rule(settings[ACCESS], settings[ACCESS_KEYS])
    hosts = comma_separated(settings[HOSTS])
    return Access(rule, origins=cors_origins(settings), hosts=hosts)
