"""The clean-up: files are removed after the commit, and never one that a row refers to."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import programs
from attach.django import project
from attach.django.archive.models import Contract, Folder, Photo, Plain, Proxy, Report, Scan
from rex.attach.django import cleanup
from rex.attach.maintenance import sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.db.models import Model

    from rex.attach import Storage

pytestmark = pytest.mark.usefixtures("database")

NUMBERS = itertools.count()
MODELS: list[type[Any]] = [Report, Scan, Contract, Photo, Plain]


@pytest.fixture(autouse=True)
def _storages(database: None) -> Iterator[None]:
    """Use new storages in memory for each test."""
    del database
    with override_settings(STORAGES=project.storages_at("memory:")):
        yield


def rex() -> Storage:
    """Return the storage below the default one."""
    found: Storage = default_storage.rex  # type: ignore[attr-defined]
    return found


def new() -> ContentFile[bytes]:
    """Return new content, unlike any other."""
    number = next(NUMBERS)
    return ContentFile(b"%d" % number, name=f"{number}.txt")


def stored() -> set[str]:
    """Return the names of all attachments."""
    return {handle[1:] for handle in rex().list()}


def referenced() -> set[str]:
    """Return the names in all rows."""
    columns = [
        Report.objects.values_list("file", flat=True),
        Report.objects.values_list("annex", flat=True),
        Scan.objects.values_list("page", flat=True),
        Contract.objects.values_list("file", flat=True),
        Contract.history.values_list("file", flat=True),
        Photo.objects.values_list("image", flat=True),
        Plain.objects.values_list("file", flat=True),
    ]
    return {str(name) for column in columns for name in column if name}


def name_of(file: Any) -> str:
    """Return the name of the file of a row."""
    return str(file.name)


def test_a_replaced_file_is_removed_after_the_commit() -> None:
    """And the new one stays."""
    row = Report.objects.create(file=new())
    old = name_of(row.file)
    with transaction.atomic():
        row.file = new()
        row.save()
        assert old in stored()
    assert {name_of(row.file)} == stored()


def test_a_replaced_file_stays_after_a_rollback() -> None:
    """The new one is an orphan, which is left to the sweep."""
    row = Report.objects.create(file=new())
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        row.file = new()
        row.save()
        raise ZeroDivisionError
    assert referenced() < stored()
    assert len(stored()) == 2


def test_an_inner_rollback_keeps_what_it_replaced() -> None:
    """And the outer commit removes what it replaced itself."""
    one, two = Report.objects.create(file=new()), Report.objects.create(file=new())
    kept, gone = name_of(one.file), name_of(two.file)
    with transaction.atomic():
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            one.file = new()
            one.save()
            raise ZeroDivisionError
        two.file = new()
        two.save()
    assert kept in stored()
    assert gone not in stored()


def test_a_file_is_removed_without_a_transaction() -> None:
    """Where each statement is committed, at once."""
    row = Report.objects.create(file=new(), annex=new())
    row.file = ""
    row.annex = None
    row.save()
    assert stored() == set()


def test_a_stale_instance_removes_what_its_row_has() -> None:
    """Another one has replaced the file that this one read."""
    row = Report.objects.create(file=new())
    stale = Report.objects.get()
    row.file = new()
    row.save()
    stale.file = new()
    stale.save()
    assert {name_of(stale.file)} == stored()


def test_an_instance_that_was_not_read_replaces_the_file_of_its_row() -> None:
    """Django updates the row with that primary key."""
    row = Report.objects.create(file=new())
    other = Report(pk=row.pk, file=new())
    other.save()
    assert {name_of(other.file)} == stored()


def test_only_what_is_saved_counts() -> None:
    """Of deferred fields and of ``update_fields``."""
    row = Report.objects.create(file=new(), annex=new())
    partial = Report.objects.only("title").get()
    partial.title = "new"
    partial.save()
    row.file = new()
    row.save(update_fields=["title"])
    row.refresh_from_db()
    assert referenced() <= stored()
    assert row.file.read() is not None
    row.annex = new()
    row.save(update_fields=["annex"])
    assert referenced() <= stored()


def test_a_deleted_row_loses_all_its_files() -> None:
    """Those of a parent's table too, and those of an instance that has another file by now."""
    row = Scan.objects.create(file=new(), annex=new(), page=new())
    row.file = new()
    row.delete()
    assert stored() == set()


