"""Resumable uploads go on after every cut of the connection and every death of a server.

Two servers, `rex serve` with granian, share one storage. A client sends random bytes; at random
places, which a seed decides, its connection is cut, or the server that it talks to is killed. Then
it asks one of the servers how far it is, and goes on. ``RESUME_MIB`` makes the upload larger,
``RESUME_CUTS`` and ``RESUME_KILLS`` let it be cut more often.
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
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote, unquote

import pytest

from attach.harnesses import LocalHarness, S3Harness
from programs import PATIENCE
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
SEED = 20
CHUNK = 64 * 1024
DIES_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: the connection is reset when it is closed


class Protocol(NamedTuple):
    """How a protocol begins and continues an upload."""

    name: str
    root: str
    """The path below the service to which a creation goes."""
    uploads: str
    """The path below which uploads are."""
    version: dict[str, str]
    """The headers of each request."""
    creation: dict[str, str]
    """The headers of the creation beside the length."""
    append: dict[str, str]
    """The headers of a request to append."""
    statuses: tuple[int, int]
    """The statuses of HEAD and of content that completes the upload."""


NAME = "größe 64.bin"
TUS = Protocol(
    "tus",
    "/attach/tus",
    "/attach/tus",
    {"Tus-Resumable": "1.0.0"},
    {"Upload-Metadata": f"filename {base64.b64encode(NAME.encode()).decode()}"},
    {"Content-Type": "application/offset+octet-stream"},
    (200, 204),
)
IETF = Protocol(
    "the IETF's protocol",
    "/attach/",
    "/attach/uploads",
    {"Upload-Draft-Interop-Version": "8"},
    {"Upload-Complete": "?0", "Content-Disposition": f"inline; filename*=UTF-8''{quote(NAME)}"},
    {"Content-Type": "application/partial-upload", "Upload-Complete": "?1"},
    (204, 201),
)


class Plan(NamedTuple):
    """How large an upload is, and how often it is cut; the environment may ask for more."""

    protocol: Protocol
    mib: int
    cuts: int
    kills: int

    @classmethod
    def of(cls, protocol: Protocol, *numbers: int) -> Self:
        """Return a plan, as the environment asks."""
        names = ("RESUME_MIB", "RESUME_CUTS", "RESUME_KILLS")
        asked = zip(names, numbers, strict=True)
        return cls(protocol, *(int(os.environ.get(name, number)) for name, number in asked))

    @property
    def size(self) -> int:
        """The size of the upload in bytes, which no part of S3 divides."""
        return self.mib * MIB + 12_345


PLANS = [Plan.of(TUS, 64, 20, 5), Plan.of(IETF, 16, 6, 2)]


def ask(
    server: Served, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str]]:
    """Make a request without a body; give status and headers of the answer."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=PATIENCE)
    with closing(connection):
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


class Sending(NamedTuple):
    """How a piece was sent: to which place, and the status of the answer, if there was any."""

    position: int
    status: int | None


