"""Archives of attachments: their length, their names, what is missing, and what fails."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from attach.memory_use import measure
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.maintenance import copy
from rex.attach.storage.archive import MAX_ENTRIES, entry_names
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach import Reader, Storage
    from rex.attach.backends.local.storage import LocalStorage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.storage.archive import Archive

MIB = 1024 * 1024


@pytest.fixture(params=["memory", "local", "s3"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """Return a storage of each kind."""
    found: Storage = request.getfixturevalue(request.param)
    return found


def read(archive: Archive) -> zipfile.ZipFile:
    """Read an archive; check its length and its digests."""
    with archive:
        content = b"".join(archive)
    assert archive.size == len(content)
    unpacked = zipfile.ZipFile(io.BytesIO(content))
    assert unpacked.testzip() is None
    return unpacked


def test_an_archive_has_the_bytes_of_all_attachments(storage: Storage) -> None:
    """In the order of the handles, without compression, each once."""
    contents = {
        "large.bin": bytes(range(256)) * 4096 * 3,
        "Größe 😀.txt": b"text",
        "empty.png": b"",
        "photo.png": b"\x89PNG" * 100_000,  # of a format that is read in parts
    }
    handles = [storage.add(name, content) for name, content in contents.items()]
    unpacked = read(storage.zip([*handles, *handles]))
    assert contents == {name: unpacked.read(name) for name in unpacked.namelist()}
    assert list(contents) == unpacked.namelist()
    for entry in unpacked.infolist():
        assert zipfile.ZIP_STORED == entry.compress_type
        assert entry.filename.isascii() is not bool(entry.flag_bits & 0x800)  # UTF-8
    for handle in handles:
        storage.remove(handle)


def test_what_does_not_exist_is_in_the_manifest(storage: Storage) -> None:
    """With the handles that the caller names as missing; nothing tells them apart."""
    there, hidden = storage.add("missing.txt", "mine"), storage.add("hidden.txt", "secret")
    gone = storage.reserve("gone.txt")
    with storage.zip([gone, there], missing=[hidden]) as archive:
        assert sorted([gone, hidden]) == archive.missing
        assert [there] == [info.handle for info in archive.found]
        unpacked = read(archive)
    assert ["missing.txt", "missing (2).txt"] == unpacked.namelist()
    expected = "".join(f"{handle}\n" for handle in sorted([gone, hidden]))
    assert expected == unpacked.read("missing (2).txt").decode()
    storage.remove(there)
    storage.remove(hidden)


def test_an_archive_of_nothing_is_an_archive(memory: Storage) -> None:
    """Without a manifest."""
    assert [] == read(memory.zip([])).namelist()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.txt a.txt a.txt", "a.txt a (2).txt a (3).txt"),
        ("a.txt A.TXT", "a.txt A (2).TXT"),
        ("a a", "a a_(2)"),
        (".env .env", ".env .env_(2)"),
        ("a_(2).txt a.txt a.txt", "a_(2).txt a.txt a_(3).txt"),
        ("straße STRASSE", "straße STRASSE_(2)"),
        ("\u212bngstrom \u00c5ngstrom", "\u212bngstrom \u00c5ngstrom_(2)"),
    ],
)
def test_names_differ_on_every_system(given: str, expected: str) -> None:
    """Also where case and the form of Unicode do not count. An underscore stands for a blank."""
    names = [name.replace("_", " ") for name in given.split(" ")]
    wanted = expected.replace(" (", "_(").split(" ")
    assert [name.replace("_", " ") for name in wanted] == entry_names(names)


def test_a_long_name_stays_as_long_as_names_may_be() -> None:
    """The number takes the place of the end of the stem."""
    name = "ä" * 125 + ".jpeg"
    first, second = entry_names([name, name])
    assert name == first
    assert len(second.encode()) <= 255
    assert second.startswith("äää")
    assert second.endswith(" (2).jpeg")


def test_many_equal_names_are_numbered_in_no_time() -> None:
    """The next number of a name is known."""
    names = entry_names(["photo.jpg"] * MAX_ENTRIES)
    assert f"photo ({MAX_ENTRIES}).jpg" == names[-1]
    assert MAX_ENTRIES == len(set(names))


def test_an_attachment_that_disappears_cuts_the_archive_off(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """The iteration ends with an error, which is in the log, and never like a whole archive."""
    handles = [storage.add(f"{number}.bin", bytes(MIB)) for number in range(8)]
    with storage.zip(handles) as archive, caplog.at_level(logging.WARNING, "rex.attach"):
        next(archive)
        storage.remove(handles[-1])
        with pytest.raises(Error) as caught:
            b"".join(archive)
    assert Kind.NOT_FOUND is caught.value.kind
    assert "an archive of 8 attachments is cut off" in caplog.text
    for handle in handles[:-1]:
        storage.remove(handle)


def test_an_attachment_that_another_program_changes_cuts_the_archive_off(
    memory: Storage,
) -> None:
    """Its new bytes, of the same length, are not taken for the old ones."""
    handles = [memory.add(f"{number}.bin", bytes(MIB)) for number in range(8)]
    with memory.zip(handles) as archive:
        next(archive)
        memory.remove(handles[-1])
        memory.put(handles[-1], b"x" * MIB)
        with pytest.raises(Error) as caught:
            b"".join(archive)
    assert Kind.CORRUPT is caught.value.kind


@pytest.mark.parametrize(
    ("handles", "kind"),
    [
        (["/../../etc/passwd"], Kind.ILL_FORMED),
        ([5], Kind.ILL_FORMED),
        ([f"/2026/11/29/{n:08x}-0000-4000-8000-000000000000/a" for n in range(10_001)],
         Kind.TOO_LARGE),
    ],
)  # fmt: skip
def test_wrong_handles_are_refused_before_anything_is_read(
    memory: Storage, handles: list[str], kind: Kind
) -> None:
    """Among the missing ones as well."""
    for arguments in ((handles, ()), ((), handles)):
        with pytest.raises(Error) as caught:
            memory.zip(arguments[0], missing=arguments[1])
        assert kind is caught.value.kind


def test_without_the_package_the_extra_is_named(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not part of the base installation."""
    monkeypatch.setitem(sys.modules, "zipstream", None)
    with pytest.raises(Error, match=r"rex-attach\[zip\]") as caught:
        memory.zip([])
    assert "missing-package" == caught.value.code


