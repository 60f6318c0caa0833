"""The service with the settings of an application."""

from __future__ import annotations

from starlette.types import ASGIApp  # noqa: TC002 - resolved at run time

from rex.attach.opening import get_storage
from rex.attach.settings import (
    ACCESS,
    ACCESS_KEYS,
    EVENTS_KEY,
    HOSTS,
    REDIRECT,
    STALL,
    URL,
    USER,
    comma_separated,
    cors_origins,
)
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.access import Access, Rule, User, access_rule
from rex.attach.web.app import Options, attachments
from rex.attach.web.timeouts import CutsStalled
from rex.core import Rex, Settings  # noqa: TC001 - resolved at run time

__all__ = ["access_of", "make_access", "make_service", "routes"]


def routes(rex: Rex) -> ASGIApp:
    """Return the ASGI application of the package `rex.attach`.

    Errors: `CONFIGURATION` for invalid settings such as ``attach_access``.
    """
    return make_service(get_storage(), access_of(rex), rex.settings)


def make_service(storage: Storage, access: Access, settings: Settings) -> ASGIApp:
    """Return the service of a storage, with the settings of the service.

    Errors: `CONFIGURATION` for a hook that cannot be imported.
    """
    storage.hooks.check()
    options = Options(
        redirect=settings[REDIRECT],
        stall_seconds=settings[STALL],
        events_key=settings[EVENTS_KEY],
    )
    return CutsStalled(attachments(storage, access, options), options.stall_seconds)


def access_of(rex: Rex) -> Access:
    """Return the access control that the settings of an application describe, for other routes.

    Errors: `CONFIGURATION`.
    """
    settings = rex.settings
    function = settings[USER]
    user = None if function is None else function.load(USER.name)
    return make_access(access_rule(settings[ACCESS], settings[ACCESS_KEYS]), user, settings)


def make_access(rule: Rule, user: User | None, settings: Settings) -> Access:
    """Return the access control with a rule and a user, and with the sites that settings allow."""
    return Access(
        rule,
        user=user,
        origins=cors_origins(settings),
        hosts=comma_separated(settings[HOSTS]),
        url=settings[URL],
    )
