"""Part 6: two writers at once on one handle; exactly one succeeds, unless both store the same."""

from __future__ import annotations

import http.client
import random
import tempfile
from concurrent import futures
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rex.attach_demo.seaweedfs import SeaweedFS
from trust.client import Client
from trust.judge import judge
from trust.ledger import Content, Ledger
from trust.places import Directory, Place, Prefix
from trust.report import Line, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from trust.report import Tell

    Writer = Callable[[Client, str], bool]
    """Writes under a handle; returns whether that was acknowledged."""
    Pair = tuple[Callable[[Client], tuple[str, Writer, Writer]], bool]
    """Makes a handle and two writers; and whether both may succeed."""

__all__ = ["run"]

MIB = 1024 * 1024
SMALL = 5000
LARGE = 8 * MIB + 5000
"""More than S3 is sent in one request."""
PART = 5 * MIB


def run(times: int, tell: Tell) -> Report:
    """Start each pair of writers so often, on a directory and on a server."""
    report = Report()
    with tempfile.TemporaryDirectory() as name, SeaweedFS() as server:
        for number in range(times):
            for what, (make, may_both) in {**PAIRS, **PAIRS_OF_PARTS}.items():
                places: dict[str, Place] = {"on a server": Prefix(server, f"{what}/{number}")}
                if what in PAIRS:
                    directory = Path(name, f"{what}-{number}")
                    places["on a directory"] = Directory(directory).make()
                for where, place in places.items():
                    line = report.line(f"two writers {where}")
                    line.found(_meet(place, make, may_both=may_both), what)
                    tell(report)
    return report


def _meet(
    place: Place, make: Callable[[Client], tuple[str, Writer, Writer]], *, may_both: bool
) -> Line:
    ledger = Ledger()
    line = Line("", times=1)
    start = Barrier(2)
    with place.open() as one, place.open() as other:
        handle, *writers = make(Client(one, ledger.record, "before"))
        clients = [Client(one, ledger.record, "one"), Client(other, ledger.record, "other")]
        for client in clients:
            client.storage.uploads  # noqa: B018 - made before they meet

        def write(client: Client, writer: Writer) -> bool:
            start.wait()
            return writer(client, handle)

        with futures.ThreadPoolExecutor(2) as pool:
            succeeded = [*pool.map(write, clients, writers)]
    reasons = [client.reason for client in clients]
    line.fact(any(succeeded), f"neither writer succeeded: {reasons}")
    line.fact(may_both == all(succeeded), f"{sum(succeeded)} writers succeeded: {reasons}")
    with place.open() as storage:
        judge(ledger, storage, line, place.garbage)
    return line


def _content(size: int) -> Content:
    return Content.of(f"{random.random()}", size)


def _put(content: Content) -> Writer:
    return lambda client, handle: client.put(handle, content)


def _different(size: int, other_size: int) -> Pair:
    def make(client: Client) -> tuple[str, Writer, Writer]:
        handle = client.storage.reserve(client.new_name())
        return handle, _put(_content(size)), _put(_content(other_size))

    return make, False


def _same(size: int) -> Pair:
    def make(client: Client) -> tuple[str, Writer, Writer]:
        put = _put(_content(size))
        return client.storage.reserve(client.new_name()), put, put

    return make, True


def _beside_upload(size: int, upload_size: int) -> Pair:
    """Put while an upload under the same handle is completed."""

    def make(client: Client) -> tuple[str, Writer, Writer]:
        content = _content(upload_size)
        handle = client.create(content)
        assert handle is not None
        client.go_on(handle, content, upload_size // 2)

        def finish(client: Client, handle: str) -> bool:
            return client.append(handle, content, upload_size // 2, upload_size) is not None

        return handle, _put(_content(size)), finish

    return make, False


def _completions(size: int, other_size: int) -> Pair:
    """Complete two multipart uploads of one handle."""

    def make(client: Client) -> tuple[str, Writer, Writer]:
        handle = client.storage.reserve(client.new_name())
        one, other = (_sent(client, handle, _content(each)) for each in (size, other_size))
        return handle, one, other

    return make, False


def _sent(client: Client, handle: str, content: Content) -> Writer:
    """Send the parts of an upload; return what completes it."""
    multipart = client.storage.multipart
    upload_id = multipart.create(handle, content.media_type)
    data = content.read()
    parts = []
    for number, start in enumerate(range(0, len(data), PART), 1):
        url = urlsplit(multipart.link(handle, upload_id, number).url)
        connection = http.client.HTTPConnection(url.netloc)
        connection.request("PUT", f"{url.path}?{url.query}", data[start : start + PART])
        parts.append((number, connection.getresponse().headers["ETag"]))
        connection.close()
    return lambda client, handle: client.complete(handle, content, upload_id, parts)


PAIRS: dict[str, Pair] = {
    "small puts": _different(SMALL, SMALL),
    "large puts": _different(LARGE, LARGE),
    "a small and a large put": _different(SMALL, LARGE),
    "the same small put": _same(SMALL),
    "the same large put": _same(LARGE),
    "a small put and an upload": _beside_upload(SMALL, SMALL),
    "a large put and an upload": _beside_upload(LARGE, LARGE),
}
PAIRS_OF_PARTS: dict[str, Pair] = {
    "two completions": _completions(SMALL, 2 * SMALL),
    "two completions of one size": _completions(PART + SMALL, PART + SMALL),
}
