"""How the cost grows: with the number of workers, and with the size of what is stored.

On S3, beside obstore called asynchronously; and in a directory.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from contestants import Peers
from measure import progress

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench import Bench

    from rex.attach import Storage

KIB = 1024
MIB = 1024 * KIB
SMALL = 4 * KIB
NOISE = os.urandom(MIB)
WORKERS = (1, 8, 32, 128)
SIZES = tuple(KIB * 4**power for power in range(11))
"""From 1 KiB to 1 GiB."""
DIRECTORY = "rex.attach, in a directory"
S3 = "rex.attach, on S3"
OBSTORE = "obstore async, on S3"


class Curve(NamedTuple):
    """A line of a plot."""

    name: str
    points: tuple[tuple[int, float], ...]
    """The number of workers or the size in bytes, and the seconds of one operation."""


def run(bench: Bench) -> dict[str, list[Curve]]:
    """Measure all; give the curves of each plot by its title."""
    peers = Peers(bench.server)
    with open_storage(f"file://{bench.directory}/growth") as local:
        local.check()  # which makes the directory
        plots = {
            "add 4 KiB, by workers": _by_workers(bench, peers, local, _adders),
            "open + read 4 KiB, by workers": _by_workers(bench, peers, local, _readers),
            "add, by size": _by_size(bench, peers, local, is_add=True),
            "open + read, by size": _by_size(bench, peers, local, is_add=False),
        }
    peers.close()
    return plots


def _by_workers(
    bench: Bench,
    peers: Peers,
    local: Storage,
    contestants: Callable[[Peers, Storage], dict[str, Callable[[int, int], None]]],
) -> list[Curve]:
    number = bench.choose(200, 1000)
    curves = []
    for name, act in contestants(peers, local).items():
        points = []
        for workers in WORKERS:
            act(workers, workers)
            began = time.perf_counter()
            act(workers, number)
            points.append((workers, (time.perf_counter() - began) / number))
            progress(f"growth: {name}, {workers} workers")
        curves.append(Curve(name, tuple(points)))
    return curves


def _adders(peers: Peers, local: Storage) -> dict[str, Callable[[int, int], None]]:
    import obstore

    content = os.urandom(SMALL)

    async def put() -> None:
        await obstore.put_async(peers.obstore, peers.key(), content)

    return {
        S3: _threads(lambda: peers.rex.add("a.bin", content)),
        OBSTORE: _tasks(put),
        DIRECTORY: _threads(lambda: local.add("a.bin", content)),
    }


def _readers(peers: Peers, local: Storage) -> dict[str, Callable[[int, int], None]]:
    import obstore

    content = os.urandom(SMALL)
    there, here = peers.rex.add("a.bin", content), local.add("a.bin", content)

    async def get() -> None:
        answer = await obstore.get_async(peers.obstore, there[1:])
        await answer.bytes_async()

    return {
        S3: _threads(lambda: peers.rex.open(there).read()),
        OBSTORE: _tasks(get),
        DIRECTORY: _threads(lambda: local.open(here).read()),
    }


def _threads(act: Callable[[], object]) -> Callable[[int, int], None]:
    def run(workers: int, number: int) -> None:
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(lambda _: act(), range(number)):
                pass

    return run


def _tasks(act: Callable[[], object]) -> Callable[[int, int], None]:
    async def live(workers: int, number: int) -> None:
        left = iter(range(number))

        async def work() -> None:
            for _ in left:
                await act()  # type: ignore[misc]  # a coroutine

        await asyncio.gather(*(work() for _ in range(workers)))

    return lambda workers, number: asyncio.run(live(workers, number))


def _by_size(bench: Bench, peers: Peers, local: Storage, *, is_add: bool) -> list[Curve]:
    curves: dict[str, list[tuple[int, float]]] = {S3: [], OBSTORE: [], DIRECTORY: []}
    for size in SIZES[: bench.choose(9, 11)]:
        rounds = bench.choose(2, 3) if size < 64 * MIB else 2
        there, here = peers.rex.add("a.bin", _pieces(size)), local.add("a.bin", _pieces(size))
        contestants = {
            S3: lambda size=size: _add(peers.rex, size),
            OBSTORE: lambda size=size: _add_by_obstore(peers, size),
            DIRECTORY: lambda size=size: _add(local, size),
        }
        if not is_add:
            contestants = {
                S3: lambda handle=there: _read(peers.rex, handle),
                OBSTORE: lambda handle=there: _read_by_obstore(peers, handle),
                DIRECTORY: lambda handle=here: _read(local, handle),
            }
        for name, act in contestants.items():
            curves[name].append((size, _median(act, rounds)))
            progress(f"growth: {name}, {size} bytes")
        peers.rex.remove(there)
        local.remove(here)
    return [Curve(name, tuple(points)) for name, points in curves.items()]


def _pieces(size: int) -> bytes | Iterator[bytes]:
    # obstore sends whatever it gets in pieces in parts, however little it is.
    return NOISE[:size] if size <= MIB else itertools.repeat(NOISE, size // MIB)


def _add(storage: Storage, size: int) -> Callable[[], object]:
    handle = storage.add("a.bin", _pieces(size))
    return lambda: storage.remove(handle)


def _add_by_obstore(peers: Peers, size: int) -> Callable[[], object]:
    import obstore

    key = peers.key()
    obstore.put(peers.obstore, key, _pieces(size))
    return lambda: obstore.delete(peers.obstore, key)


def _read(storage: Storage, handle: str) -> None:
    with storage.open(handle) as stream:
        while stream.read(MIB):
            pass


def _read_by_obstore(peers: Peers, handle: str) -> None:
    import obstore

    for _ in obstore.get(peers.obstore, handle[1:]).stream(MIB):
        pass


def _median(act: Callable[[], object], rounds: int) -> float:
    """Give the seconds that it takes; what it gives is called afterwards, to clean up."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        clean = act()
        times.append(time.perf_counter() - began)
        if callable(clean):
            clean()
    return statistics.median(times)
