"""`rex serve` over each kind of storage, asked the same by a client that sends exact bytes."""

from __future__ import annotations

import contextlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import pytest

from attach.harnesses import s3_client
from attach.web.hostile.raw import CANARIES, KEY, Answer, ask, request
from rex.attach.backends.local.tree import MARKER
from served import PORT, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach_demo.seaweedfs import SeaweedFS

PROGRAM = Path(__file__).with_name("serving.py")

KEPT = b"0123456789"
"""The content of the attachment that each service has all the time."""

MAX_SIZE = 1_000_000
URL = "http://service.example/attach"
STALL_SECONDS = 15
"""More than a busy machine takes to pass on what a client has sent."""

GIVEN = {
    "attach_access": "bearer",
    "attach_access_keys": KEY,
    "attach_secret": CANARIES["attach_secret"],
    "attach_max_size": str(MAX_SIZE),
    "attach_url": URL,
    "attach_stall_timeout": str(STALL_SECONDS),
}
"""The settings of each service."""

_CPU_SECONDS = 2.0
"""The CPU time that a server may use for an answer: more would hang its client, or others.

On a busy machine, the most expensive answer took 0.3 seconds.
"""

_ID = re.compile(
    rb"(?:2[0-9]{3}(?:/|%2F)[0-9]{2}(?:/|%2F)[0-9]{2}(?:/|%2F))?"
    rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""What differs between two handles, with the day, which may end between two requests."""
_KEY = re.compile(r"(attachments/)?2[0-9]{3}/[0-9]{2}/[0-9]{2}/[0-9a-f-]{36}/[^/]+")
_MOVING = ("connection", "date", "etag", "last-modified", "upload-expires")


class Service(NamedTuple):
    """A running `rex serve`; its attachments are below its directory, where they are files."""

    kind: str
    served: Served
    secrets: tuple[str, ...]
    """What it knows and may not tell."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.served.port

    @property
    def log(self) -> Path:
        """All that it has said."""
        return self.served.log

    def handles(self) -> list[str]:
        """List what it keeps."""
        answer = ask(self.port, request("GET", "/attach/?limit=1000"))
        assert answer
        return [one["handle"] for one in answer.json["attachments"]]


class Everywhere:
    """The services over all kinds of storage; each is asked the same and answers the same."""

    def __init__(self, root: Path, services: list[Service]) -> None:
        self._root = root
        self.services = services
        self._kept = {one.port: _store_kept(one) for one in services}

    def kept(self, service: Service) -> str:
        """Give the handle of the attachment that a service has all the time."""
        return self._kept[service.port]

    def outside(self) -> dict[str, bytes | None]:
        """Read all that is around the attachments, but for the logs."""
        storage = self._root / "directory/attachments"
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for path in self._root.rglob("*")
            if path.suffix != ".log" and storage not in path.parents
        }

    def ask(self, data: bytes, *, head: bool = False) -> Answer | None:
        """Send bytes; ``{kept}`` in them is the handle of what is kept."""
        answers = self.each(data, head=head)
        first, *others = answers
        for answer in answers:
            assert answer is None or answer.status < 500, answer
        for answer in others:
            assert _steady(first) == _steady(answer)
        return first

    def each(self, data: bytes, *, head: bool = False) -> list[Answer | None]:
        """Send bytes to all at once; give the answers, which may differ."""
        with ThreadPoolExecutor(len(self.services)) as pool:
            return [*pool.map(lambda one: self._ask_one(one, data, head=head), self.services)]

    def answer(self, data: bytes, *, head: bool = False) -> Answer:
        """Send bytes that are answered."""
        answer = self.ask(data, head=head)
        assert answer
        return answer

    def status(self, data: bytes, *, head: bool = False) -> int | None:
        """Send bytes; give the status of the answer, or None for a close without one."""
        answer = self.ask(data, head=head)
        return None if answer is None else answer.status

    def stored(self, data: bytes) -> list[str]:
        """Send bytes that store something; give the names, and remove it all."""
        answer = self.answer(data)
        assert answer.status == 201, answer
        for service in self.services:
            self.clean(service)
        return [one["name"] for one in answer.json["attachments"]]

    def clean(self, service: Service) -> list[str]:
        """Remove from a service all but what is kept there; give the handles."""
        handles = service.handles()
        assert self.kept(service) in handles
        handles.remove(self.kept(service))
        for handle in handles:
            removed = self.one(service, request("DELETE", f"/attach{quote(handle)}"))
            # What its client gave up may have been removed meanwhile.
            assert removed.status in (204, 404), handle
        return handles

    def one(self, service: Service, data: bytes, *, head: bool = False) -> Answer:
        """Send bytes, which are answered, to one of the services."""
        answer = self._ask_one(service, data, head=head)
        assert answer
        assert answer.status < 500, answer
        return answer

    def _ask_one(self, service: Service, data: bytes, *, head: bool) -> Answer | None:
        before = service.served.cpu_seconds()
        answer = ask(service.port, data.replace(b"{kept}", self.kept(service).encode()), head=head)
        assert service.served.cpu_seconds() - before < _CPU_SECONDS
        return answer


