"""Uploads by tus, compared with @tus/server, which neither syncs nor computes a digest.

The same client sends the same requests to both: 64 MiB in one PATCH, and 100 KiB together with the
creation of the upload.
"""

from __future__ import annotations

import contextlib
import http.client
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from measure import OURS, Figure, compare
from node_peers import is_installed, node_serving, rex_serving, s3_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench

LARGE = os.urandom(64 * 1024 * 1024)
SMALL = os.urandom(100 * 1024)
BYTES = {"Content-Type": "application/offset+octet-stream"}


class Client:
    """A client of tus; each upload has a new connection, since servers close idle ones."""

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)
        self._path = self._address.path

    def create_and_append(self, content: bytes) -> None:
        """Create an upload and send all its bytes in one PATCH."""
        with self._connected() as connection:
            headers = {"Upload-Length": str(len(content))}
            location = _send(connection, "POST", self._path, b"", headers)
            headers = {"Upload-Offset": "0", **BYTES}
            _send(connection, "PATCH", urlsplit(location).path, content, headers)

    def create_with_upload(self, content: bytes) -> None:
        """Send all bytes with the request that creates the upload."""
        with self._connected() as connection:
            headers = {"Upload-Length": str(len(content)), **BYTES}
            _send(connection, "POST", self._path, content, headers)

    def _connected(self) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(http.client.HTTPConnection(self._address.netloc, timeout=60))


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
) -> str:
    """Send a request; return the Location in the response."""
    connection.request(method, path, body, {"Tus-Resumable": "1.0.0", **headers})
    response = connection.getresponse()
    said = response.read()
    assert response.status in (201, 204), (method, response.status, said)
    return response.getheader("Location", "")


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    if not is_installed():
        return []
    figures = []
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(rex_serving({"attach_dir": bench.directory / "ours"}))
        theirs = stack.enter_context(
            node_serving("tus_server.js", {"DIRECTORY": str(bench.directory / "theirs")})
        )
        clients = {OURS: Client(f"{ours}/tus/"), "@tus/server": Client(f"{theirs}/files")}
        figures += _large(bench, "tus, 64 MiB in a directory", clients, 1.0)
        figures += compare(
            "tus, 100 KiB with the creation",
            {name: _creation(client) for name, client in clients.items()},
            {"@tus/server": 1.0},
            rounds=bench.choose(3, 9),
            number=bench.choose(10, 30),
        )
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(rex_serving(bench.server.settings()))
        theirs = stack.enter_context(node_serving("tus_server.js", s3_environment(bench)))
        clients = {OURS: Client(f"{ours}/tus/"), "@tus/s3-store": Client(f"{theirs}/files")}
        figures += _large(bench, "tus, 64 MiB on S3", clients, 0.9)
    return figures


def _large(bench: Bench, case: str, clients: dict[str, Client], goal: float) -> list[Figure]:
    contestants = {name: _append(client) for name, client in clients.items()}
    goals = {name: goal for name in contestants if name != OURS}
    return compare(case, contestants, goals, rounds=bench.choose(3, 9))


def _append(client: Client) -> Callable[[], None]:
    return lambda: client.create_and_append(LARGE)


def _creation(client: Client) -> Callable[[], None]:
    return lambda: client.create_with_upload(SMALL)
