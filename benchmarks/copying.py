"""Copying everything from a directory to S3 and back, beside `rclone copy` and `s5cmd cp`.

Many small files (20,000 of 4 KiB; the quick run, 1,000) and some large ones (40 of 20 MiB; 4). All
are commands, with the same files and a new place each time; rclone gets as many workers as ours,
s5cmd has 256. Ours checks each SHA-256 and lists both sides. What it has written to a directory is
on the disk, while the others leave that to the system: rclone has another turn with a sync. The
quick run compares with rclone alone.

What no copy in Python can do better is a contestant, too: as many threads that only put (or get,
and write) the same bytes with obstore, in a process that runs already.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from contestants import obstore_on
from measure import OURS, Figure, compare, progress

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench import Bench

KIB = 1024
MIB = 1024 * KIB
WORKERS = "32"
BARE = "obstore alone"
SYNCED = "rclone and sync"


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    small, large = bench.choose((1000, 4), (20_000, 40))
    return [
        *_both_ways(bench, small, 4 * KIB, 1.5),
        *_both_ways(bench, large, 20 * MIB, 1.0),
    ]


def _both_ways(bench: Bench, number: int, size: int, goal: float) -> list[Figure]:
    what = f"{number:,} of {size // KIB:,} KiB"
    source = bench.directory / f"source-{size}"
    progress(f"making {what}")
    with open_storage(f"file://{source}") as storage:
        storage.check()
        content = os.urandom(size)
        for each in range(number):
            storage.add(f"{each}.bin", content[each % 97 :] + content[: each % 97])
    contestants = _Contestants(bench, number)
    figures = []
    for way, make in (("to", contestants.to_s3), ("from", contestants.from_s3)):
        copies = make(source)
        chosen = copies if bench.is_full else {name: copies[name] for name in (OURS, "rclone")}
        figures += compare(
            f"copy {what} {way} S3",
            chosen,
            {name: goal if name == "rclone" else None for name in chosen if name != OURS},
            rounds=bench.choose(2, 3),
            sense="at least",
            prepare=os.sync,
            warm_up=False,
        )
    return figures


class _Contestants:
    """Who copies."""

    places = itertools.count()

    def __init__(self, bench: Bench, number: int) -> None:
        self._bench = bench
        self._number = number
        self._server = bench.server
        self._bin = Path(sys.executable).parent
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(bench.directory),
            "RCLONE_CONFIG": "/dev/null",
            "AWS_ACCESS_KEY_ID": bench.server.access_key,
            "AWS_SECRET_ACCESS_KEY": bench.server.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def to_s3(self, source: Path) -> dict[str, Callable[[], object]]:
        """Copy a directory to a new place on the server."""
        return {
            OURS: lambda: self._ours(f"file://{source}", self._named(self._place())),
            "rclone": lambda: self._rclone(str(source), self._remote(self._place())),
            "s5cmd": lambda: self._s5cmd(
                f"{source}/", f"s3://{self._server.bucket}/{self._place()}"
            ),
            BARE: lambda: self._put(source, self._place()),
        }

    def from_s3(self, source: Path) -> dict[str, Callable[[], object]]:
        """Copy what is on the server to a new directory."""
        place = self._place()
        self._ours(f"file://{source}", self._named(place))
        remote = self._remote(place)

        def into(copy: Callable[[str], object]) -> Callable[[], object]:
            def act() -> None:
                # It stays, since ext4 is slow to make files where others have just been removed.
                target = self._bench.directory / self._place()
                open_storage(f"file://{target}").init()  # a copy goes to a storage that exists
                copy(str(target))
                copied = sum(path.is_file() for path in target.glob("*/*/*/*/*"))
                assert self._number == copied

            return act

        def synced(target: str) -> None:
            self._rclone(remote, target)
            os.sync()

        return {
            OURS: into(lambda target: self._ours(self._named(place), f"file://{target}")),
            "rclone": into(lambda target: self._rclone(remote, target)),
            SYNCED: into(synced),
            "s5cmd": into(
                lambda target: self._s5cmd(f"s3://{self._server.bucket}/{place}/*", target)
            ),
            BARE: into(lambda target: self._get(place, target)),
        }

    def _place(self) -> str:
        return f"copies-{next(self.places)}"

    def _named(self, place: str) -> str:
        """Name a place as an operator would, in rex.toml, with the keys."""
        server = self._server
        lines = {
            "url": f"s3://{server.bucket}/{place}?endpoint={server.endpoint}",
            "access_key": server.access_key,
            "secret_key": server.secret_key,
        }
        table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        (self._bench.directory / "rex.toml").write_text(f"[storages.server]\n{table}")
        return "server"

    def _remote(self, place: str) -> str:
        options = (
            f'provider=Other,env_auth=true,no_check_bucket=true,endpoint="{self._server.endpoint}"'
        )
        return f":s3,{options}:{self._server.bucket}/{place}"

    def _ours(self, source: str, dest: str) -> None:
        self._run("rex", "attach", "copy", "--workers", WORKERS, source, dest)

    def _rclone(self, source: str, dest: str) -> None:
        options = ("--transfers", WORKERS, "--checkers", WORKERS)
        self._run("rclone", "copy", *options, source, dest)

    def _s5cmd(self, source: str, dest: str) -> None:
        endpoint = ("--endpoint-url", self._server.endpoint)
        self._run("s5cmd", *endpoint, "--log", "error", "cp", source, f"{dest}/")

    def _put(self, source: Path, place: str) -> None:
        store = obstore_on(self._server)

        def put(path: Path) -> None:
            key = f"{place}/{path.relative_to(source).as_posix()}"
            obstore.put(store, key, path.read_bytes(), use_multipart=False)

        self._each(put, source.glob("*/*/*/*/*"))

    def _get(self, place: str, target: str) -> None:
        store = obstore_on(self._server)

        def get(key: str) -> None:
            path = Path(target, key.removeprefix(f"{place}/"))
            path.parent.mkdir(parents=True)
            path.write_bytes(obstore.get(store, key).bytes())

        pages = obstore.list(store, place)
        self._each(get, (meta["path"] for page in pages for meta in page))

    def _each(self, act: Callable[[Any], object], items: Iterable[object]) -> None:
        """Act on bunches, so that the threads themselves cost little."""
        with concurrent.futures.ThreadPoolExecutor(int(WORKERS)) as pool:
            rest = iter(items)
            bunches = iter(lambda: [*itertools.islice(rest, self._bunch)], [])
            for _ in pool.map(lambda bunch: [act(item) for item in bunch], bunches):
                pass

    @property
    def _bunch(self) -> int:
        return max(min(self._number // int(WORKERS), 8), 1)

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / command, *arguments],
            cwd=self._bench.directory,
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
