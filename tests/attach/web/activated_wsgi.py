"""A Flask application with an installed `Rex`, for `test_activation.py`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from rex.attach import get_storage
from rex.core import Rex

Rex("rex.attach", attach_dir="attachments").install()
SEEN = id(get_storage())
app = Flask(__name__)


@app.get("/import")
def in_import() -> str:
    """Return which storage there was while this module was imported."""
    return str(SEEN)


@app.get("/sync")
def in_sync() -> str:
    """Return which storage a view has."""
    return str(id(get_storage()))


@app.get("/thread")
def in_thread() -> str:
    """Return which storage a new thread has."""
    with ThreadPoolExecutor(1) as pool:
        return str(id(pool.submit(get_storage).result()))
