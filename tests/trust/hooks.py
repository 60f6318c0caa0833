"""The service is killed at random moments around the functions of an application.

Clients at every door repeat what was not answered, as real ones do. Afterwards each upload that a
client saw acknowledged was told to the application and is there; what was told is there; and what
is there and was not told is an orphan, which a sweep finds.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from attach.web.doors import (
    Sender,
    StoppedError,
    body,
    claimed_after,
    companion,
    form,
    params,
    post_link,
    put_link,
    sign_link,
    sign_parts,
    sign_relayed,
    tus,
    tus_at_once,
    tus_joined,
)
from programs import PATIENCE
from rex.attach.maintenance import sweep
from rex.attach_demo.seaweedfs import SeaweedFS
from served import rex_serving
from trust import recording
from trust.client import LATE
from trust.places import Directory, Place, Prefix
from trust.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from attach.web.doors import Door
    from rex.attach import Storage
    from served import Served

__all__ = ["SETTINGS", "run"]

SETTINGS: dict[str, object] = {
    f"attach_on_{name}": f"trust.recording:{name}" for name in ("complete", "stored")
}
"""The functions of the application; `trust.broken` adds what breaks the service."""

COMMON: dict[str, Door] = {
    "form": form,
    "body": body,
    "tus": tus,
    "tus at once": tus_at_once,
    "tus joined": tus_joined,
    "sign relay": sign_relayed,
}
ON_DIRECTORY = COMMON | {"PUT link": put_link, "POST link": post_link}
ON_SERVER = COMMON | {
    "companion": companion,
    "sign in parts": sign_parts,
    "claim of a POST link": claimed_after(post_link),
    "claim of a PUT link": claimed_after(put_link),
    "claim of params": claimed_after(params),
    "claim of a link of sign": claimed_after(sign_link),
}
MAX_LIFE = {"a directory": 1.0, "a server": 4.0}
"""Seconds after which the service is killed, at the latest: it has to load its S3 clients."""
MAX_SIZE = 40_000
PAUSE_SECONDS = 0.02
AGAIN = (423, 500, 503)
"""The statuses after which clients try again."""
CONFLICT = 409
NOT_FOUND = 404


class Page:
    """A client of the service that repeats a request until it is answered."""

    def __init__(self, served: Served) -> None:
        self._url = f"{served.url}/attach"
        self._origin = served.url
        self._client = httpx.Client(timeout=PATIENCE)
        self.is_asking = False

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a request; repeat it as a real client does."""
        url = f"{self._origin}{path}" if path.startswith("/attach/") else f"{self._url}{path}"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            response = self._try(method, url, options)
            if response is not None:
                return response
            time.sleep(PAUSE_SECONDS)
            if method == "PATCH":
                response = self._ask_offset(url, options)
                if response is not None:
                    return response
        raise TimeoutError(method, path)

    def _try(self, method: str, url: str, options: dict[str, Any]) -> httpx.Response | None:
        self.is_asking = True
        try:
            response = self._client.request(method, url, **options)
        except httpx.TransportError:
            return None
        finally:
            self.is_asking = False
        # A server that was killed did not tell the offset.
        again = (*AGAIN, CONFLICT) if method == "PATCH" else AGAIN
        return None if response.status_code in again else response

    def _ask_offset(self, url: str, options: dict[str, Any]) -> httpx.Response | None:
        """Ask how far an upload is, and send the rest from then on; return an answer that ends it.

        tus clients take the whole size for success.
        """
        head = self._try("HEAD", url, {"headers": {"Tus-Resumable": "1.0.0"}})
        if head is None or not head.is_success:
            return head
        headers = options["headers"]
        moved = int(head.headers["Upload-Offset"]) - int(headers["Upload-Offset"])
        options["content"] = options["content"][moved:]
        options["headers"] = {**headers, "Upload-Offset": head.headers["Upload-Offset"]}
        return head if head.headers["Upload-Offset"] == head.headers["Upload-Length"] else None


class RemoteSender(Sender):
    """A client that uploads one file to a real server."""

    def __init__(self, page: Page, served: Served, name: str, content: bytes) -> None:
        self.page = page  # type: ignore[assignment]  # it has the same method
        self.here = f"{served.url}/attach"
        self.name, self.content, self.receipt = name, content, None


