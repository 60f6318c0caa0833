"""A large attachment takes little memory in the process that serves it, sent and fetched.

The size is that of `attach/test_memory.py`: ``REX_TEST_LARGE=4096 make test-all``.
"""

from __future__ import annotations

import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from attach.test_memory import LARGE, LIMIT, MIB
from served import HOST, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

TIMEOUT = 600
BURST = 16
"""How many uploads come at once."""
STALLED = 200
QUIET_SECONDS = 0.1
STALLED_LIMITS = {"a directory": 128 * MIB, "S3": 256 * MIB}
"""Of all stalled downloads. Without shares, they take 190 and 520 MiB."""


@pytest.fixture(params=["a directory", "S3"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """Serve attachments, on each kind of storage that is for large ones."""
    settings: dict[str, str] = {"attach_dir": str(tmp_path / "attachments")}
    if request.param == "S3":
        seaweedfs: SeaweedFS = request.getfixturevalue("seaweedfs")
        settings = {**seaweedfs.settings(), "attach_s3_prefix": "served-memory"}
    with rex_serving(tmp_path, **settings) as served:
        yield served


def blocks() -> Iterator[bytes]:
    """Give the content, no MiB like another."""
    for number in range(0, LARGE, MIB):
        yield number.to_bytes(8, "big") * (MIB // 8)


def upload(client: httpx.Client, content: bytes | Iterator[bytes]) -> str:
    """Store an attachment; give its path."""
    answer = client.post("/attach/", params={"name": "a.bin"}, content=content)
    path: str = answer.raise_for_status().json()["attachments"][0]["url"]
    return path


def download(client: httpx.Client, path: str) -> str:
    """Fetch an attachment; give the digest of what came."""
    digest = hashlib.sha256()
    with client.stream("GET", path) as answer:
        for chunk in answer.iter_raw():
            digest.update(chunk)
    return digest.hexdigest()


def test_memory_is_returned_after_a_burst_of_uploads(
    server: Served, request: pytest.FixtureRequest, report_figure: Callable[[str], None]
) -> None:
    """Soon after many uploads at once, the process keeps a small part of their memory."""
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        upload(client, b"small")
        idle = server.memory()
        server.forget_peak()
        with ThreadPoolExecutor(BURST) as pool:
            list(pool.map(lambda _: upload(client, bytes(20 * MIB)), range(BURST)))
        took = server.peak_memory() - idle
        after = server.memory() - idle
        server.until(lambda: server.memory() - idle < BURST * 3 * MIB)
    report_figure(
        f"memory, {BURST} uploads of 20 MiB at once on {request.node.callspec.id}: at most "
        f"{took / MIB:.0f} MiB above idle, {after / MIB:.0f} MiB right after them, then "
        f"{(server.memory() - idle) / MIB:.0f} MiB"
    )


def test_many_stalled_downloads_take_little_memory(
    server: Served, request: pytest.FixtureRequest, report_figure: Callable[[str], None]
) -> None:
    """Each client asks for 64 MiB and receives nothing; the buffers of the system are full."""
    kind = request.node.callspec.id
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        path = upload(client, bytes(64 * MIB))
        download(client, path)
    idle = server.memory()
    server.forget_peak()
    clients = []
    for _ in range(STALLED):
        clients.append(socket.create_connection((HOST, server.port)))
        clients[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    used = [server.cpu_seconds()]

    def is_quiet() -> bool:
        """Wait for a second in which the server does next to nothing."""
        time.sleep(1)
        used.append(server.cpu_seconds())
        return used[-1] - used[-2] < QUIET_SECONDS < used[-1] - used[0]

    server.until(is_quiet)
    took = server.peak_memory() - idle
    for stalled in clients:
        stalled.close()
    report_figure(f"memory, {STALLED} stalled downloads on {kind}: {took / MIB:.0f} MiB above idle")
    assert took <= STALLED_LIMITS[kind]


def test_serving_a_large_attachment_takes_little_memory(
    server: Served, request: pytest.FixtureRequest, report_figure: Callable[[str], None]
) -> None:
    """It is sent with a length that nobody announced, and fetched whole."""
    used: list[int] = []
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:

        def measured(verb: str, do: Callable[..., str], *args: object) -> str:
            idle = server.memory()
            server.forget_peak()
            began = time.perf_counter()
            result = do(client, *args)
            seconds = time.perf_counter() - began
            used.append(server.peak_memory() - idle)
            report_figure(
                f"memory, {LARGE // MIB} MiB through HTTP {verb} on {request.node.callspec.id}: "
                f"{used[-1] / MIB:.0f} MiB above idle, {LARGE / MIB / seconds:.0f} MiB/s"
            )
            return result

        download(client, upload(client, b"small"))
        path = measured("POST", upload, blocks())
        digest = hashlib.sha256()
        for block in blocks():
            digest.update(block)
        assert digest.hexdigest() == measured("GET", download, path)
        client.delete(path).raise_for_status()
    assert max(used) <= LIMIT