def send(
    server: Served,
    path: str,
    data: bytes,
    headers: Mapping[str, str],
    *,
    offset: int,
    until: int,
    end: str,
) -> Sending:
    """Send an upload from an offset on, as if to its end, but only to a place.

    There the connection is cut (``rst`` or ``fin``), or the server is killed (``kill``).
    """
    given = {
        "Host": f"{HOST}:{server.port}",
        **headers,
        "Upload-Offset": offset,
        "Content-Length": len(data) - offset,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    head = f"PATCH {path} HTTP/1.1\r\n{lines}\r\n"
    position = offset
    with socket.create_connection((HOST, server.port), timeout=PATIENCE) as connection:
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


def offset_at(server: Served, path: str, plan: Plan) -> int:
    """Ask how far the upload is."""
    status, headers = ask(server, "HEAD", path, plan.protocol.version)
    assert (plan.protocol.statuses[0], str(plan.size)) == (status, headers["upload-length"])
    return int(headers["upload-offset"])


class Upload:
    """One upload, cut and killed at the places of a seed; it counts what was sent again."""

    def __init__(self, both: list[Served], data: bytes, plan: Plan) -> None:
        self._plan, self._protocol = plan, plan.protocol
        self._random = random.Random(SEED)  # noqa: S311 - no secret
        self._servers = both
        self._data = data
        self._furthest = 0
        self.again: dict[str, list[int]] = {
            what: [] for what in ("rst", "fin", "kill", "refused", "")
        }

    def run(self) -> str:
        """Upload all of it; give its handle."""
        used = self._protocol
        headers = {"Upload-Length": str(len(self._data)), **used.version, **used.creation}
        status, told = ask(self._servers[0], "POST", used.root, headers)
        assert 201 == status
        path = told["location"]
        server = self._servers[0]
        kinds = ["rst", "fin"] * (self._plan.cuts // 2) + ["kill"] * self._plan.kills
        self._random.shuffle(kinds)
        places = sorted(self._random.sample(range(1, self._plan.size), len(kinds)))
        offset = 0
        for place, kind in zip(places, kinds, strict=True):
            offset, server = self._send(server, path, offset, place, kind)
        while offset < self._plan.size:
            offset, server = self._send(server, path, offset, self._plan.size, "")
        return unquote(path.removeprefix(used.uploads))

    def _send(
        self, server: Served, path: str, offset: int, until: int, kind: str
    ) -> tuple[int, Served]:
        """Send to a place where it is cut; give the offset and the server at which it goes on."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline
            until = min(max(until, offset + 1), self._plan.size)
            headers = {**self._protocol.version, **self._protocol.append}
            sent = send(server, path, self._data, headers, offset=offset, until=until, end=kind)
            assert sent.status in (self._protocol.statuses[1], 409, 423, None)
            # Another server still has what was sent to it before.
            refused = sent.status in (409, 423) or sent.position < until
            self._furthest = max(self._furthest, sent.position)
            following = self._random.choice(self._servers)
            if kind == "kill" and not refused:
                following = next(other for other in self._servers if other is not server)
                server.start()
            following.wait()
            there = offset_at(following, path, self._plan)
            assert offset <= there <= self._furthest
            self.again["refused" if refused else kind].append(max(sent.position - there, 0))
            offset, server = there, following
            if not refused or offset == self._plan.size:
                return offset, server


@pytest.fixture(params=["directory", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    """Give the storages that outlast a process."""
    if request.param == "directory":
        return LocalHarness()
    return S3Harness(request.getfixturevalue("seaweedfs"))


@pytest.mark.parametrize("plan", PLANS, ids=["tus", "ietf"])
def test_an_upload_goes_on_after_every_cut_and_every_kill(
    harness: Harness, plan: Plan, tmp_path: Path, report_figure: Callable[[str], None]
) -> None:
    """At each cut and kill of the plan: it completes, its bytes are right, nothing else is left."""
    data = random.Random(SEED).randbytes(plan.size)  # noqa: S311 - no secret
    with harness.storage() as storage:
        with ExitStack() as stack:
            running = (rex_serving(tmp_path, **settings_of(storage)) for _ in range(2))
            upload = Upload([*map(stack.enter_context, running)], data, plan)
            handle = upload.run()
        with storage.open(handle) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        assert hashlib.sha256(data).hexdigest() == found
        assert [handle] == list(storage)
        assert [] == list(storage.uploads.list())
        assert [] == harness.garbage(storage)
    assert plan.kills == len(upload.again["kill"])
    assert plan.cuts == len(upload.again["rst"] + upload.again["fin"])
    kind = type(storage).__name__.removesuffix("Storage")
    way = f"{plan.protocol.name} over {kind}"
    for what, many in (("rst", "cuts (RST)"), ("fin", "cuts (FIN)"), ("kill", "kills")):
        again = upload.again[what]
        report_figure(
            f"{way}, {plan.mib} MiB, {len(again)} {many}: {sum(again)} bytes sent "
            f"again, {sum(again) // len(again)} each, {max(again)} at most"
        )
    refused = upload.again["refused"]
    report_figure(f"{way}: {len(refused)} times refused, {sum(refused)} bytes again")
