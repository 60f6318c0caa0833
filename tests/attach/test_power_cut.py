"""A power cut after acknowledged local adds and removals loses none of them, on a model of a disk.

Real file systems lose their power in `trust.power_cuts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.recorded_disk import Disk
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.content.content import Content

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _survivors(disk: Disk) -> dict[str, bytes]:
    """Give the contents of the attachments that would survive, by handle."""
    return {
        path.removeprefix("attachments"): file.content
        for path, file in disk.surviving().items()
        if not path.rpartition("/")[2].startswith(".")
    }


@pytest.mark.usefixtures("file_system")
def test_what_is_acknowledged_is_on_the_disk_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call to the system: each attachment acknowledged before survives, whole."""
    disk = Disk(tmp_path)
    storage = LocalStorage(tmp_path / "attachments")
    acknowledged: dict[str, bytes] = {}

    def check() -> None:
        assert acknowledged.items() <= _survivors(disk).items()

    disk.at_each_point = check
    with disk.recorded(monkeypatch):
        storage.check()
        for _ in range(2):
            for content in (b"", b"first", b"second" * 500_000):
                acknowledged[storage.add("scan.png", content, content_type="image/png")] = content
                acknowledged[storage.uploads.store("scan.png", content).handle] = content
            for handle in [*acknowledged]:
                # The last one takes the directories of its day with it; the next makes them anew.
                del acknowledged[handle]
                storage.remove(handle)
                assert handle not in _survivors(disk)
        assert [] == disk.exposed
    assert disk.points > 100


@pytest.mark.usefixtures("file_system")
def test_the_content_type_and_the_digest_are_on_the_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in the attributes of the file, or in the file beside it."""
    disk = Disk(tmp_path)
    storage = LocalStorage(tmp_path / "attachments")
    with disk.recorded(monkeypatch):
        storage.check()
        handle = storage.add("scan.png", b"content", content_type="image/x-scan")
        digest = storage.info(handle).digest
        recorded = b"".join(
            (file.content + b"".join(file.attributes.values()))
            for path, file in disk.surviving().items()
            if path.startswith("attachments" + handle.rpartition("/")[0])
        )
    assert digest is not None
    assert b'"image/x-scan"' in recorded
    assert digest.encode() in recorded


UNSYNCED: dict[str, Callable[[str], bool]] = {
    "the file": lambda path: path.endswith("(deleted)") or ".partial-" in path,
    "its directory": lambda path: path.count("/") == 4,
    "the day": lambda path: path.count("/") == 3,
    "the month": lambda path: path.count("/") == 2,
    "the year": lambda path: path.count("/") == 1 and "(deleted)" not in path,
    "the root": lambda path: path == "attachments",
    "what the root is in": lambda path: path == "",
}


@pytest.mark.parametrize("unsynced", UNSYNCED)
def test_every_single_sync_is_needed(
    unsynced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model notices when any one of them is left out."""
    disk = Disk(tmp_path)
    disk.leave_out = UNSYNCED[unsynced]
    storage = LocalStorage(tmp_path / "attachments")
    with disk.recorded(monkeypatch):
        storage.check()
        disk.exposed.clear()
        handle = storage.add("scan.png", b"content")
        assert handle not in _survivors(disk)
        assert (["scan.png"] if unsynced == "the file" else []) == disk.exposed


def test_the_sync_of_a_removal_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the model has the attachment back after the power cut."""
    disk = Disk(tmp_path)
    storage = LocalStorage(tmp_path / "attachments")
    with disk.recorded(monkeypatch):
        storage.check()
        handle = storage.add("scan.png", b"content")
        disk.leave_out = lambda _: True
        storage.remove(handle)
        assert handle in _survivors(disk)


def test_a_day_that_another_process_made_is_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds the directories there cannot know whether they are on the disk already."""
    disk = Disk(tmp_path)
    storage = LocalStorage(tmp_path / "attachments")
    key = storage.reserve("scan.png")[1:]
    with disk.recorded(monkeypatch):
        storage.check()
        (tmp_path / "attachments" / key).parent.parent.mkdir(parents=True)
        storage._put(key, Content(b"content"), "image/png")
        assert {f"/{key}": b"content"} == _survivors(disk)
