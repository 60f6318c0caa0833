"""The extension: the settings of a Flask application, its storage and the service."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import flask
from flask.logging import default_handler
from werkzeug.local import LocalProxy

from rex.attach.flask.commands import attach
from rex.attach.flask.responses import Verbatim, answer_error
from rex.attach.flask.state import KEY, State, find_state, read_settings
from rex.attach.settings import ACCESS, USER
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.routes import SECTIONS
from rex.attach.web.wsgi import answer
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Attachments", "current_attachments"]

METHODS = sorted(
    {name for routes in SECTIONS.values() for route in routes for name in route.methods.split()}
    | {"OPTIONS"}
)


class Attachments:
    """The attachments of Flask applications: ``Attachments(app)``, or `init_app` in a factory.

    The settings are those of `rex.attach`, in capitals, in the configuration of the application:
    ``app.config["ATTACH_DIR"]``, or callables such as ``app.config["ATTACH_ON_STORED"]``. With
    `storage`, the configuration has only settings of the service (``ATTACH_ORIGINS``…).

    The service is at `url_prefix`; None: there is no service. Every route checks `rule` (or
    ``ATTACH_ACCESS``; default: refuse), a function of the user, the action and the handle, which
    may have the request of Flask as its fourth parameter. The user is what `user` (or
    ``ATTACH_USER``) returns, a function without parameters or of the request; without it, the
    current user of Flask-Login, where the application has that. Both run in the request, and may
    use `flask.session`, `flask.g` and `flask.abort`; so do the hooks.

    An `Error` that a view raises becomes a problem document, unless `handle_errors` is false. The
    commands are ``flask attach``.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        *,
        storage: Storage | None = None,
        rule: Callable[..., Any] | None = None,
        user: Callable[..., Any] | None = None,
        url_prefix: str | None = "/attach",
        handle_errors: bool = True,
    ) -> None:
        self._storage = storage
        self._functions = {ACCESS.name: rule, USER.name: user}
        self._url_prefix = url_prefix
        self._handle_errors = handle_errors
        self.blueprint = flask.Blueprint("attachments", __name__)
        """The routes of the service, as ``csrf.exempt(attachments.blueprint)`` of Flask-WTF."""
        for path in ("/", "/<path:path>"):
            self.blueprint.add_url_rule(
                path,
                "serve",
                _serve,
                methods=METHODS,
                strict_slashes=False,
                merge_slashes=False,
                provide_automatic_options=False,
            )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Set up an application. Nothing is read from the storage before its first use.

        Errors: `CONFIGURATION` for wrong, unknown and missing settings.
        """
        if KEY in app.extensions:
            raise Error(
                "The application has attachments already", app.name, kind=Kind.CONFIGURATION
            )
        settings = read_settings(app.config, self._functions)
        state = State(settings, self._storage, self._url_prefix or "")
        app.extensions[KEY] = state
        if self._url_prefix is not None:
            app.register_blueprint(self.blueprint, url_prefix=self._url_prefix)
        if self._handle_errors:
            app.register_error_handler(Error, answer_error)
        app.cli.add_command(attach)
        _show_log()


current_attachments: Storage = cast("Storage", LocalProxy(lambda: find_state().storage))
"""The storage of the current application."""


def _show_log() -> None:
    """Show the library's warnings where Flask shows those of the application.

    As for its own logger, Flask's handler is for applications that configure none.
    """
    logger = logging.getLogger("rex")
    others = [each for each in logger.handlers if not isinstance(each, logging.NullHandler)]
    if not others and not logging.getLogger().handlers:
        logger.addHandler(default_handler)


def _serve(path: str = "") -> flask.Response:  # noqa: ARG001 - Flask passes it
    """Answer a request with the service."""
    state, request = find_state(), flask.request
    if "stream" in vars(request) and request.headers.get("Content-Length", "0") != "0":
        raise Error(
            "The body of the request was read before the service; leave the blueprint out of "
            "functions that read forms, as with csrf.exempt(attachments.blueprint)",
            request.path,
            kind=Kind.CONFIGURATION,
            code="body-read",
        )
    answered = answer(state.service, request.environ, prefix=state.prefix)
    return Verbatim(answered.body, answered.status_line, answered.headers)
