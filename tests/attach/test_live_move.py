"""A running application moves to a bucket and back: nobody notices, and nothing is lost.

Two processes of the service are used at once by writers, readers and removers, and are restarted
one after the other at each step, as behind a proxy that sends no more requests to the one that
leaves. `REX_MOVE_SECONDS` says for how long there is work between two steps (1; 20 make it some two
minutes).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from attach.fake_gcs import FakeGCS
from attach.v4_cases import KEY_FILE
from programs import PATIENCE, REX, run
from rex.attach import open_storage
from served import HOST, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS
    from served import Served

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("REX_MOVE_SECONDS", "1"))
STORED = 300
"""How many attachments there are when it begins."""
SIZES = (1, 100, 4096, 4096, 65_536, 1_000_000)
LARGE = 9_000_000
"""More than S3 is sent in one request; one of a hundred."""


class Proxy:
    """Who sends requests to the servers, but for one that is to leave."""

    def __init__(self, servers: list[Served]) -> None:
        self.servers = servers
        self._changed = threading.Condition()
        self._busy = dict.fromkeys(servers, 0)
        self._open = set(servers)

    @contextmanager
    def server(self) -> Iterator[Served]:
        """Give one of the servers for a request."""
        with self._changed:
            server = random.choice([*self._open])  # noqa: S311 - no secret
            self._busy[server] += 1
        try:
            yield server
        finally:
            with self._changed:
                self._busy[server] -= 1
                self._changed.notify_all()

    def restart(self, settings: dict[str, object]) -> None:
        """Restart all servers with other settings, one after the other."""
        for server in self.servers:
            with self._changed:
                self._open.discard(server)
                assert self._changed.wait_for(lambda: not self._busy[server], PATIENCE)  # noqa: B023 - at once
            server.stop()
            server.set(settings)
            server.start()
            server.wait()
            with self._changed:
                self._open.add(server)


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    content: bytes


def ask(server: Served, method: str, path: str, data: bytes | None = None) -> Answer:
    """Ask a server, on a connection of its own."""
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body=data)
        response = connection.getresponse()
        return Answer(response.status, response.read())


class Load:
    """Users: what they were told is stored, what they removed, and what went wrong."""

    def __init__(self, proxy: Proxy, stored: dict[str, str]) -> None:
        self.stored = stored
        self.removed: set[str] = set()
        self.failures: list[str] = []
        self.requests = 0
        self._proxy = proxy
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Use the service until the end of the block."""
        kinds = [self._write] * 3 + [self._read] * 4 + [self._remove] * 2
        threads = [threading.Thread(target=self._repeat, args=(act,)) for act in kinds]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self._is_over.is_set():
            try:
                act()
            except Exception as failure:  # noqa: BLE001 - it is what we look for
                self.failures.append(repr(failure))

    def _asked(self, method: str, path: str, data: bytes | None = None) -> Answer:
        with self._proxy.server() as server:
            answer = ask(server, method, path, data)
        with self._lock:
            self.requests += 1
        return answer

    def _expect(self, answer: Answer, status: int) -> None:
        if answer.status != status:
            self.failures.append(f"{answer.status}, not {status}: {answer.content[:200]!r}")

    def _write(self) -> None:
        chance = random.random()  # noqa: S311 - no secret
        content = random.randbytes(LARGE if chance < 0.01 else random.choice(SIZES))  # noqa: S311
        answer = self._asked("POST", "/attach/?name=a.bin", content)
        self._expect(answer, 201)
        handle = json.loads(answer.content)["attachments"][0]["handle"]
        with self._lock:
            self.stored[handle] = hashlib.sha256(content).hexdigest()

    def _read(self) -> None:
        with self._lock:
            handle = random.choice([*self.stored])  # noqa: S311 - no secret
            digest = self.stored[handle]
        answer = self._asked("GET", f"/attach{handle}")
        with self._lock:
            if handle not in self.stored:  # removed since
                return
        self._expect(answer, 200)
        if hashlib.sha256(answer.content).hexdigest() != digest:
            self.failures.append(f"other bytes: {handle}")

    def _remove(self) -> None:
        with self._lock:
            is_enough = len(self.stored) > STORED // 2
            handle = random.choice([*self.stored]) if is_enough else None  # noqa: S311 - no secret
            self.stored.pop(handle or "", None)
        if handle is None:
            self._write()
            return
        self._expect(self._asked("DELETE", f"/attach{handle}"), 204)
        with self._lock:
            self.removed.add(handle)


def digests(storage: Storage) -> dict[str, str]:
    """Read all that is in a storage."""
    found = {}
    for handle in storage:
        with storage.open(handle) as stream:
            found[handle] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


class Place(NamedTuple):
    """A storage, by its URL and by its settings."""

    url: str
    settings: dict[str, object]


