"""How the service grows with its clients: requests a second, the 99th percentile, and memory.

wrk downloads 4 KiB, 1, 8, 64 and 256 connections at a time, from a directory and from S3. Memory is
the highest of the worker, above that of the idle worker.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from measure import progress
from serving import BIN, free_port, running

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench import Bench

CLIENTS = (1, 8, 64, 256)
SMALL = 4096
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Growth(NamedTuple):
    """One kind of storage with each number of clients."""

    name: str
    rates: list[float]
    """Requests a second."""
    slowest: list[float]
    """The 99th percentile in ms."""
    memory: list[float]
    """In MiB above idle."""


def run(bench: Bench) -> list[Growth]:
    """Measure it; nothing without wrk."""
    if shutil.which("wrk") is None:
        progress("wrk is missing (Debian's package wrk): growth by clients is left out\n")
        return []
    server = bench.server
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    directory = bench.directory / "clients"
    return [
        _measure(bench, "a directory", f"file://{directory}", {}, {"attach_dir": str(directory)}),
        _measure(
            bench,
            "S3",
            f"s3://{server.bucket}?endpoint={server.endpoint}",
            keys,
            server.settings(),
        ),
    ]


def draw(path: Path, growths: list[Growth]) -> list[str]:
    """Draw the plot next to the page; return the Markdown that shows it."""
    if not growths:
        return []
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "rex"
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(10, 3.6))
    for axes, title, field in zip(
        panels,
        ("requests a second", "99th percentile, ms", "memory above idle, MiB"),
        ("rates", "slowest", "memory"),
        strict=True,
    ):
        for growth in growths:
            axes.plot(CLIENTS, getattr(growth, field), marker="o", label=growth.name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(CLIENTS)
        axes.set_xticklabels([str(number) for number in CLIENTS])
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("clients")
        axes.grid(visible=True, alpha=0.3)
    panels[0].legend()
    figure.tight_layout()
    name = f"{path.stem}-4-kib-by-clients.svg"
    figure.savefig(path.with_name(name), metadata={"Date": None})
    plt.close(figure)
    return [f"![Downloads of 4 KiB, by clients]({name})"]


def _measure(
    bench: Bench, name: str, url: str, keys: dict[str, str], settings: dict[str, str]
) -> Growth:
    with open_storage(url, **keys) as storage:
        storage.check()
        handle = storage.add("small.bin", bytes(SMALL))
    growth = Growth(f"rex.attach, {name}", [], [], [])
    for clients in CLIENTS:
        with _serving(settings) as (pid, address):
            _wrk(f"{address}{handle}", 1, 1)
            idle = _memory(pid)
            said = _wrk(f"{address}{handle}", clients, bench.choose(1, 4))
            growth.memory.append(max(0.0, _memory(pid) - idle))
        growth.rates.append(float(_find(r"Requests/sec:\s+([\d.]+)", said)[1]))
        slowest = _find(r"99%\s+([\d.]+)(us|ms|s)", said)
        growth.slowest.append(float(slowest[1]) * UNITS[slowest[2]])
        progress(f"growth: {name}, {clients} clients")
    return growth


@contextlib.contextmanager
def _serving(settings: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Run `rex serve`; yield the process of its worker and the address of the service."""
    port = free_port()
    environment = {"ATTACH_ACCESS": "public"}
    environment |= {setting.upper(): value for setting, value in settings.items()}
    with running([BIN / "rex", "serve", "--port", port], port, environment) as program:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        yield int(children[0]), f"http://127.0.0.1:{port}/attach"


def _memory(pid: int) -> float:
    """Return the highest memory of a process in MiB."""
    found = _find(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024


def _wrk(url: str, clients: int, seconds: int) -> str:
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout", "30s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    return said


def _find(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text)
    assert found is not None, text
    return found
