"""Clients that send large bodies which are refused before they are sent, and what they read.

Each sends a body of `mib` MiB to `url` as often as `times` says, and returns what it read each
time: the status twice, of the head and of the problem in JSON (``413 413``), or what went wrong.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import requests

from programs import BIN, PATIENCE, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Client = Callable[[str, Mapping[str, str], int, int], list[str]]

__all__ = ["CLIENTS", "statuses"]

MIB = 1024 * 1024
NODE = Path(__file__).with_suffix(".mjs")
PIECES = 20
"""How many pieces a slow client sends before it looks for an answer."""
PAUSE_SECONDS = 0.05


def with_node_http(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with node's `http`."""
    return _with_node("http", url, headers, mib, times)


def with_node_fetch(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with node's `fetch`."""
    return _with_node("fetch", url, headers, mib, times)


def _with_node(
    client: str, url: str, headers: Mapping[str, str], mib: int, times: int
) -> list[str]:
    given = {"url": url, "headers": dict(headers), "mib": mib, "times": times, "client": client}
    done = run(BIN / "node", NODE, json.dumps(given))
    assert 0 == done.returncode, done.stderr
    read: list[str] = json.loads(done.stdout)
    return read


def with_curl(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with curl, which does not ask first."""
    lines = [f"{name}: {value}" for name, value in (*headers.items(), ("Expect", ""))]
    given = [option for line in lines for option in ("-H", line)]
    read = []
    with tempfile.NamedTemporaryFile() as file:
        os.truncate(file.name, mib * MIB)
        for _ in range(times):
            sent = ["--data-binary", f"@{file.name}", "-w", "\n%{http_code}", url]
            done = run("curl", "-s", *given, *sent)
            body, _, status = done.stdout.rpartition("\n")
            read.append(_told(int(status), body) if body else f"curl {done.returncode}")
    return read


def with_httpx(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with httpx."""

    def ask() -> str:
        answer = httpx.post(url, headers=dict(headers), content=bytes(mib * MIB), timeout=PATIENCE)
        return _told(answer.status_code, answer.text)

    return [_tried(ask) for _ in range(times)]


def with_requests(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with requests."""

    def ask() -> str:
        answer = requests.post(url, headers=headers, data=bytes(mib * MIB), timeout=PATIENCE)
        return _told(answer.status_code, answer.text)

    return [_tried(ask) for _ in range(times)]


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that knows the connections that were made in it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[asyncio.Transport] = []

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Make a connection, as always."""
        transport, protocol = await super().create_connection(*args, **options)
        self.made.append(transport)
        return transport, protocol


def with_aiohttp(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with aiohttp."""
    import aiohttp

    async def ask() -> str:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, headers=headers, data=io.BytesIO(bytes(mib * MIB))) as answer,
            ):
                return _told(answer.status, await answer.text())
        finally:
            # A session does not wait until what it has closed is closed.
            loop = asyncio.get_running_loop()
            assert isinstance(loop, _Loop)
            for transport in loop.made:
                transport.abort()
            await asyncio.sleep(0)

    def run() -> str:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            return runner.run(ask())

    return [_tried(run) for _ in range(times)]


def slowly(url: str, headers: Mapping[str, str], _: int, times: int) -> list[str]:
    """Send a second long in small pieces, and read only then; as over a bad network."""
    target = httpx.URL(url)

    def ask() -> str:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.putrequest("POST", target.raw_path.decode())
            for name, value in (*headers.items(), ("Content-Length", str(1024 * MIB))):
                connection.putheader(name, value)
            connection.endheaders()
            for _ in range(PIECES):
                connection.send(bytes(65536))
                time.sleep(PAUSE_SECONDS)
            answer = connection.getresponse()
            return _told(answer.status, answer.read().decode())

    return [_tried(ask) for _ in range(times)]


CLIENTS: dict[str, Client] = {
    "node http": with_node_http,
    "node fetch": with_node_fetch,
    "curl": with_curl,
    "httpx": with_httpx,
    "requests": with_requests,
    "aiohttp": with_aiohttp,
    "a slow client": slowly,
}


def statuses(read: list[str]) -> dict[str, int]:
    """Count what was read."""
    return dict(collections.Counter(read))


def _told(status: int, body: str) -> str:
    problem = json.loads(body) if body.startswith("{") else {}
    return f"{status} {problem.get('status', body)}"


def _tried(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception as failure:  # noqa: BLE001 - it is what was seen
        return f"{type(failure).__name__}: {failure}"[:60]
