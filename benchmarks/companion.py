"""What Uppy asks a server for: signed parts, and forms, compared with @uppy/companion.

The rates are those of wrk, 32 connections at a time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from measure import OURS, Figure, progress
from node_peers import is_installed, node_serving, rex_serving, s3_environment
from serving import rates_of, ratio

if TYPE_CHECKING:
    from bench import Bench

PEER = "@uppy/companion"
NUMBERS = ",".join(map(str, range(1, 101)))
FORM = "params?filename=photo.png&type=image%2Fpng&size=1048576&metadata%5Bname%5D=photo.png"


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    if not is_installed():
        return []
    if shutil.which("wrk") is None:
        progress("wrk is missing (Debian's package wrk): signing is left out\n")
        return []
    with contextlib.ExitStack() as stack:
        environment = s3_environment(bench) | {"DIRECTORY": str(bench.directory)}
        addresses = {
            OURS: stack.enter_context(rex_serving(bench.server.settings())),
            PEER: stack.enter_context(node_serving("companion.js", environment)),
        }
        uploads = {name: _upload(address) for name, address in addresses.items()}
        figures = []
        for case, request, goal, seconds in (
            ("Uppy: a signed part", "1", 4.0, 1),
            ("Uppy: a batch of 100 parts", f"batch?partNumbers={NUMBERS}", 6.7, 3),
        ):
            urls = {name: _with_key(upload, request) for name, upload in uploads.items()}
            figures.append(ratio(case, PEER, rates_of(bench, urls, at_least=seconds), goal))
        urls = {name: f"{address}/s3/{FORM}" for name, address in addresses.items()}
        figures.append(ratio("Uppy: a form", PEER, rates_of(bench, urls), 4.0))
    return figures


def _upload(address: str) -> tuple[str, str]:
    """Create a multipart upload; return its address and its key."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    wanted = {"filename": "a.bin", "type": "application/octet-stream", "metadata": {}}
    wanted["size"] = 100 * 1024 * 1024
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"{parts.path}/s3/multipart", json.dumps(wanted), headers)
    response = connection.getresponse()
    said = response.read()
    assert response.status in (200, 201), said
    created = json.loads(said)
    return f"{address}/s3/multipart/{quote(created['uploadId'], safe='')}", created["key"]


def _with_key(upload: tuple[str, str], request: str) -> str:
    address, key = upload
    mark = "&" if "?" in request else "?"
    return f"{address}/{request}{mark}key={quote(key, safe='')}"
