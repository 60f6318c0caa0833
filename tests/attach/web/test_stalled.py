"""Stalled clients: others are served meanwhile, and all that stall are cut.

Two services share a storage. One waits for long, so that its clients are stalled when others are
served, however slow the machine is; the other one cuts them soon.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
from starlette.responses import PlainTextResponse

from programs import PATIENCE
from rex.attach.conformance.samples import MIB, sample
from rex.attach.web.timeouts import CutsStalled
from served import HOST, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

STALLED = 40
STALL_SECONDS = 2
DATA = sample(8 * MIB)


def test_where_descriptors_cannot_be_listed_nothing_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request is answered as any other."""
    monkeypatch.setattr("rex.attach.web.timeouts.DESCRIPTORS", tmp_path / "none")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    async def live() -> httpx.Response:
        transport = httpx.ASGITransport(CutsStalled(app, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://here:1") as client:
            return await client.get("/")

    assert "ok" == asyncio.run(live()).text


class Both(NamedTuple):
    """Two services over one storage."""

    patient: Served
    hasty: Served


@pytest.fixture(scope="module", params=["directory", "s3"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    """Serve attachments, on each kind of storage that is for large ones."""
    directory: Path = tmp_path_factory.mktemp("stalled")
    settings: dict[str, str] = {"attach_dir": str(directory / "attachments")}
    if request.param == "s3":
        seaweedfs: SeaweedFS = request.getfixturevalue("seaweedfs")
        settings = {**seaweedfs.settings(), "attach_s3_prefix": "stalled"}
    with (
        rex_serving(directory, attach_stall_timeout=10 * PATIENCE, **settings) as patient,
        rex_serving(directory, attach_stall_timeout=STALL_SECONDS, **settings) as hasty,
    ):
        yield Both(patient, hasty)


def upload(client: httpx.Client, content: bytes) -> str:
    """Store an attachment; give its path."""
    stored = client.post("/attach/", params={"name": "a.bin"}, content=content)
    path: str = stored.raise_for_status().json()["attachments"][0]["url"]
    return path


@contextmanager
def stalling(server: Served, number: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Connect clients, each of which sends something and does nothing any more."""
    clients = [socket.create_connection((HOST, server.port)) for _ in range(number)]
    try:
        for client in clients:
            with suppress(ConnectionError):  # it is cut already
                client.sendall(sent)
        yield clients
    finally:
        for client in clients:
            client.close()


def check_others_are_served(both: Both, number: int, sent: bytes) -> None:
    """While clients stall, others are answered; in the end all that stall are cut."""
    with (
        httpx.Client(base_url=both.patient.url, timeout=PATIENCE) as others,
        stalling(both.patient, number, sent) as clients,
    ):
        path = upload(others, b"small")
        assert b"small" == others.get(path).content
        assert number == both.patient.holds(clients), "the others were served only afterwards"
    with stalling(both.hasty, number, sent) as clients:

        def are_cut() -> bool:
            httpx.get(f"{both.hasty.url}/health").raise_for_status()
            return not both.hasty.holds(clients)

        both.hasty.until(are_cut)


@pytest.mark.parametrize(("number", "sent"), [(STALLED, 10 * 1024), (8, 9 * MIB)])
def test_stalled_uploads_are_cut(both: Both, number: int, sent: int) -> None:
    """At their beginning; and when parts have gone to an object server already."""
    head = b"POST /attach/?name=a.bin HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"
    check_others_are_served(both, number, head % (64 * MIB) + bytes(sent))


def test_stalled_downloads_are_cut(both: Both) -> None:
    """Of clients that ask and take nothing, nothing is left in the server either."""
    with httpx.Client(base_url=both.patient.url, timeout=PATIENCE) as client:
        path = upload(client, DATA)
    asked = f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
    check_others_are_served(both, STALLED, asked)
