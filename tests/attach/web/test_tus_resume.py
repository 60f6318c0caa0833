"""Uploads by tus go on after every cut of the connection and every death of a server.

Two servers, `rex serve` with granian, share one storage. A client sends random bytes; at random
places, which a seed decides, its connection is cut, or the server that it talks to is killed. Then
it asks one of the servers how far it is, and goes on. ``RESUME_MIB`` makes the upload larger.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import select
import socket
import struct
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import pytest

from attach.harnesses import LocalHarness, S3Harness
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.s3.storage import S3Storage
from served import HOST, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.conformance import Harness

pytestmark = pytest.mark.long

MIB = 1024 * 1024
SIZE = int(os.environ.get("RESUME_MIB", "64")) * MIB + 12_345
CUTS = 20
KILLS = 5
SEED = 20
CHUNK = 64 * 1024
HANGS = 120
TUS = {"Tus-Resumable": "1.0.0"}
DIES_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: the connection is reset when it is closed


def ask(
    server: Served, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str]]:
    """Make a request without a body; give status and headers of the answer."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=HANGS)
    with closing(connection):
        connection.request(method, path, headers={**TUS, **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


class Sending(NamedTuple):
    """How a piece was sent: to which place, and the status of the answer, if there was any."""

    position: int
    status: int | None


def send(server: Served, path: str, data: bytes, *, offset: int, until: int, end: str) -> Sending:
    """Send an upload from an offset on, as if to its end, but only to a place.

    There the connection is cut (``rst`` or ``fin``), or the server is killed (``kill``).
    """
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
        f"Content-Length: {len(data) - offset}\r\n\r\n"
    )
    position = offset
    with socket.create_connection((HOST, server.port), timeout=HANGS) as connection:
        try:
            connection.sendall(head.encode())
            while position < until:
                readable, _, _ = select.select([connection], [], [], 0)
                if readable:  # it is refused
                    break
                position += connection.send(data[position : min(position + CHUNK, until)])
            else:
                if end == "rst":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DIES_AT_ONCE)
                if end == "kill":
                    server.kill()
                if end:
                    return Sending(position, None)
            answer = http.client.HTTPResponse(connection, method="PATCH")
            answer.begin()
        except OSError:
            return Sending(position, None)
        return Sending(position, answer.status)


def settings_of(storage: Storage) -> dict[str, str]:
    """Give the settings for the same storage in another process."""
    if isinstance(storage, LocalStorage):
        return {"attach_dir": storage.directory}
    assert isinstance(storage, S3Storage)
    keys = storage._bucket.credentials()
    return {
        "attach_s3_bucket": storage.bucket,
        "attach_s3_endpoint": storage.endpoint,
        "attach_s3_access_key": keys.access_key,
        "attach_s3_secret_key": keys.secret_key,
        "attach_s3_prefix": storage.prefix,
    }


def offset_at(server: Served, path: str) -> int:
    """Ask how far the upload is."""
    status, headers = ask(server, "HEAD", path)
    assert (200, str(SIZE)) == (status, headers["upload-length"])
    return int(headers["upload-offset"])


class Upload:
    """One upload, cut and killed at the places of a seed; it counts what was sent again."""

    def __init__(self, both: list[Served], data: bytes) -> None:
        self._random = random.Random(SEED)  # noqa: S311 - no secret
        self._servers = both
        self._data = data
        self._furthest = 0
        self.again: dict[str, list[int]] = {
            what: [] for what in ("rst", "fin", "kill", "refused", "")
        }

    def run(self) -> str:
        """Upload all of it; give its handle."""
        name = base64.b64encode("größe 64.bin".encode()).decode()
        headers = {"Upload-Length": str(SIZE), "Upload-Metadata": f"filename {name}"}
        status, told = ask(self._servers[0], "POST", "/attach/tus", headers)
        assert 201 == status
        path = told["location"]
        server = self._servers[0]
        kinds = ["rst", "fin"] * (CUTS // 2) + ["kill"] * KILLS
        self._random.shuffle(kinds)
        places = sorted(self._random.sample(range(1, SIZE), len(kinds)))
        offset = 0
        for place, kind in zip(places, kinds, strict=True):
            offset, server = self._send(server, path, offset, place, kind)
        while offset < SIZE:
            offset, server = self._send(server, path, offset, SIZE, "")
        return unquote(path.removeprefix("/attach/tus"))

    def _send(
        self, server: Served, path: str, offset: int, until: int, kind: str
    ) -> tuple[int, Served]:
        """Send to a place where it is cut; give the offset and the server at which it goes on."""
        deadline = time.monotonic() + HANGS
        while True:
            assert time.monotonic() < deadline
            until = min(max(until, offset + 1), SIZE)
            sent = send(server, path, self._data, offset=offset, until=until, end=kind)
            assert sent.status in (204, 409, 423, None)
            # Another server still has what was sent to it before.
            refused = sent.status in (409, 423) or sent.position < until
            self._furthest = max(self._furthest, sent.position)
            following = self._random.choice(self._servers)
            if kind == "kill" and not refused:
                following = next(other for other in self._servers if other is not server)
                server.start()
            following.wait()
            there = offset_at(following, path)
            assert offset <= there <= self._furthest
            self.again["refused" if refused else kind].append(max(sent.position - there, 0))
            offset, server = there, following
            if not refused or offset == SIZE:
                return offset, server


@pytest.fixture(params=["directory", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    """Give the storages that outlast a process."""
    if request.param == "directory":
        return LocalHarness()
    return S3Harness(request.getfixturevalue("seaweedfs"))


def test_an_upload_goes_on_after_every_cut_and_every_kill(
    harness: Harness, tmp_path: Path, report_figure: Callable[[str], None]
) -> None:
    """At 20 cuts and 5 kills: it completes, its bytes are right, and nothing else is left."""
    data = random.Random(SEED).randbytes(SIZE)  # noqa: S311 - no secret
    with harness.storage() as storage:
        with ExitStack() as stack:
            running = (rex_serving(tmp_path, **settings_of(storage)) for _ in range(2))
            upload = Upload([*map(stack.enter_context, running)], data)
            handle = upload.run()
        with storage.open(handle) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        assert hashlib.sha256(data).hexdigest() == found
        assert [handle] == list(storage)
        assert [] == list(storage.uploads.list())
        assert [] == harness.garbage(storage)
    assert KILLS == len(upload.again["kill"])
    assert CUTS == len(upload.again["rst"] + upload.again["fin"])
    kind = type(storage).__name__.removesuffix("Storage")
    for what, many in (("rst", "cuts (RST)"), ("fin", "cuts (FIN)"), ("kill", "kills")):
        again = upload.again[what]
        report_figure(
            f"tus over {kind}, {SIZE // MIB} MiB, {len(again)} {many}: {sum(again)} bytes sent "
            f"again, {sum(again) // len(again)} each, {max(again)} at most"
        )
    refused = upload.again["refused"]
    report_figure(f"tus over {kind}: {len(refused)} times refused, {sum(refused)} bytes again")