def test_an_archive_that_is_not_read_to_its_end_leaves_nothing_open(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what was opened ahead."""
    handles = [memory.add(f"{number}.bin", bytes(2 * MIB)) for number in range(12)]
    opened: list[Reader] = []
    right = type(memory).open

    def note(*arguments: Any, **options: Any) -> Reader:
        opened.append(right(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(type(memory), "open", note)
    for taken in (0, 1, 5, 20):
        with memory.zip(handles) as archive:
            for _ in range(taken):
                next(archive)
        pool = memory._archives.workers._pool
        assert pool is not None
        pool.shutdown()  # after the reads that were under way
        memory._archives.close()
        assert [] == [each for each in opened if not each.closed]
    assert len(opened) > 12


def test_coroutines_read_the_same_archive(memory: Storage) -> None:
    """Its length, what is missing, its bytes."""
    handle, gone = memory.add("a.txt", "text"), memory.reserve("b.txt")

    async def live() -> bytes:
        async with await memory.aio.zip([handle, gone]) as archive:
            assert [gone] == archive.missing
            assert [handle] == [info.handle for info in archive.found]
            content = b"".join([chunk async for chunk in archive])
            assert archive.size == len(content)
            return content

    unpacked = zipfile.ZipFile(io.BytesIO(asyncio.run(live())))
    assert ["a.txt", "missing.txt"] == unpacked.namelist()


def test_memory_does_not_grow_with_the_archive(local: LocalStorage) -> None:
    """A hundred MiB need a few chunks."""
    handles = [local.add("a.bin", bytes(8 * MIB)) for _ in range(12)]

    def do() -> None:
        with local.zip(handles) as archive:
            assert archive.size == sum(map(len, archive))

    do()
    assert measure(do)["bytes"] < 32 * MIB
    for handle in handles:
        local.remove(handle)


def test_an_archive_outlasts_a_move_to_another_storage(local: LocalStorage, s3: S3Storage) -> None:
    """The entity tags of a server differ; the digests do not."""
    handles = [local.add(f"{number}.txt", b"text") for number in range(3)]
    archive = FallbackStorage(s3, local).zip(handles)
    assert len(handles) == sum(1 for _ in copy(local, s3))
    assert ["0.txt", "1.txt", "2.txt"] == read(archive).namelist()
