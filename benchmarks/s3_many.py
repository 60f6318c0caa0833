"""Many small files at once: 5,000 adds of 4 KiB on S3 by 32 workers, and how it grows.

The limit is obstore called asynchronously, with 32 requests under way.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from contestants import Peers
from measure import OURS, Figure, compare

if TYPE_CHECKING:
    from bench import Bench

WORKERS = 32
SIZE = 4096


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    import obstore

    peers = Peers(bench.server)
    content = os.urandom(SIZE)
    number = bench.choose(500, 5000)

    def by_threads(_: object = None) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            for _handle in pool.map(lambda _: peers.rex.add("a.bin", content), range(number)):
                pass

    async def by_coroutines() -> None:
        left = iter(range(number))

        async def work() -> None:
            for _ in left:
                await peers.rex.aio.add("a.bin", content)

        await asyncio.gather(*(work() for _ in range(WORKERS)))

    async def by_obstore() -> None:
        left = iter(range(number))

        async def work() -> None:
            for _ in left:
                await obstore.put_async(peers.obstore, peers.key(), content)

        await asyncio.gather(*(work() for _ in range(WORKERS)))

    figures = []
    for way, act in (("threads", by_threads), ("coroutines", lambda: asyncio.run(by_coroutines()))):
        figures += compare(
            f"{number} adds on S3, {WORKERS} {way}",
            {OURS: act, "obstore async": lambda: asyncio.run(by_obstore())},
            {"obstore async": 0.9 if way == "threads" else None},
            rounds=bench.choose(3, 5),
            sense="at least",
        )
    peers.close()
    return figures
