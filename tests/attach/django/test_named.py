"""The storage that keeps names: they are rows, and what they had is removed at the commit."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from attach.django.app.models import Document
from programs import PATIENCE
from rex.attach.django import NamedAttachmentStorage
from rex.attach.django.models import File

pytestmark = pytest.mark.usefixtures("everywhere")


@pytest.fixture
def storage() -> Any:
    """Give the storage."""
    return storages["named"]


def read(storage: Any, name: str) -> bytes:
    """Return the content of a name."""
    with storage.open(name) as file:
        content: bytes = file.read()
        return content


def test_a_name_that_is_taken_gets_another(storage: Any) -> None:
    """As with Django's own storages."""
    first = storage.save("documents/a.txt", ContentFile(b"first"))
    second = storage.save("documents/a.txt", ContentFile(b"second"))
    assert first == "documents/a.txt"
    assert second != first
    assert (b"first", b"second") == (read(storage, first), read(storage, second))


def test_a_directory_lists_its_names(storage: Any) -> None:
    """Characters that a query could take for wildcards are none."""
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", "xy/d.txt", "x%/e.txt"):
        storage.save(name, ContentFile(b"content"))
    assert (["x", "x%", "xy"], ["a.txt"]) == storage.listdir("")
    assert (["y"], ["b.txt"]) == storage.listdir("x")
    assert (["y"], ["b.txt"]) == storage.listdir("./x/")
    assert ([], []) == storage.listdir("never")
    assert storage.exists("x/y")
    assert not storage.exists("x/yy")


def test_writing_replaces_the_content_when_the_file_is_closed(storage: Any) -> None:
    """Under another handle; the former attachment is removed."""
    with storage.open("a.txt", "w") as file:
        file.write("erst")
        assert not storage.exists("a.txt")
    assert read(storage, "a.txt") == b"erst"
    before = storage.handle_of("a.txt")
    with storage.open("a.txt", "wb") as file:
        file.write(b"second")
        assert file.size == 6
    assert read(storage, "a.txt") == b"second"
    assert before not in storage.rex
    with pytest.raises(FileExistsError):
        storage.open("a.txt", "x")


def test_a_failure_while_writing_keeps_the_old_content(storage: Any) -> None:
    """Half a file is of no use."""
    storage.save("a.txt", ContentFile(b"old"))

    def fail() -> None:
        with storage.open("a.txt", "wb") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read(storage, "a.txt") == b"old"
    assert len(list(storage.rex)) == 1


def test_a_file_of_a_row_can_be_written() -> None:
    """By the class of Django's own field."""
    document = Document(title="a")
    document.file.storage = storages["named"]
    document.file = storages["named"].save("a.txt", ContentFile(b"old"))
    document.file.storage = storages["named"]
    with document.file.open("w") as file:
        file.write("new")
    assert read(storages["named"], "a.txt") == b"new"


def test_a_rollback_undoes_the_name_and_keeps_what_it_had(storage: Any) -> None:
    """A name never refers to what is gone."""
    storage.save("a.txt", ContentFile(b"old"))
    with transaction.atomic():
        storage.write("a.txt", ContentFile(b"new"))
        storage.save("b.txt", ContentFile(b"new"))
        assert read(storage, "a.txt") == b"new"
        transaction.set_rollback(True)
    assert read(storage, "a.txt") == b"old"
    assert not storage.exists("b.txt")


def test_a_deletion_that_is_rolled_back_did_not_happen(storage: Any) -> None:
    """The attachment is removed after the commit only."""
    storage.save("a.txt", ContentFile(b"content"))
    with transaction.atomic():
        storage.delete("a.txt")
        assert not storage.exists("a.txt")
        transaction.set_rollback(True)
    assert read(storage, "a.txt") == b"content"


def test_a_deleted_name_leaves_nothing_after_the_commit(storage: Any) -> None:
    """Even if it was saved in the same transaction."""
    with transaction.atomic():
        storage.save("a.txt", ContentFile(b"content"))
        storage.delete("a.txt")
        assert len(list(storage.rex)) == 1
    assert list(storage.rex) == []


def test_a_name_that_cannot_be_recorded_leaves_nothing(storage: Any) -> None:
    """The attachment was stored first."""
    with connection.schema_editor() as editor:
        editor.delete_model(File)
    try:
        with pytest.raises(Exception, match="rex_attach_file"):
            storage.write("a.txt", ContentFile(b"content"))
        assert list(storage.rex) == []
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(File)


def test_names_of_two_storages_are_apart() -> None:
    """Although they are in one table."""
    one, other = NamedAttachmentStorage("memory:"), NamedAttachmentStorage("memory:")
    one.save("a.txt", ContentFile(b"one"))
    assert not other.exists("a.txt")
    assert other.save("a.txt", ContentFile(b"other")) == "a.txt"


def test_saving_is_few_queries_and_reading_is_one(storage: Any) -> None:
    """Besides those of a savepoint."""
    assert storage.rex
    with CaptureQueriesContext(
        connection,
    ) as queries:
        storage.save("a.txt", ContentFile(b"content"))
    assert len([q for q in queries if q["sql"].startswith(("SELECT", "INSERT"))]) == 2
    for ask in (storage.open, storage.size, storage.exists, storage.url, storage.get_created_time):
        with CaptureQueriesContext(connection) as queries:
            ask("a.txt")
        assert len(queries) == 1


def test_overwriting_replaces_the_content_of_a_name() -> None:
    """With the option of Django's own storages."""
    storage = NamedAttachmentStorage("memory:", allow_overwrite=True)
    for content in (b"first", b"second"):
        assert storage.save("a.txt", ContentFile(content)) == "a.txt"
        assert read(storage, "a.txt") == content
    assert len(list(storage.rex)) == 1


def test_a_link_downloads_the_file_under_the_last_part_of_its_name(storage: Any) -> None:
    """Or under the name that the caller gives."""
    storage.save("documents/a.txt", ContentFile(b"content"))
    assert "a.txt" in storage.url("documents/a.txt")
    assert "filename%3D%22b.txt" in storage.url("documents/a.txt", filename="b.txt") or (
        storage.url("documents/a.txt", filename="b.txt").endswith("/b.txt")
    )


def test_names_over_the_length_of_a_column_are_cut(storage: Any) -> None:
    """That of the field, or of our own table."""
    name = storage.save(f"documents/{'a' * 300}.tar.gz", ContentFile(b"x"), max_length=100)
    assert len(name) == 100
    assert name.endswith(".tar.gz")
    name = storage.save(f"{'a' * 200}/{'b' * 200}/{'c' * 200}.txt", ContentFile(b"x"))
    assert len(name) == 500


@pytest.mark.usefixtures("_tables")
def test_of_those_who_save_one_name_at_once_each_gets_a_name(
    storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the name free, and the database decides."""
    barrier = threading.Barrier(2, timeout=PATIENCE)
    exists = NamedAttachmentStorage.exists
    first_calls = iter([True, True])

    def meet(self: NamedAttachmentStorage, name: str) -> bool:
        found = exists(self, name)
        if next(first_calls, False):
            barrier.wait()
        return found

    monkeypatch.setattr(NamedAttachmentStorage, "exists", meet)
    names: list[str] = []

    def save() -> None:
        names.append(storage.save("a.txt", io.BytesIO(b"content")))
        connection.close()

    threads = [threading.Thread(target=save) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*names}) == 2
    assert "a.txt" in names
