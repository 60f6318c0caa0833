"""Listing very many: 100,000 on S3 beside obstore's own list, 1,000,000 in a directory beside find.

The quick run lists a tenth. The files in the directory are made without content and without being
synced, on several days, as ours would be. `find` prints the path of each file; ours gives a handle.
"""

from __future__ import annotations

import os
import resource
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from contestants import Peers
from measure import OURS, Figure, compare, progress

from rex.attach import open_storage

if TYPE_CHECKING:
    from bench import Bench

DAYS = 10
MIB = 1024


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    return [*_in_directory(bench), *_on_s3(bench)]


def _in_directory(bench: Bench) -> list[Figure]:
    number = bench.choose(10_000, 300_000)
    root = bench.directory / "many"
    for place in range(number):
        day = root / f"2026/01/{place % DAYS + 1:02}"
        folder = day / str(uuid.uuid4())
        if place < DAYS:
            day.mkdir(parents=True)
        os.mkdir(folder)
        os.close(os.open(folder / "a.bin", os.O_CREAT | os.O_WRONLY))
        if place % 10_000 == 0:
            progress(f"making files: {place} of {number}")

    def find() -> None:
        command = ["find", str(root), "-type", "f"]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        assert number == found.stdout.count(b"\n")

    with open_storage(f"file://{root}") as storage:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def ours() -> None:
            assert number == sum(1 for _ in storage)

        ours()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / MIB
        case = f"list {number:,} in a directory"
        figures = compare(case, {OURS: ours, "find": find}, {"find": 2}, rounds=3)
    return [*figures, Figure(f"memory of {case}", "idle", (grown,), 64, unit="MiB")]


def _on_s3(bench: Bench) -> list[Figure]:
    import obstore

    number = bench.choose(3000, 30_000)
    peers = Peers(bench.server)
    with ThreadPoolExecutor(16) as pool:
        added = pool.map(lambda _: obstore.put(peers.obstore, peers.key(), b"x"), range(number))
        for place, _ in enumerate(added):
            if place % 1000 == 0:
                progress(f"making objects: {place} of {number}")

    def ours() -> None:
        assert number == sum(1 for _ in peers.rex)

    def theirs() -> None:
        assert number == sum(len(page) for page in obstore.list(peers.obstore))

    figures = compare(
        f"list {number:,} on S3",
        {OURS: ours, "obstore": theirs},
        {"obstore": 1.2},
        rounds=3,
    )
    peers.close()
    return figures