def test_a_row_that_loses_its_child_keeps_its_own_files() -> None:
    """With ``keep_parents``, only the child's row is deleted."""
    row = Scan.objects.create(file=new(), page=new())
    file = name_of(row.file)
    row.delete(keep_parents=True)
    assert {file} == stored()


def test_a_proxy_is_cleaned_up_as_its_model() -> None:
    """When it is saved, and when it is deleted."""
    row = Proxy.objects.create(file=new())
    row.file = new()
    row.save()
    assert {name_of(row.file)} == stored()
    Proxy.objects.all().delete()
    assert stored() == set()


def test_a_row_that_is_deleted_with_another_loses_its_files() -> None:
    """As ``CASCADE`` has it."""
    folder = Folder.objects.create()
    for _ in range(3):
        Report.objects.create(file=new(), folder=folder)
    folder.delete()
    assert stored() == set()


def test_a_deletion_of_many_rows_asks_each_column_once() -> None:
    """A query for each row would read large tables many times."""
    for _ in range(20):
        Report.objects.create(file=new())
    with CaptureQueriesContext(connection) as queries:
        Report.objects.all().delete()
    asked = [each["sql"] for each in queries.captured_queries if " IN (" in each["sql"]]
    columns = [
        sql for sql in asked if sql.startswith("SELECT") and "file" in sql.partition(" IN")[0]
    ]
    assert stored() == set()
    assert len(columns) < 20


def test_a_query_set_that_deletes_twice_removes_each_time() -> None:
    """Also after a rollback, and in another transaction."""
    rows = Report.objects.all()
    for _ in range(2):
        Report.objects.create(file=new())
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            rows.delete()
            raise ZeroDivisionError
        assert referenced() == stored()
        with transaction.atomic():
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                rows.delete()
                raise ZeroDivisionError
            transaction.on_commit(list)  # another, in the place of the first removal
            rows.delete()
            Report.objects.create(file=new())
            rows.delete()
        assert stored() == set()


def test_a_file_of_two_rows_stays_until_the_last_is_gone() -> None:
    """Whichever column and model the other row has."""
    row = Report.objects.create(file=new())
    shared = name_of(row.file)
    others: list[Model] = [
        Report.objects.create(annex=shared),
        Scan.objects.create(page=shared),
        Photo.objects.create(image=shared, width=1, height=1),
        Plain.objects.create(file=shared),
    ]
    row.delete()
    for other in others:
        assert {shared} == stored()
        other.delete()
    assert {shared} == stored()  # Django's own field is not cleaned up here
    Report.objects.create(file=shared).delete()
    assert stored() == set()


def test_a_file_that_comes_back_in_the_same_transaction_stays() -> None:
    """It is asked for after the commit."""
    row = Report.objects.create(file=new())
    first = name_of(row.file)
    with transaction.atomic():
        row.file = new()
        row.save()
        row.file = first
        row.save()
    assert {first} == stored()


def test_a_file_in_the_history_of_a_row_stays() -> None:
    """The rows of django-simple-history have its name, in a text column."""
    row = Contract.objects.create(file=new())
    old = name_of(row.file)
    row.file = new()
    row.save()
    row.delete()
    assert old in stored()
    assert len(stored()) == 2


def test_a_field_without_clean_up_keeps_all_files() -> None:
    """And so does a row loaded from a fixture, and an update without signals."""
    row = Photo.objects.create(image=new(), width=1, height=1)
    row.image = new()
    row.save()
    Photo.objects.all().delete()
    assert len(stored()) == 2


def test_a_failing_removal_does_not_fail_the_commit(caplog: pytest.LogCaptureFixture) -> None:
    """The handle is logged, and the other files are removed."""

    def refuse(handle: str) -> None:
        if handle.endswith("/first.txt"):
            raise ZeroDivisionError

    with override_settings(STORAGES=project.storages_at("memory:", on_removed=refuse)):
        row = Report.objects.create(file=ContentFile(b"1", name="first.txt"), annex=new())
        first = name_of(row.file)
        with caplog.at_level(logging.ERROR), transaction.atomic():
            row.delete()
        assert {first} == stored()
    assert first in caplog.text