def _store_kept(service: Service) -> str:
    answer = ask(service.port, request("POST", "/attach/?name=kept.txt", body=KEPT))
    assert answer
    handle: str = answer.json["attachments"][0]["handle"]
    return handle


def _steady(answer: Answer | None) -> object:
    """Give what an answer is wherever and whenever it is given."""
    if answer is None:
        return None
    headers = {
        name: _ID.sub(b"ID", value.encode())
        for name, value in answer.headers.items()
        if name not in _MOVING
    }
    length = headers.get("content-length") if answer.status != 206 else None
    body = _ID.sub(b"ID", answer.body)
    boundary = re.search(r"boundary=([0-9a-f]+)", answer.headers.get("content-type", ""))
    if boundary:
        body = body.replace(boundary[1].encode(), b"BOUNDARY")
        headers["content-type"] = headers["content-type"].partition(b";")[0]
    return answer.status, headers, length, body


@pytest.fixture(scope="session")
def everywhere(
    tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS
) -> Iterator[Everywhere]:
    """Run a service over each kind of storage."""
    with contextlib.ExitStack() as stack:
        root = tmp_path_factory.mktemp("hostile")
        seaweedfs.create_bucket("hostile")
        s3 = {**seaweedfs.settings(), "attach_s3_bucket": "hostile"}
        local = {"attach_dir": "attachments"}
        starts = [
            ("memory", local, ("canary-attach-secret",)),
            ("directory", local, ("canary-attach-secret",)),
            ("s3", s3, ("canary-attach-secret", seaweedfs.secret_key)),
        ]
        services = [
            stack.enter_context(_running(kind, root / kind, settings, secrets))
            for kind, settings, secrets in starts
        ]
        yield Everywhere(root, services)
        attachments = root / "directory/attachments"
        paths = {str(p.relative_to(attachments)) for p in attachments.rglob("*") if p.is_file()}
        assert [] == [path for path in paths - {MARKER} if not _KEY.fullmatch(path)]
        client = s3_client(seaweedfs.endpoint, seaweedfs.access_key, seaweedfs.secret_key)
        for found in client.list_objects_v2(Bucket="hostile").get("Contents", ()):
            assert _KEY.fullmatch(found["Key"]), found
        assert [] == [*(root / "memory").rglob("attachments")]


@contextlib.contextmanager
def _running(
    kind: str, directory: Path, settings: dict[str, str], secrets: tuple[str, ...]
) -> Iterator[Service]:
    directory.mkdir()
    for bait in ("passwd", "rex.txt", ".htaccess"):
        (directory / bait).write_text(CANARIES["bait"])
    environment = {
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"IN_MEMORY": "1"} if kind == "memory" else {}),
        **{name.upper(): value for name, value in (GIVEN | settings).items()},
    }
    command = [sys.executable, PROGRAM, "serve", "--access-log", "--port", PORT]
    with serving(command, directory, environment) as served:
        yield Service(kind, served, (KEY, *secrets))
        assert served.program.poll() is None


@pytest.fixture(autouse=True, scope="module")
def _untouched(everywhere: Everywhere) -> Iterator[None]:
    """See to it that a module leaves the storages and what is around them as they were."""
    before = everywhere.outside()
    yield
    assert before == everywhere.outside()
    left = [handle for service in everywhere.services for handle in everywhere.clean(service)]
    assert [] == left
