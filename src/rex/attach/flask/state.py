"""The attachments of one Flask application."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import flask

from rex.attach.flask.functions import rule_of, user_of
from rex.attach.opening import is_configured, make_storage, package
from rex.attach.settings import (
    ACCESS,
    ACCESS_KEYS,
    SERVICE,
    USER,
)
from rex.attach.web.mount import make_access, make_service
from rex.core import Error, Kind
from rex.core.setting import validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from rex.attach.storage import Storage
    from rex.attach.web import Access
    from rex.core import Settings

__all__ = ["KEY", "State", "find_state", "read_settings"]

KEY = "rex.attach"
"""The key of the extension in ``app.extensions``."""


class State:
    """The attachments of one application."""

    def __init__(self, settings: Settings, storage: Storage | None, prefix: str) -> None:
        if storage is not None:
            _check_only_service(settings)
        self.settings = settings
        self.prefix = prefix.rstrip("/")
        self.is_own = storage is None
        """Whether the storage was opened with the settings."""
        self.unchecked = make_storage(settings) if storage is None else storage
        """The storage, which may not exist yet: see `storage`."""
        self._lock = threading.Lock()
        self._is_checked = not self.is_own
        self._access = _access(settings)
        self._service: ASGIApp | None = None

    @property
    def storage(self) -> Storage:
        """The storage, checked before its first use in this process."""
        if not self._is_checked:
            with self._lock:
                if not self._is_checked:
                    self.unchecked.check()
                    self._is_checked = True
        return self.unchecked

    @property
    def service(self) -> ASGIApp:
        """The service, made at its first use: hooks given by name may import the application."""
        if self._service is None:
            self._service = make_service(self.storage, self._access, self.settings)
        return self._service


def find_state() -> State:
    """Return the attachments of the current application. Errors: `CONFIGURATION`."""
    state: State | None = flask.current_app.extensions.get(KEY)
    if state is None:
        raise Error(
            "The application has no attachments; expected Attachments(app) or init_app(app)",
            flask.current_app.name,
            kind=Kind.CONFIGURATION,
            code="not-active",
        )
    return state


def read_settings(
    config: flask.Config, functions: dict[str, Callable[..., Any] | None]
) -> Settings:
    """Return the settings in a configuration, and the functions given as arguments."""
    given = {name.lower(): config[name] for name in config if name.startswith("ATTACH_")}
    for name, function in functions.items():
        if function is not None:
            if given.get(name) not in (None, ""):
                raise Error(
                    "The function is given twice, as an argument and in the configuration",
                    name.upper(),
                    kind=Kind.CONFIGURATION,
                    code="wrong-setting",
                    setting=name,
                )
            given[name] = function
    return validate(package.settings, given, {name: name.upper() for name in given})


def _check_only_service(settings: Settings) -> None:
    """Check that the configuration does not describe another storage."""
    service = {setting.name for setting in SERVICE}
    others = settings.without_defaults().keys() - service
    if is_configured(settings) or others:
        raise Error(
            "With storage=, the configuration must have settings of the service only",
            ", ".join(sorted(name.upper() for name in others)),
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
        )


def _access(settings: Settings) -> Access:
    rule = rule_of(settings[ACCESS], settings[ACCESS_KEYS])
    return make_access(rule, user_of(settings[USER]), settings)