def bucket_of(server: SeaweedFS, prefix: str) -> Place:
    """Give a folder of a bucket; the environment has the keys."""
    settings = {name: value for name, value in server.settings().items() if "key" not in name}
    url = f"s3://{server.bucket}/{prefix}?endpoint={server.endpoint}"
    return Place(url, {**settings, "attach_s3_prefix": prefix})


def test_a_running_application_moves_to_a_bucket_and_back(
    tmp_path: Path,
    seaweedfs: SeaweedFS,
    report_figure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the documented steps, under load: no request fails, nothing is lost or comes back."""
    directory = Place(f"file://{tmp_path}/files", {"attach_dir": f"{tmp_path}/files"})
    bucket = bucket_of(seaweedfs, f"move-{tmp_path.name}")
    keys = keys_of(seaweedfs)
    report_figure(f"directory and bucket: {move(tmp_path, directory, bucket, keys, monkeypatch)}")


@pytest.mark.again
def test_a_running_application_moves_from_s3_to_azure_and_back(
    tmp_path: Path,
    seaweedfs: SeaweedFS,
    azurite: Azurite,
    report_figure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As to a bucket."""
    prefix = f"move-{tmp_path.name}"
    bucket = bucket_of(seaweedfs, prefix)
    settings = {name: value for name, value in azurite.settings().items() if "key" not in name}
    options = f"account={azurite.account}&endpoint={azurite.endpoint}"
    url = f"azure://{azurite.container}/{prefix}?{options}"
    container = Place(url, {**settings, "attach_azure_prefix": prefix})
    keys = {**keys_of(seaweedfs), "AZURE_STORAGE_KEY": azurite.key}
    report_figure(f"S3 and Azure: {move(tmp_path, bucket, container, keys, monkeypatch)}")


@pytest.mark.again
def test_a_running_application_moves_to_google(
    tmp_path: Path, report_figure: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As to a bucket, on a fake of Google's server; one way, since that takes half the time."""
    directory = Place(f"file://{tmp_path}/files", {"attach_dir": f"{tmp_path}/files"})
    with FakeGCS() as fake:
        options = {"endpoint": fake.endpoint, "key": str(KEY_FILE)}
        settings: dict[str, object] = {
            "attach_gcs_bucket": fake.bucket,
            "attach_gcs_prefix": "move",
            **{f"attach_gcs_{name}": value for name, value in options.items()},
        }
        query = "&".join(f"{name}={value}" for name, value in options.items())
        bucket = Place(f"gs://{fake.bucket}/move?{query}", settings)
        told = move(tmp_path, directory, bucket, {}, monkeypatch, back=False)
    report_figure(f"directory and Google: {told}")


def keys_of(server: SeaweedFS) -> dict[str, str]:
    """Give the environment of the AWS chain."""
    return {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}


def move(
    tmp_path: Path,
    first: Place,
    second: Place,
    keys: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    back: bool = True,
) -> str:
    """Move from one place to another and perhaps back, under load; give the figures."""
    for name, value in keys.items():
        monkeypatch.setenv(name, value)

    def copied(old: Place, new: Place) -> None:
        done = run(REX, "attach", "copy", old.url, new.url, settings=keys)
        assert (0, "") == (done.returncode, done.stderr), done.stdout

    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(first.url))
        storage.check()
        stored = {}
        for _ in range(STORED):
            content = random.randbytes(random.choice(SIZES))  # noqa: S311 - no secret
            handle = storage.add("a.bin", content)
            stored[handle] = hashlib.sha256(content).hexdigest()
        servers = [
            stack.enter_context(rex_serving(tmp_path, **first.settings, **keys)) for _ in range(2)
        ]
        proxy = Proxy(servers)
        load = Load(proxy, stored)
        began = time.monotonic()
        with load.running():
            for old, new in ((first, second), (second, first))[: 1 + back]:
                for settings in (
                    {**old.settings, "attach_fallback": new.url},
                    {**new.settings, "attach_fallback": old.url},
                ):
                    time.sleep(SECONDS)
                    proxy.restart({**settings, **keys})
                time.sleep(SECONDS)
                copied(old, new)
                time.sleep(SECONDS)
                proxy.restart({**new.settings, **keys})
                if new is second and back:
                    # Or what is removed from now on would come back with it.
                    for handle in storage:
                        storage.remove(handle)
        spent = time.monotonic() - began
        assert [] == load.failures
        assert load.removed
        with open_storage((first if back else second).url) as last:
            assert load.stored == digests(last)
        gone = {ask(servers[0], "GET", f"/attach{handle}").status for handle in load.removed}
        assert {404} == gone
    return (
        f"moved{' and back' * back} under load: {load.requests:,} requests in {spent:.0f} s, "
        f"0 failed; {len(load.stored):,} kept, {len(load.removed):,} removed, "
        "0 lost, 0 came back"
    )
