"""256 MiB to S3 and back.

The limit is the wire, which here is the server and this machine's two cores. Each contestant reads
the file from the disk, and throws away what it reads from the server.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from contestants import Peers
from measure import OURS, Figure, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench import Bench

MIB = 1024 * 1024
CHUNK = MIB


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    path = bench.directory / "large.bin"
    mib = bench.choose(64, 256)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    peers = Peers(bench.server)
    rounds = bench.choose(3, 7)
    figures = _compared(f"add {mib} MiB on S3", _adders(peers, path), rounds)
    with path.open("rb") as file:
        handle = peers.rex.add("large.bin", file)
    figures += _compared(f"open {mib} MiB on S3", _readers(peers, handle), rounds)
    peers.close()
    return figures


def _compared(case: str, contestants: dict[str, Callable[[], None]], rounds: int) -> list[Figure]:
    """Compare with each, and with the one that ours compares worst with."""
    goals: dict[str, float | None] = {name: None for name in contestants if name != OURS}
    figures = compare(case, contestants, goals, rounds=rounds)
    # Not with the fastest in each round, which would be whoever was lucky then.
    fastest = max(figures, key=lambda figure: figure.median)
    return [Figure(case, "the fastest of them", fastest.values, 1.05, note=fastest.peer), *figures]


def _adders(peers: Peers, path: Path) -> dict[str, Callable[[], None]]:
    import obstore

    def by_rex() -> None:
        with path.open("rb") as file:
            handle = peers.rex.add("large.bin", file)
        peers.rex.remove(handle)

    def by_obstore() -> None:
        key = peers.key()
        obstore.put(peers.obstore, key, path)
        obstore.delete(peers.obstore, key)

    def by_boto3() -> None:
        key = peers.key()
        peers.boto3.upload_file(str(path), peers.bucket, key)
        peers.boto3.delete_object(Bucket=peers.bucket, Key=key)

    def by_minio() -> None:
        key = peers.key()
        peers.minio.fput_object(peers.bucket, key, str(path))
        peers.minio.remove_object(peers.bucket, key)

    def by_curl() -> None:
        handle = peers.rex.reserve("large.bin")
        link = peers.rex.upload_link(handle, method="PUT")
        headers = [part for pair in link.headers.items() for part in ("-H", ": ".join(pair))]
        _curl("-T", str(path), *headers, link.url)
        peers.rex.remove(handle)

    return {
        OURS: by_rex,
        "obstore": by_obstore,
        "boto3": by_boto3,
        "minio": by_minio,
        "curl": by_curl,
    }


def _readers(peers: Peers, handle: str) -> dict[str, Callable[[], None]]:
    import obstore

    key = handle[1:]

    def by_rex() -> None:
        with peers.rex.open(handle) as stream:
            while stream.read(CHUNK):
                pass

    def by_obstore() -> None:
        for _ in obstore.get(peers.obstore, key).stream(CHUNK):
            pass

    def by_boto3() -> None:
        body = peers.boto3.get_object(Bucket=peers.bucket, Key=key)["Body"]
        while body.read(CHUNK):
            pass

    def by_minio() -> None:
        answer = peers.minio.get_object(peers.bucket, key)
        while answer.read(CHUNK):
            pass
        answer.close()
        answer.release_conn()

    return {
        OURS: by_rex,
        "obstore": by_obstore,
        "boto3": by_boto3,
        "minio": by_minio,
        "curl": lambda: _curl("-o", "/dev/null", peers.rex.download_link(handle).url),
    }


def _curl(*arguments: str) -> None:
    subprocess.run(["curl", "-sSf", *arguments], check=True, stdout=subprocess.DEVNULL)
