"""The commands that copy, verify and sweep, on a FAKE of Google Cloud Storage."""

from __future__ import annotations

import datetime
import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.contents import LARGE, described, fill
from attach.fake_gcs import FakeGCS
from attach.gcs_storage import gcs_storage
from attach.s3_storage import s3_storage
from attach.v4_cases import KEY_FILE
from programs import NONE, REX, run
from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

NUMBER = 51
"""The last of them is large."""
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Place(NamedTuple):
    """A storage, and the URL that a command gets."""

    url: str
    storage: Storage


@pytest.fixture
def fake() -> Iterator[FakeGCS]:
    """Run the fake."""
    with FakeGCS() as fake:
        yield fake


@pytest.fixture
def google(fake: FakeGCS) -> Iterator[Place]:
    """Return a folder of the bucket."""
    options = {"endpoint": fake.endpoint, "key": str(KEY_FILE)}
    with gcs_storage(fake.bucket, prefix="moved", **options) as storage:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        yield Place(f"gs://{fake.bucket}/moved?{query}", storage)


def directory(path: Path) -> Place:
    """Make a directory of attachments."""
    storage = open_storage(path)
    storage.init()
    return Place(str(path), storage)


def rex(
    *arguments: str, expected: int = 0, environment: Mapping[str, object] = NONE
) -> list[dict[str, Any]]:
    """Run a command with an exit code; return its lines of JSON."""
    done = run(REX, "attach", *arguments, "--json", settings=environment)
    assert (expected, "") == (done.returncode, done.stderr), done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_copies(*places: Place, environment: Mapping[str, object] = NONE) -> None:
    """Copy from place to place: each then has what the first has."""
    expected = described(places[0].storage)
    assert NUMBER == len(expected)
    for old, new in itertools.pairwise(places):
        *_, told = rex("copy", old.url, new.url, environment=environment)
        assert NUMBER == told["summary"]["copied"]
        found = described(new.storage)
        assert expected.keys() == found.keys()
        for handle, (size, content_type, digest) in found.items():
            first = expected[handle]
            # A server records no digest of what is large, unless it was known before.
            assert (size, content_type, digest or first[2]) == first


@pytest.mark.long
def test_a_directory_goes_to_google_and_back(tmp_path: Path, google: Place) -> None:
    """Handles, sizes, types and digests are equal everywhere."""
    first, last = (directory(tmp_path / name) for name in ("first", "last"))
    fill(first.storage, NUMBER)
    check_copies(first, google, last)
    assert described(first.storage) == described(google.storage) == described(last.storage)


@pytest.mark.long
@pytest.mark.again
def test_s3_goes_to_google(tmp_path: Path, google: Place, seaweedfs: SeaweedFS) -> None:
    """As a directory does; the bytes are those that S3 has."""
    prefix = f"to-google/{tmp_path.name}"
    options = {"endpoint": seaweedfs.endpoint, "prefix": prefix}
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    environment = {
        "AWS_ACCESS_KEY_ID": keys["access_key"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
    }
    with s3_storage(seaweedfs.bucket, **options, **keys) as storage:
        fill(storage, NUMBER)
        url = f"s3://{seaweedfs.bucket}/{prefix}?endpoint={seaweedfs.endpoint}"
        check_copies(Place(url, storage), google, environment=environment)
        for handle in storage:
            with storage.open(handle) as first, google.storage.open(handle) as copied:
                assert first.read() == copied.read()


def test_verify_finds_an_object_with_other_bytes(fake: FakeGCS, google: Place) -> None:
    """The others are right."""
    handles = [google.storage.add(f"{number}.txt", b"content") for number in range(3)]
    name = f"moved{handles[1]}"
    fake.store(name, b"Content", fake.objects[name].resource, once=False)
    *told, summary = rex("verify", "--storage", google.url, expected=11)
    assert {handles[1]: "corrupt"} == {
        one["handle"]: one["state"] for one in told if one["state"] != "ok"
    }
    assert 2 == summary["summary"]["ok"]


def test_sweep_removes_what_an_upload_left_and_what_has_no_record(
    tmp_path: Path, fake: FakeGCS, google: Place
) -> None:
    """The session and the tail of an upload that is forgotten; an attachment that is not used."""
    kept, young = (google.storage.add(name, b"x") for name in ("a.txt", "b.txt"))
    google.storage.add("unused.txt", b"x")
    upload = google.storage.uploads.create("a.bin", size=LARGE).handle
    google.storage.uploads.append(upload, 0, bytes(LARGE - 3))
    (record,) = (name for name in fake.objects if name.endswith("/record"))
    del fake.objects[record]
    for name, stored in fake.objects.items():
        if young not in name:
            fake.objects[name] = stored._replace(updated=LONG_AGO)
    used = tmp_path / "used.txt"
    used.write_text(kept)
    command = ("sweep", "--storage", google.url, "--handles", str(used))
    before = {*fake.objects}
    *found, _ = rex(*command)
    assert before == {*fake.objects}
    *removed, _ = rex(*command, "--delete")
    assert found == removed
    assert {f"moved{handle}" for handle in (kept, young)} == {*fake.objects}
    kinds = sorted(one["kind"] for one in removed)
    assert ["attachment", "file", "file"] == kinds
