"""What others put into a bucket or a directory costs nothing but itself."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import httpx
import pytest
from moto.server import ThreadedMotoServer

from attach.harnesses import s3_client
from rex.attach import open_storage
from rex.attach.maintenance import Outcome, State, copy, sweep, verify
from rex.attach.web import Access, attachments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach import Storage

pytestmark = pytest.mark.long

# SeaweedFS cannot hold some of these, so this one server is moto.
STRANGE_KEYS = {
    "an empty folder name": "2026/11/28//x.txt",
    "a leading slash": "/2026/a.txt",
    "dots": "a/../b.txt",
    "a dot": "./b.txt",
    "a tab": "a\tb.txt",
    "an escape sequence": "\x1b]0;evil\x07",
    "a folder marker": "2026/",
    "a backslash": "a\\b",
    "slashes alone": "//",
    "percent signs and others": "a%2Fb*c#d?e~f|g+h i.txt",
    "a control character of XML": "a\x01b",
}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Run moto's S3 server; return its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto: str, request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Give a storage in a bucket of its own."""
    name = f"strange-{abs(hash(request.node.name))}"
    s3_client(moto, "k", "s").create_bucket(Bucket=name)
    with open_storage(f"s3://{name}?endpoint={moto}", access_key="k", secret_key="s") as storage:
        yield storage


def expect_undisturbed(storage: Storage, ours: str, foreign: list[str]) -> None:
    """Expect that every operation works, and that what is foreign has its true name."""
    assert [ours] == list(storage)
    assert [ours] == list(storage.list(day="-".join(ours.split("/")[1:4])))
    assert [] == list(storage.list(after=ours))
    assert sorted(foreign) == sorted(storage.unknown_keys())
    assert [(ours, State.OK)] == [(each.handle, each.state) for each in verify(storage)]
    assert [] == [swept for swept in sweep(storage, delete=True) if not swept.is_fine]
    with open_storage("memory:") as dest:
        results = {(each.handle, each.outcome) for each in copy(storage, dest)}
        assert {(ours, Outcome.COPIED), *((key, Outcome.UNKNOWN) for key in foreign)} == results
        assert [ours] == list(dest)
    assert [ours] == asyncio.run(_served_list(storage))
    assert b"ours" == storage.open(ours).read()


@pytest.mark.parametrize("what", STRANGE_KEYS)
def test_a_strange_key_stops_nothing(what: str, bucket: Storage, moto: str) -> None:
    """It is passed by, under its true name."""
    ours, key = bucket.add("ours.txt", b"ours"), STRANGE_KEYS[what]
    s3_client(moto, "k", "s").put_object(Bucket=_name(bucket), Key=key, Body=b"x")
    expect_undisturbed(bucket, ours, [key])


def test_a_key_that_looks_like_ours_is_not_an_attachment(bucket: Storage, moto: str) -> None:
    """A handle with its slash, and a folder marker with the name of one, are not listed."""
    ours = bucket.add("ours.txt", b"ours")
    keys = [ours, bucket.reserve("other.txt"), bucket.reserve("marker.txt")[1:] + "/"]
    for key in keys:
        s3_client(moto, "k", "s").put_object(Bucket=_name(bucket), Key=key, Body=b"")
    expect_undisturbed(bucket, ours, keys)


def test_strange_keys_behind_a_prefix_and_beside_it(moto: str) -> None:
    """The prefix is a whole folder; its neighbours, whose names begin with it, are not in it."""
    client = s3_client(moto, "k", "s")
    client.create_bucket(Bucket="strange-prefix")
    url = f"s3://strange-prefix/app?endpoint={moto}"
    with open_storage(url, access_key="k", secret_key="s") as storage:
        ours = storage.add("ours.txt", b"ours")
        for key in ("app//x", "app/\tx", "application/x", "app", f"app{ours}/", f"app2{ours}"):
            client.put_object(Bucket="strange-prefix", Key=key, Body=b"x")
        expect_undisturbed(storage, ours, ["/x", "\tx", f"{ours[1:]}/"])


def test_uploads_that_are_under_way_are_not_foreign(bucket: Storage) -> None:
    """Their records and tails are the storage's own."""
    ours = bucket.add("ours.txt", b"ours")
    upload = bucket.uploads.create("a.bin", size=10)
    bucket.uploads.append(upload.handle, 0, b"12345")
    expect_undisturbed(bucket, ours, [])


def test_odd_names_in_a_directory_stop_nothing(tmp_path: Path) -> None:
    """Not UTF-8, of several lines, at any depth, links and fifos: passed by, not followed."""
    with open_storage(f"file://{tmp_path}/attachments") as storage:
        storage.check()
        ours = storage.add("ours.txt", b"ours")
        folder = ours[1:].rpartition("/")[0]
        upload = storage.uploads.create("a.bin", size=10).handle
        storage.uploads.append(upload, 0, b"12345")
        storage.tokens.mac("")
        foreign = [
            "README.txt",
            ".hidden",
            "2026/13/99/x/y.txt",
            "2026/notes\nof two lines",
            f"{folder}/\udcff\udcfe.txt",
            f"{folder}/\x1b]0;evil\x07",
            f"{folder}/deeper/still/a.txt",
            "lost+found/#12345",
        ]
        root = tmp_path / "attachments"
        for key in foreign:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(b"x")
        (root / "link.txt").symlink_to("/etc/passwd")
        (root / "linked").symlink_to("/etc")
        os.mkfifo(root / "fifo")
        foreign += ["link.txt", "linked", "fifo"]
        expect_undisturbed(storage, ours, foreign)
        storage.uploads.append(upload, 5, b"67890")


def _name(storage: Storage) -> str:
    return storage.multipart.bucket


async def _served_list(storage: Storage) -> list[str]:
    app = attachments(storage, Access(lambda *_: True))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get("/")
    return [each["handle"] for each in answer.json()["attachments"]]
