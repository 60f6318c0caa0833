"""What stalled clients cost the others: latency, memory, and when they are cut.

``PYTHONPATH=tests python benchmarks/stalled.py [--json]`` runs ``rex serve`` with one worker over
each kind of storage, makes small uploads and downloads all the time, and meanwhile has 200 clients
stall in an upload after 10 KiB, 20 after 9 MiB (of 64 MiB, so that an object server has got parts
already), and 200 in a download of 16 MiB of which they take nothing. It tells the latency of the
small requests while nobody stalls and while somebody does, the seconds until the last of the
stalled is cut, and the memory of the process before, at its highest, and after. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rex.attach_demo.seaweedfs import SeaweedFS
from served import HOST, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KIB = 1024
MIB = 1024 * KIB
STALL_SECONDS = 3.0
"""The setting attach_stall_timeout."""
LONGEST_SECONDS = 60
IDLE_SECONDS = 3.0
"""How long it is measured while nobody stalls."""
SMALL = 4 * KIB


class Client:
    """One connection, kept alive."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=LONGEST_SECONDS)

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Make a request; fail unless it succeeds."""
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise OSError(f"{method} {path}: {answer.status} {content!r}")
        return content

    def upload(self, content: bytes) -> str:
        """Store an attachment; give its path."""
        answer = json.loads(self.request("POST", "/attach/?name=a.bin", content))
        path: str = answer["attachments"][0]["url"]
        return path


class Others:
    """Clients that upload and download small attachments until they are told to stop."""

    def __init__(self, port: int) -> None:
        path = Client(port).upload(bytes(SMALL))
        self._ended = threading.Event()
        self._took: dict[str, list[float]] = {"upload": [], "download": []}
        self._failures: list[BaseException] = []
        uploader, downloader = Client(port), Client(port)
        self._threads = [
            threading.Thread(target=self._repeat, args=("upload", uploader.upload, bytes(SMALL))),
            threading.Thread(
                target=self._repeat, args=("download", downloader.request, "GET", path)
            ),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def latency(self) -> dict[str, Any]:
        """Give the requests of each kind since last asked: how many, and how long (ms)."""
        if self._failures:
            raise self._failures[0]
        taken, self._took = self._took, {"upload": [], "download": []}
        return {
            kind: {
                "requests": len(times),
                "p50": round(_quantile(times, 0.5) * 1000, 1),
                "p99": round(_quantile(times, 0.99) * 1000, 1),
                "longest": round(_quantile(times, 1) * 1000, 1),
            }
            for kind, times in taken.items()
        }

    def _repeat(self, kind: str, do: Callable[..., object], *args: object) -> None:
        while not self._ended.is_set():
            began = time.perf_counter()
            try:
                do(*args)
            except (OSError, http.client.HTTPException) as failure:
                self._failures.append(failure)
                return
            self._took[kind].append(time.perf_counter() - began)


def stalled_upload(port: int, sent: int, announced: int) -> socket.socket:
    """Begin an upload and stop after some bytes."""
    client = socket.create_connection((HOST, port))
    client.sendall(
        b"POST /attach/?name=a.bin HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % announced
    )
    client.sendall(bytes(sent))
    return client


def stalled_download(port: int, path: str) -> socket.socket:
    """Ask for an attachment and take nothing of it."""
    client = socket.create_connection((HOST, port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    return client


def measure(
    server: Served, others: Others, stall: Callable[[], list[socket.socket]]
) -> dict[str, Any]:
    """Have clients stall; tell how the others fare, and when the last of the stalled is cut."""
    others.latency()
    before = highest = server.memory()
    began = time.monotonic()
    clients = stall()
    while (waited := time.monotonic() - began) < LONGEST_SECONDS:
        time.sleep(0.05)
        highest = max(highest, server.memory())
        if not server.holds(clients):
            break
    latency = others.latency()
    left = server.holds(clients)
    for client in clients:
        client.close()
    time.sleep(1)
    return {
        "clients": len(clients),
        "not cut": left,
        "last cut after": round(waited, 1),
        "latency": latency,
        "memory": [before // MIB, highest // MIB, server.memory() // MIB],
    }


def bench(settings: dict[str, str], directory: str, clients: int, large: int) -> dict[str, Any]:
    """Measure one kind of storage."""
    with rex_serving(Path(directory), **settings, attach_stall_timeout=STALL_SECONDS) as server:
        port = server.port
        path = Client(port).upload(os.urandom(16 * MIB))
        with Others(port) as others:
            time.sleep(IDLE_SECONDS)
            figures: dict[str, Any] = {"nobody": {"latency": others.latency()}}
            for name, stall in {
                "uploads after 10 KiB": lambda: [
                    stalled_upload(port, 10 * KIB, MIB) for _ in range(clients)
                ],
                "uploads after 9 MiB": lambda: [
                    stalled_upload(port, 9 * MIB, 64 * MIB) for _ in range(large)
                ],
                "downloads": lambda: [stalled_download(port, path) for _ in range(clients)],
                "downloads, again": lambda: [stalled_download(port, path) for _ in range(clients)],
            }.items():
                figures[name] = measure(server, others, stall)
    return figures


def _storages(directory: str) -> Iterator[tuple[str, dict[str, str]]]:
    yield "local", {"attach_dir": f"{directory}/attachments"}
    with SeaweedFS() as server:
        yield "s3", server.settings()


def _quantile(times: list[float], share: float) -> float:
    """Give the time that this share of the requests did not exceed."""
    return sorted(times)[max(0, round(share * len(times)) - 1)] if times else float("nan")


def _shown(figures: dict[str, Any]) -> Iterator[str]:
    for kind, rows in figures.items():
        for name, row in rows.items():
            latency = ", ".join(
                f"{verb} p50 {took['p50']} p99 {took['p99']} ms"
                for verb, took in row["latency"].items()
            )
            yield f"{kind}, {name}: {latency}"
            if "memory" in row:
                yield (
                    f"    {row['clients']} stalled, {row['not cut']} not cut, the last cut after "
                    f"{row['last cut after']} s; memory {row['memory']} MiB"
                )


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--clients", type=int, default=200, help="how many stall at once")
    parser.add_argument("--large", type=int, default=20, help="how many stall after 9 MiB")
    parser.add_argument("--only", choices=("local", "s3"), help="one kind of storage")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="rex-stalled-") as directory:
        for name, settings in _storages(directory):
            if options.only in (None, name):
                figures[name] = bench(settings, directory, options.clients, options.large)
    lines = [json.dumps(figures, indent=2)] if options.json else _shown(figures)
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
