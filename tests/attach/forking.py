"""The program that `test_fork.py` runs: an application, forks, and what works after them.

It takes one argument, JSON: the settings, what the parent does before the forks, how it forks, and
what each child does. It prints a line of JSON for each child, what it came to and its exit status,
and one for the parent. All of them end as a Python program does, without short cuts: an exit that
hangs is a failure too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rex.attach import Reader, Storage, get_storage, open_storage
from rex.core import Error, Rex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIG = bytes(range(256)) * 32 * 1024  # several chunks of a stream


def use(storage: Storage) -> str:
    """Add, open, list and remove."""
    handle = storage.add("forked.txt", b"after the fork")
    with storage.open(handle) as stream:
        assert stream.read() == b"after the fork"
    assert handle in list(storage)
    storage.remove(handle)
    return "works"


async def use_aio(storage: Storage) -> str:
    """Do the same with coroutines."""
    handle = await storage.aio.add("forked.txt", b"after the fork")
    async with await storage.aio.open(handle) as stream:
        assert await stream.read() == b"after the fork"
    await storage.aio.remove(handle)
    return "works"


def _options(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return settings without the prefix of their backend."""
    return {name.removeprefix(prefix): value for name, value in settings.items()}


class Parent:
    """What the parent holds at the fork."""

    def __init__(self, settings: dict[str, Any], before: str) -> None:
        self.settings = settings
        self.rex = Rex("rex.attach", **settings)
        with self.rex:
            self.storage = get_storage()
        self.reader: Reader | None = None
        self.handles: Iterator[str] = iter(())
        if before == "linked":
            self.storage.aio  # noqa: B018 - made, not used
            if "attach_dir" not in settings:
                self.storage.download_link(self.storage.reserve("a.txt"))
        if before == "used":
            asyncio.run(use_aio(self.storage))
            self.reader = self.storage.open(self.storage.add("big.bin", BIG))
            assert self.reader.read(4) == BIG[:4]
            for _ in range(3):
                self.storage.add("listed.txt", b"")
            self.handles = iter(self.storage)
            next(self.handles)

    def outcome(self, do: Callable[[], str]) -> str:
        """Give what came of it: "works", or the error."""
        try:
            with self.rex:
                return do()
        except Error as error:
            return f"{error.kind.value}: {error}"

    def storage_of_the_child(self) -> str:
        """Use the storage that the parent made."""
        return use(get_storage())

    def aio_of_the_child(self) -> str:
        """Use its coroutines."""
        return asyncio.run(use_aio(get_storage()))

    def storage_made_in_the_child(self) -> str:
        """Use a storage that is made after the fork."""
        settings = dict(self.settings)
        if (directory := settings.pop("attach_dir", None)) is not None:
            url, options = f"file://{directory}", settings
        elif (bucket := settings.pop("attach_s3_bucket", None)) is not None:
            url, options = f"s3://{bucket}", _options(settings, "attach_s3_")
        else:
            url = f"azure://{settings.pop('attach_azure_container')}"
            options = _options(settings, "attach_azure_")
        url += f"/{options.pop('prefix')}" if "prefix" in options else ""
        with open_storage(url, **options) as storage:
            return use(storage)

    def application_made_in_the_child(self) -> str:
        """Use an application that is made after the fork; its start-up check runs there."""
        with Rex("rex.attach", **self.settings):
            return use(get_storage())

    def reader_of_the_parent(self) -> str:
        """Read on in an attachment that the parent opened."""
        assert self.reader is not None
        assert self.reader.read() == BIG[4:]
        return "works"

    def listing_of_the_parent(self) -> str:
        """Go on with a listing that the parent began, and begin another."""
        list(self.handles)
        return "works" if list(get_storage()) else "nothing listed"

    def used_by_many_threads(self) -> str:
        """Use it first in many threads at once."""
        with ThreadPoolExecutor(4) as pool:
            outcomes = {*pool.map(use, [get_storage()] * 8)}
        return " ".join(outcomes)

    def grandchild(self) -> str:
        """Use it, and fork again: what works here works there."""
        use(get_storage())
        assert 0 == fork("", lambda: (use(get_storage()), None)[1])
        return use(get_storage())

    def dropped_by_the_child(self) -> str:
        """Let go of what the parent opened."""
        self.reader = None
        self.handles = iter(())
        self.storage.close()
        gc.collect()
        return "works"


def fork(how: str, child: Callable[[], None]) -> int | None:
    """Run a function in a forked process; return its exit status."""
    if how == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        return process.exitcode
    if how == "thread":
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(fork, "", child).result()
    pid = os.fork()
    if pid == 0:
        child()
        if how == "os.fork":
            sys.exit()
        os._exit(0)  # in another thread, SystemExit ends only that
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def others_at_work(storage: Storage) -> Iterator[None]:
    """Use the storage in other threads meanwhile."""
    is_over, begun = threading.Event(), threading.Barrier(3)

    def work() -> None:
        begun.wait()
        while not is_over.is_set():
            use(storage)

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work) for _ in range(2)]
        begun.wait()
        try:
            yield
        finally:
            is_over.set()
        for each in working:
            each.result()


def main(task: dict[str, Any]) -> None:
    """Do as the task says."""
    parent = Parent(task["settings"], task["before"])
    with others_at_work(parent.storage) if task["how"] == "thread" else nullcontext():
        fork_each(parent, task)
    after = parent.outcome(parent.storage_of_the_child)
    if after == "works" and parent.reader is not None:
        after = parent.outcome(parent.reader_of_the_parent)
    print(json.dumps(after), flush=True)  # noqa: T201 - the answer


def fork_each(parent: Parent, task: dict[str, Any]) -> None:
    """Run each child."""
    for name in task["children"]:
        do: Callable[[], str] = getattr(parent, name)

        def child(do: Callable[[], str] = do) -> None:
            print(json.dumps(parent.outcome(do)), flush=True)  # noqa: T201 - the answer

        print(json.dumps(fork(task["how"], child)), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
