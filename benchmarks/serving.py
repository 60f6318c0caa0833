"""Files over HTTP: `rex serve` beside Starlette on uvicorn, and beside Caddy, on one directory.

Small files are asked for by wrk, 32 connections at a time, from the same machine, so that client
and server share its cores; large ones by curl. One process of Python serves in each case. uvicorn
is as it is installed without extras; what Starlette does on our server, granian, tells how much of
the difference is ours. Caddy is a compiled server that uses all cores and gives the file to the
kernel: the limit of this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measure import OURS, Figure, compare, progress

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench import Bench

MIB = 1024 * 1024
SMALL = 4096
LARGE = 64 * MIB
CONNECTIONS = 32
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
START_SECONDS = 30
UVICORN = "Starlette on uvicorn"
GRANIAN = "Starlette on granian"


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    directory = bench.directory / "files"
    with open_storage(f"file://{directory}") as storage:
        storage.check()  # which makes the directory
        small = storage.add("small.bin", os.urandom(SMALL))
        large = storage.add("large.bin", os.urandom(LARGE))
    upload = bench.directory / "upload.bin"
    upload.write_bytes(os.urandom(LARGE))
    with contextlib.ExitStack() as stack:
        servers = {
            OURS: stack.enter_context(_rex(directory)),
            UVICORN: stack.enter_context(_starlette(directory)),
            GRANIAN: stack.enter_context(_starlette_on_granian(directory)),
        }
        if shutil.which("caddy"):
            servers["Caddy"] = stack.enter_context(_caddy(directory))
        figures = _small(bench, servers, small)
        figures += _large(bench, servers, large)
        figures += _uploads(bench, servers, upload)
    with contextlib.ExitStack() as stack:
        ours, handle = stack.enter_context(_rex_on_s3(bench))
        theirs = {
            UVICORN: stack.enter_context(_starlette(directory)),
            GRANIAN: stack.enter_context(_starlette_on_granian(directory)),
        }
        figures += _redirects(bench, ours + handle, theirs)
    return figures


def _small(bench: Bench, servers: Mapping[str, str], handle: str) -> list[Figure]:
    if shutil.which("wrk") is None:
        progress("wrk is missing (Debian's package wrk): small files are left out\n")
        return []
    urls = {name: f"{url}{handle}" for name, url in servers.items()}
    rates = rates_of(bench, urls)
    goals = {UVICORN: 4.0, GRANIAN: None, "Caddy": 0.5}
    return [
        ratio("serve 4 KiB", peer, rates, goal) for peer, goal in goals.items() if peer in rates
    ]


def _redirects(bench: Bench, ours: str, theirs: Mapping[str, str]) -> list[Figure]:
    """Compare with a bare RedirectResponse; ours asks who may, and signs the link."""
    if shutil.which("wrk") is None:
        return []
    rates = rates_of(
        bench, {OURS: ours, **{name: f"{url}/redirect" for name, url in theirs.items()}}
    )
    goals = {UVICORN: 0.5, GRANIAN: None}
    return [ratio("redirect to a link", peer, rates, goal) for peer, goal in goals.items()]


def rates_of(bench: Bench, urls: Mapping[str, str], *, at_least: int = 1) -> dict[str, list[float]]:
    """Return the requests per second of each, in turns of at least so many seconds."""
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for turn in range(bench.choose(3, 7)):
        for name, url in urls.items():
            rates[name].append(_wrk(url, max(bench.choose(1, 3), at_least)))
            progress(f"wrk: {turn}, {name}")
    return rates


def ratio(case: str, peer: str, rates: Mapping[str, list[float]], goal: float | None) -> Figure:
    """Compare our rates with those of a peer."""
    pairs = zip(rates[OURS], rates[peer], strict=True)
    values = tuple(ours / theirs for ours, theirs in pairs)
    middle = {name: sorted(rates[name])[len(rates[name]) // 2] for name in (OURS, peer)}
    note = f"{middle[OURS]:,.0f}/s to {middle[peer]:,.0f}/s"
    return Figure(case, peer, values, goal, "at least", note=note)


def _wrk(url: str, seconds: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None
    return float(found[1])


def _large(bench: Bench, servers: Mapping[str, str], handle: str) -> list[Figure]:
    def fetch(url: str) -> Callable[[], None]:
        return lambda: curl("-o", "/dev/null", url)

    contestants = {name: fetch(f"{url}{handle}") for name, url in servers.items()}
    goals = {"Caddy": 0.9, UVICORN: None, GRANIAN: None}
    return compare(
        "serve 64 MiB",
        contestants,
        {name: goal for name, goal in goals.items() if name in contestants},
        rounds=bench.choose(3, 9),
        number=2,
        sense="at least",
    )


def _uploads(bench: Bench, servers: Mapping[str, str], upload: Path) -> list[Figure]:
    ours, theirs = servers[OURS], servers[UVICORN]
    return compare(
        "upload 64 MiB, a form",
        {
            OURS: lambda: curl("-F", f"file=@{upload}", f"{ours}/"),
            UVICORN: lambda: curl("-F", f"file=@{upload}", f"{theirs}/upload"),
        },
        {UVICORN: 1.5},
        rounds=bench.choose(3, 9),
        sense="at least",
    )


def curl(*arguments: str) -> None:
    """Run curl."""
    subprocess.run(["curl", "-sSf", *arguments], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _rex(directory: Path) -> Iterator[str]:
    port = free_port()
    settings = {"ATTACH_DIR": str(directory), "ATTACH_ACCESS": "public"}
    with running([BIN / "rex", "serve", "--port", port], port, settings):
        yield f"http://127.0.0.1:{port}/attach"


@contextlib.contextmanager
def _rex_on_s3(bench: Bench) -> Iterator[tuple[str, str]]:
    port = free_port()
    settings = {name.upper(): value for name, value in bench.server.settings().items()}
    settings |= {"ATTACH_ACCESS": "public", "ATTACH_REDIRECT": "true"}
    server = bench.server
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    with open_storage(f"s3://{server.bucket}?endpoint={server.endpoint}", **keys) as storage:
        handle = storage.add("a.bin", b"content")
    with running([BIN / "rex", "serve", "--port", port], port, settings):
        yield f"http://127.0.0.1:{port}/attach", handle


@contextlib.contextmanager
def _starlette(directory: Path) -> Iterator[str]:
    port = free_port()
    command = [BIN / "uvicorn", "starlette_app:app", "--port", port, "--no-access-log"]
    command += ["--app-dir", HERE, "--log-level", "warning"]
    with running(command, port, {"DIRECTORY": str(directory)}):
        yield f"http://127.0.0.1:{port}"


def on_granian(app: str, port: int) -> list[object]:
    """Return the command that serves an application of this directory, on the server of `rex`."""
    options = ("--interface", "asgi", "--no-ws", "--working-dir", HERE)
    return [BIN / "granian", *options, "--port", port, app]


@contextlib.contextmanager
def _starlette_on_granian(directory: Path) -> Iterator[str]:
    port = free_port()
    command = on_granian("starlette_app:app", port)
    with running(command, port, {"DIRECTORY": str(directory)}):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _caddy(directory: Path) -> Iterator[str]:
    port = free_port()
    command = ["caddy", "file-server", "--listen", f"127.0.0.1:{port}", "--root", directory]
    with running(command, port, {"HOME": str(directory.parent)}):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def running(
    command: list[object], port: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; it is there when the block begins."""
    program = subprocess.Popen(
        [str(part) for part in command],
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert program.poll() is None, command
            assert time.monotonic() < deadline, command
            time.sleep(0.05)
        yield program
    finally:
        os.killpg(program.pid, signal.SIGTERM)  # node may be started by a script
        program.wait()


def free_port() -> int:
    """Return a port that no program uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
