"""The application of a process is found wherever its code runs, on real servers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx
import pytest

from programs import PATIENCE
from served import HOST, PORT, serving

MODULES = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))

ASGI = {
    "granian": ["--interface", "asgi", "--no-ws", "--port", PORT],
    "hypercorn": ["--bind", f"{HOST}:{PORT}"],
    "uvicorn": ["--port", PORT],
}
GUNICORN = ["gunicorn", "--no-control-socket", "--bind", f"{HOST}:{PORT}", "activated_wsgi:app"]
WSGI = {
    "gunicorn gthread": [*GUNICORN, "--threads", "4"],
    "gunicorn sync": GUNICORN,
    "werkzeug": ["flask", "--app", "activated_wsgi", "run", "--with-threads", "--port", PORT],
}


def answers(directory: Path, command: list[str], activation: str, paths: str) -> set[str]:
    """Return the different answers of a server at these paths."""
    environment = {"PYTHONPATH": MODULES, "ACTIVATION": activation}
    with serving([sys.executable, "-m", *command], directory, environment) as served:
        found = [httpx.get(f"{served.url}/{path}", timeout=PATIENCE) for path in paths.split()]
    return {each.raise_for_status().text for each in found}


@pytest.mark.parametrize("server", ASGI)
@pytest.mark.parametrize(
    ("activation", "paths"),
    [
        ("installed", "lifespan async sync dependency thread"),
        ("middleware", "lifespan async sync dependency"),
    ],
)
def test_an_asgi_application_has_one_storage_everywhere_and_closes_it(
    tmp_path: Path, server: str, activation: str, paths: str
) -> None:
    """In its lifespan, in endpoints of both kinds, and in threads of its own if it is installed."""
    command = [server, *ASGI[server], "activated_asgi:app"]
    assert 1 == len(answers(tmp_path, command, activation, paths))
    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize("server", WSGI)
def test_a_wsgi_application_has_one_storage_everywhere(tmp_path: Path, server: str) -> None:
    """While it is imported, in a view, and in a thread of its own."""
    assert 1 == len(answers(tmp_path, WSGI[server], "installed", "import sync thread"))
