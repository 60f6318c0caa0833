"""A Flask application for the tests of servers; the environment says where its storage is."""

from __future__ import annotations

import os
import threading

import flask

from rex.attach.flask import Attachments, send_attachment

CONFIG = {
    "ATTACH_DIR": os.environ["SHOP_DIR"],
    "ATTACH_STALL_TIMEOUT": os.environ.get("SHOP_STALL", "30"),
}


def rule(_: object, __: str, ___: str | None) -> bool:
    """Let everybody pass, in the thread of the request."""
    return bool(flask.g.thread == threading.get_ident())


app = flask.Flask(__name__)
app.config.update(CONFIG)
Attachments(app, rule=rule)


@app.before_request
def note_thread() -> None:
    """Note the thread of the request."""
    flask.g.thread = threading.get_ident()


@app.get("/health")
def health() -> str:
    """Answer."""
    return "ok"


@app.get("/sent/<path:handle>")
def sent(handle: str) -> flask.Response:
    """Send an attachment from a view."""
    return send_attachment(f"/{handle}")
