"""An archive of many attachments, compared with reading the same attachments one by one.

The limit is reading: the archive adds a CRC-32 of each byte.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from contestants import Peers
from measure import OURS, Figure, compare

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench

    from rex.attach import Storage

MIB = 1024 * 1024
CHUNK = 256 * 1024
GOAL = 0.8
MEMORY_GOAL = 32.0

PROGRAM = """
import json, re, sys
from rex.attach import open_storage

def peak():
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024

given = json.loads(sys.stdin.read())
with open_storage(given["url"], **given["keys"]) as storage:
    with storage.zip(given["handles"][:1]) as archive:
        b"".join(archive)
    idle = peak()
    with storage.zip(given["handles"]) as archive:
        assert archive.size == sum(map(len, archive))
    print(peak() - idle)
"""


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    peers = Peers(bench.server)
    server, directory = bench.server, f"file://{bench.directory}"
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    figures = []
    with open_storage(directory) as local:
        for place, storage, url, access in (
            ("on S3", peers.rex, f"s3://{server.bucket}?endpoint={server.endpoint}", keys),
            ("in a directory", local, directory, {}),
        ):
            for size, number in ((MIB, bench.choose(100, 1000)), (4096, bench.choose(300, 1000))):
                handles = [storage.add("a.bin", os.urandom(size)) for _ in range(number)]
                name = f"zip of {number} x {size // 1024} KiB {place}"
                figures += compare(
                    name,
                    {OURS: _archive(storage, handles), "one by one": _read(storage, handles)},
                    {"one by one": GOAL},
                    rounds=bench.choose(3, 7),
                    sense="at least",
                )
                if size == MIB:
                    grown = _grown({"url": url, "keys": access, "handles": handles})
                    figures.append(Figure(name, "memory", (grown,), MEMORY_GOAL, unit="MiB"))
    peers.close()
    return figures


def _archive(storage: Storage, handles: list[str]) -> Callable[[], None]:
    def act() -> None:
        with storage.zip(handles) as archive:
            assert archive.size == sum(map(len, archive))

    return act


def _read(storage: Storage, handles: list[str]) -> Callable[[], None]:
    def act() -> None:
        for handle in handles:
            with storage.open(handle) as stream:
                while stream.stream.read_full(CHUNK):
                    pass

    return act


def _grown(given: dict[str, object]) -> float:
    """Return how many MiB the archive adds to the peak of a process's memory."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(given),
        capture_output=True,
        check=True,
        text=True,
    )
    return float(done.stdout)