def test_files_stay_if_the_rows_cannot_be_asked(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as without the table of a model."""
    row = Report.objects.create(file=new())

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cleanup, "attachment_columns", fail)
    row.delete()
    assert len(stored()) == 1
    assert "left to attach_sweep" in caplog.text


def test_a_test_case_sees_the_removal_in_its_callbacks() -> None:
    """As with any other callback after the commit."""

    class Case(TestCase):
        def test(self) -> None:
            row = Report.objects.create(file=new())
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                row.delete()
            assert len(callbacks) == 1
            assert stored() == set()

    Case("test").debug()


def test_deletions_of_other_models_stay_fast() -> None:
    """No receiver is for all models."""
    from django.db.models.signals import post_delete, pre_delete, pre_save

    assert not post_delete.has_listeners(Plain)
    assert not pre_delete.has_listeners(Plain)
    assert pre_save.has_listeners(Report)


def test_the_setting_is_for_all_fields_of_our_storages(tmp_path: Path) -> None:
    """Also for Django's own field, in a process that has it from the start."""
    program = tmp_path / "setting.py"
    program.write_text(SETTING)
    done = programs.run(sys.executable, program)
    assert ("1\n0\n1\n0\n", "") == (done.stdout, done.stderr)


SETTING = """
from attach.django import project
project.setup(REX_ATTACH_CLEANUP=True)
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from attach.django.archive.models import Photo, Plain
call_command("migrate", verbosity=0, run_syncdb=True)
for model, field in ((Plain, "file"), (Photo, "image")):
    row = model.objects.create(**{field: ContentFile(b"x", name="a.txt")})
    setattr(row, field, ContentFile(b"y", name="b.txt"))
    row.save()
    print(len(list(default_storage.rex.list())))
    row.delete()
    print(len(list(default_storage.rex.list())))
"""


# Random histories.

OPERATIONS = ("create", "replace", "clear", "delete", "delete all", "update", "share", "clear file")
step = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 3), st.sampled_from(["file", "annex"]))
history = st.recursive(
    st.lists(step, max_size=4),
    lambda inner: st.lists(
        st.one_of(step, st.tuples(st.just("atomic"), inner, st.booleans())), max_size=6
    ),
    max_leaves=12,
)


class FailureError(Exception):
    """The failure of a transaction."""


class History:
    """Runs a history, and knows which files changes without signals have orphaned."""

    def __init__(self) -> None:
        self.unsignalled = False
        self.rolled_back = False

    def run(self, steps: Any) -> None:
        """Take each step."""
        for kind, first, second in steps:
            if kind == "atomic":
                self.rolled_back |= second
                with contextlib.suppress(FailureError), transaction.atomic():
                    self.run(first)
                    if second:
                        raise FailureError
            else:
                self._take(kind, first, second)

    def _take(self, kind: str, number: int, field: str) -> None:
        rows = list((Report, Scan)[number % 2].objects.order_by("pk"))
        row = rows[number % len(rows)] if rows else None
        if kind == "create" or row is None:
            Scan.objects.create(**{field: new(), "page": new()})
        elif kind == "delete":
            row.delete()
        elif kind == "delete all":
            Report.objects.filter(pk__gt=row.pk).delete()
        elif kind == "update":
            self.unsignalled = True
            Report.objects.filter(pk=row.pk).update(**{field: default_storage.save("u", new())})
        elif kind == "clear file":
            getattr(row, field).delete()
        else:
            values = {"replace": new(), "clear": "", "share": str(rows[0].file or "")}
            setattr(row, field, values[kind])
            row.save()


@pytest.mark.long
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history)
def test_no_row_ever_refers_to_a_removed_file(steps: Any) -> None:
    """Whatever fails; and without a rollback or an update without signals, nothing is orphaned."""
    done = History()
    done.run(steps)
    dangling, orphans = referenced() - stored(), stored() - referenced()
    assert set() == dangling
    if not (done.unsignalled or done.rolled_back):
        assert set() == orphans
    check_sweep(orphans)
    Report.objects.all().delete()
    for handle in rex().list():
        rex().remove(handle)


def check_sweep(orphans: set[str]) -> None:
    """Check that a sweep after the grace finds the orphans, and nothing else."""
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    handles = {f"/{name}" for name in referenced()}
    if handles:
        found = sweep(rex(), referenced=handles, now=later)
        assert orphans == {each.handle[1:] for each in found}