class Client(threading.Thread):
    """Uploads at one door, again and again; a failure of its own is in `failure`."""

    def __init__(self, door: str, upload: Door, served: Served) -> None:
        super().__init__(name=door, daemon=True)
        self._upload, self._served = upload, served
        self.page = Page(served)
        self.acknowledged: dict[str, str] = {}
        """The SHA-256 of the content of each handle that was acknowledged."""
        self.sent: dict[str, str] = {}
        """The SHA-256 of all content that was sent, by file name."""
        self.kills = 0
        self.ends = threading.Event()
        self.failures: list[str] = []

    def run(self) -> None:
        """Upload until the end, and until an upload was acknowledged or has failed."""
        number = 0
        while not (self.ends.is_set() and (self.acknowledged or self.failures)):
            number += 1
            content = random.randbytes(random.randint(1, MAX_SIZE))
            name = f"{self.name.replace(' ', '-')}.{number}"
            digest = self.sent[name] = hashlib.sha256(content).hexdigest()
            try:
                handle = self._upload(RemoteSender(self.page, self._served, name, content))
            except StoppedError as stop:
                # A join that was not answered has removed its parts: the client begins again.
                if (self._upload, stop.status) != (tus_joined, NOT_FOUND):
                    self.failures.append(f"{name}: {stop}")
            except Exception as failure:  # noqa: BLE001 - it is reported
                self.failures.append(f"{name}: {failure!r}")
            else:
                self.acknowledged[handle] = digest


def run(times: int, tell: Callable[[Report], object]) -> Report:
    """Kill the service so often on a directory and on a server, with a client at each door."""
    report = Report()
    with tempfile.TemporaryDirectory() as name, SeaweedFS() as server:
        directory = Path(name)
        places: list[tuple[str, Place, dict[str, Door], dict[str, object]]] = [
            (
                "a directory",
                Directory(directory / "attachments").make(),
                ON_DIRECTORY,
                {"attach_dir": directory / "attachments"},
            ),
            (
                "a server",
                Prefix(server, "hooks"),
                ON_SERVER,
                {**server.settings(), "attach_s3_prefix": "hooks"},
            ),
        ]
        for where, place, doors, settings in places:
            log = directory / f"{where[2:]}.log"
            log.touch()
            settings[recording.LOG] = log
            clients = _live(times, MAX_LIFE[where], directory, doors, settings)
            told = Counter(recording.read(log))
            with place.open() as storage:
                _judge(storage, clients, told, where, report)
            tell(report)
    return report


def _live(
    times: int,
    max_life: float,
    directory: Path,
    doors: dict[str, Door],
    settings: dict[str, object],
) -> list[Client]:
    """Kill the service again and again; return the clients, which have ended."""
    address = "http://127.0.0.1:{port}/attach"
    with rex_serving(directory, attach_url=address, **SETTINGS, **settings) as served:
        clients = [Client(name, door, served) for name, door in doors.items()]
        for client in clients:
            client.start()
        for _ in range(times):
            time.sleep(random.uniform(0, max_life))
            for client in clients:
                client.kills += client.page.is_asking
            served.kill()
            served.start()
            served.wait()
        for client in clients:
            client.ends.set()
        for client in clients:
            client.join(PATIENCE)
            if client.is_alive():
                client.failures.append("hangs")
    return clients


def _judge(
    storage: Storage, clients: list[Client], told: Counter[str], where: str, report: Report
) -> None:
    there = {handle: storage.info(handle).size for handle in storage}
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    found = sweep(storage, grace=60, referenced=told, now=now)
    swept = {each.handle for each in found}
    print(f"{where}: kills, acknowledged, told, told again, orphans, violations", file=sys.stderr)
    for client in clients:
        line = report.line(f"the service killed, {client.name}, on {where}")
        line.times, line.operations = client.kills, len(client.acknowledged)
        for failure in client.failures:
            line.fact(False, failure)
        own = {handle for handle in {*there, *told} if handle.rpartition("/")[2] in client.sent}
        for handle, digest in client.acknowledged.items():
            line.fact(handle in told, f"{handle} was acknowledged, and not told")
            line.fact(_digest(storage, handle) == digest, f"{handle} was acknowledged, and is not")
        recorded = own & told.keys()
        for handle in recorded:
            expected = client.sent[handle.rpartition("/")[2]]
            line.fact(_digest(storage, handle) == expected, f"{handle} was told, and is not there")
        orphans = own & there.keys() - told.keys()
        for handle in orphans:
            line.fact(handle in swept, f"{handle} was not told, and no sweep finds it")
        again = sum(told[handle] - 1 for handle in recorded)
        counts = line.times, line.operations, len(recorded), again, len(orphans)
        print(f"{client.name:24}", *counts, len(line.violations), file=sys.stderr)
    line = report.line(f"a sweep afterwards, on {where}")
    known = {name for client in clients for name in client.sent}
    for handle in there:
        line.fact(handle.rpartition("/")[2] in known, f"{handle} was never sent")
    for each in swept & told.keys():
        line.fact(False, f"{each} was told, and would be swept")
    for removed in sweep(storage, delete=True, referenced=told, now=now + LATE):
        line.fact(removed.is_fine, f"a sweep could not remove {removed}")
    line.fact({*storage} == told.keys(), "a sweep leaves what was not told, or removed what was")
    line.fact(not [*storage.uploads.list()], "a sweep leaves uploads")
    line.times = 1


def _digest(storage: Storage, handle: str) -> str:
    """Return the SHA-256 of an attachment, or nothing if it is not there."""
    try:
        with storage.open(handle) as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except Exception as failure:  # noqa: BLE001 - it is a violation
        return repr(failure)
