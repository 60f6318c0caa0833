"""The storages of Django: what both promise, in memory, in a directory and on a real server."""

from __future__ import annotations

import copy
import datetime
import io
import pickle
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import caches
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.core.files.uploadedfile import InMemoryUploadedFile, TemporaryUploadedFile
from django.http import FileResponse
from django.test import override_settings

from attach.django.app.models import Document
from rex.attach.conformance.samples import sample
from rex.attach.django import AttachmentStorage, NamedAttachmentStorage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    _File = File[Any]
else:
    _File = File  # Django's class takes no parameters

pytestmark = pytest.mark.usefixtures("everywhere")


@pytest.fixture(params=["default", "named"])
def storage(request: pytest.FixtureRequest) -> Any:
    """Give each of the storages."""
    return storages[request.param]


def test_a_saved_file_is_read_under_the_name_that_saving_returned(storage: Any) -> None:
    """Deleting it twice is no error."""
    name = storage.save("documents/a b é.txt", ContentFile(b"content"))
    assert name.endswith(".txt")
    assert not name.startswith("/")
    with storage.open(name) as file:
        assert file.read() == b"content"
    assert (7, True) == (storage.size(name), storage.exists(name))
    storage.delete(name)
    assert not storage.exists(name)
    storage.delete(name)


def test_a_name_of_a_file_is_a_handle_or_the_name_itself() -> None:
    """Which is the difference between both storages."""
    storage: Any = storages["default"]
    name = storage.save("documents/a.txt", ContentFile(b"content"))
    assert f"/{name}" in storage.rex
    assert "documents/a.txt" == storages["named"].save("documents/a.txt", ContentFile(b"content"))


def test_what_does_not_exist_is_a_missing_file(storage: Any) -> None:
    """Also under a name that cannot be one."""
    name = storage.save("a.txt", ContentFile(b"content"))
    storage.delete(name)
    for missing in (name, "documents/never.txt", "x", "a" * 1000):
        for ask in (
            storage.open,
            storage.size,
            storage.get_modified_time,
            storage.get_created_time,
        ):
            with pytest.raises(FileNotFoundError):
                ask(missing)
        assert not storage.exists(missing)
        storage.delete(missing)
        assert storage.url(missing) != ""


def test_a_path_out_of_the_storage_is_suspicious(storage: Any) -> None:
    """Django answers 400 to a request that brings one."""
    for name in ("..", "../x", "/x", "a/../../x", "..\\x", "/etc/passwd"):
        for ask in (storage.exists, storage.open, storage.size, storage.delete):
            with pytest.raises(SuspiciousFileOperation):
                ask(name)
        with pytest.raises(SuspiciousFileOperation):
            storage.save(name, ContentFile(b"content"))
    assert list(storage.rex) == []


def test_nothing_is_deleted_without_a_name(storage: Any) -> None:
    """In the words of Django's own storage."""
    with pytest.raises(ValueError, match=r"The name must be given to delete\(\)\."):
        storage.delete("")


def test_libraries_find_no_path_of_a_directory(storage: Any) -> None:
    """Thumbnailers take an attribute of that name for a directory."""
    for attribute in ("location", "base_location", "base_url"):
        assert not hasattr(storage, attribute)
    with pytest.raises(NotImplementedError):
        storage.path("a.txt")


def test_a_closed_file_is_opened_again_also_in_another_mode(storage: Any) -> None:
    """A file that is gone by then is missing."""
    name = storage.save("a.txt", ContentFile("zwölf\nzwei"))
    file = storage.open(name)
    assert file.read(3) == "zwölf".encode()[:3]
    assert file.open().read() == "zwölf\nzwei".encode()
    file.close()
    assert file.closed
    assert file.open("r").read() == "zwölf\nzwei"
    assert [line.decode() for line in file.open("rb")] == ["zwölf\n", "zwei"]
    assert len(file) == len("zwölf\nzwei".encode())
    storage.delete(name)
    file.close()
    with pytest.raises(FileNotFoundError):
        file.open()


def test_text_is_read_as_text(storage: Any) -> None:
    """Other modes change a file, and are refused."""
    name = storage.save("a.txt", ContentFile("äöü"))
    with storage.open(name, "r") as file:
        assert file.read() == "äöü"
    with pytest.raises(io.UnsupportedOperation):
        storage.open(name, "r+")
    with pytest.raises(io.UnsupportedOperation):
        storage.open(name, "ab")


def test_a_file_of_a_row_is_opened_again() -> None:
    """In the mode that is asked for."""
    document = Document.objects.create(file=ContentFile(b"content", name="a.txt"))
    document = Document.objects.get(pk=document.pk)
    assert document.file.open().read() == b"content"
    document.file.close()
    assert document.file.open("r").read() == "content"
    document.file.close()


TEXT = "Ä text\n" * 20_000
DATA = sample(300_000)


def large_upload() -> TemporaryUploadedFile:
    """Return what Django makes of a large file in a form."""
    upload = TemporaryUploadedFile("a.bin", "text/html", len(DATA), None)
    upload.write(DATA)
    return upload


def spooled() -> File[Any]:
    """Return a temporary file, which is in memory while it is small."""
    file = tempfile.SpooledTemporaryFile(max_size=1000)  # noqa: SIM115 - the test closes it
    file.write(DATA)
    return File(file)


def small_upload(file: Any) -> InMemoryUploadedFile:
    """Return what Django makes of a small file in a form."""
    return InMemoryUploadedFile(file, "f", "a.bin", "text/html", 1, None)


CONTENTS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: ContentFile(DATA),
    "text": lambda: ContentFile(TEXT),
    "a file": lambda: File(io.BytesIO(DATA)),
    "a file of text": lambda: File(io.StringIO(TEXT)),
    "a plain file": lambda: io.BytesIO(DATA),
    "a small upload": lambda: small_upload(io.BytesIO(DATA)),
    "a small upload of text": lambda: small_upload(io.StringIO(TEXT)),
    "a large upload": large_upload,
    "a temporary file": spooled,
}


@pytest.mark.parametrize("what", CONTENTS)
def test_any_content_is_stored_from_its_start_and_stays_open(storage: Any, what: str) -> None:
    """The caller closes it."""
    content = CONTENTS[what]()
    content.seek(0, io.SEEK_END)
    name = storage.save("a.bin", content)
    expected = TEXT.encode() if "text" in what else DATA
    assert expected == storage.open(name).read()
    assert not content.closed
    content.seek(0)
    assert content.read(1) in (expected[:1], TEXT[0])
    content.close()


class Countdown(_File):
    """A file with its own chunks, which must be used."""

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Yield other bytes than the file has."""
        del chunk_size
        yield from (b"3", b"2", b"1")


def test_a_file_with_chunks_of_its_own_is_read_by_them(storage: Any) -> None:
    """As upload handlers may have."""
    name = storage.save("a.txt", Countdown(io.BytesIO(b"wrong")))
    assert storage.open(name).read() == b"321"


def test_a_file_of_one_storage_is_saved_in_another() -> None:
    """The file below its wrappers is read."""
    name = storages["default"].save("a.txt", ContentFile(b"content"))
    with storages["default"].open(name) as file:
        copied = storages["named"].save("b.txt", file)
        assert not file.closed
    assert storages["named"].open(copied).read() == b"content"


def test_the_type_is_that_of_the_name_and_never_the_clients(storage: Any) -> None:
    """A client could say that an image is a page."""
    upload = InMemoryUploadedFile(io.BytesIO(b"x"), "f", "a.png", "text/html", 1, None)
    name = storage.save("a.png", upload)
    assert storage.rex.info(storage.handle_of(name)).content_type == "image/png"
    name = storage.save("a.txt", ContentFile("text"))
    info = storage.rex.info(storage.handle_of(name))
    assert info.content_type == "text/plain; charset=utf-8"


def test_times_are_aware_or_those_of_the_system(storage: Any) -> None:
    """Times of access are not recorded."""
    with override_settings(USE_TZ=True):
        name = storage.save("a.txt", ContentFile(b"content"))
        aware = storage.get_modified_time(name)
        assert aware.utcoffset() == datetime.timedelta(0)
        assert aware == storage.get_created_time(name)
        assert abs(aware - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    with pytest.raises(NotImplementedError):
        storage.get_accessed_time(name)


def test_times_without_time_zones_are_those_of_the_system() -> None:
    """Not those of the setting, as with Django's own storage."""
    storage = storages["default"]
    name = storage.save("a.txt", ContentFile(b"content"))
    aware = storage.get_modified_time(name)
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        naive = storage.get_modified_time(name)
        assert naive.tzinfo is None
        assert naive == datetime.datetime.fromtimestamp(aware.timestamp())  # noqa: DTZ006


def test_an_opened_file_can_be_the_content_of_a_response(storage: Any) -> None:
    """With its length, for which nothing is asked."""
    name = storage.save("a.txt", ContentFile(b"content"))
    response: Any = FileResponse(storage.open(name))
    assert b"".join(response.streaming_content) == b"content"
    assert response.headers["Content-Length"] == "7"
    assert response.headers["Content-Type"] == "text/plain"
    response.close()


def test_rows_are_pickled_with_their_files() -> None:
    """As caches and task queues do."""
    document = Document.objects.create(file=ContentFile(b"content", name="a.txt"))
    again = pickle.loads(pickle.dumps(document))  # noqa: S301 - our own
    assert again.file.read() == b"content"
    caches["default"].set("document", document)
    assert caches["default"].get("document").file.open().read() == b"content"


def test_a_storage_is_copied_as_the_place_that_it_is(storage: Any) -> None:
    """In this process; a pickle opens the same place."""
    assert copy.deepcopy(storage) is storage
    again = pickle.loads(pickle.dumps(storage))  # noqa: S301 - our own
    assert again.key == storage.key
    assert type(again) is type(storage)


def test_a_hook_refuses_a_file_before_it_is_stored(storage: Any) -> None:
    """Hooks are options, as in `open_storage`."""

    def refuse(_: object) -> None:
        raise Error("No files today", kind=Kind.REFUSED)

    options = {"url": "memory:", "on_begin": refuse}
    refusing = type(storage)(**options)
    with pytest.raises(Error, match="No files today"):
        refusing.save("a.txt", ContentFile(b"content"))
    assert list(refusing.rex) == []


def test_threads_open_one_storage(tmp_path: Path) -> None:
    """Although all use it first at once."""
    opened = []
    storage = AttachmentStorage(tmp_path / "threads")
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        opened.append(storage.rex)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(storage.rex)} == {id(each) for each in opened}
    storage.close()


def test_the_storages_are_our_classes() -> None:
    """And not subclasses of each other's aliases."""
    assert type(storages["default"]) is AttachmentStorage
    assert type(storages["named"]) is NamedAttachmentStorage
