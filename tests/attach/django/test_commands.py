"""The commands: the sweep with the references of the whole project, and the doctor."""

from __future__ import annotations

import datetime
import functools
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

import programs
from attach.django import project
from attach.django.archive.models import Contract, Photo, Plain, Proxy, Report, Scan
from attach.django.conftest import s3_place
from rex.attach.django.management.commands import attach_sweep
from rex.attach.django.references import find_references
from rex.attach.maintenance import sweep
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.usefixtures("database")

AFTER = "2m"
"""The grace of the tests, whose sweeps are an hour later."""


@pytest.fixture(autouse=True)
def _storages(database: None) -> Iterator[None]:
    """Use new storages in memory for each test."""
    del database
    with override_settings(STORAGES=project.storages_at("memory:")):
        yield


@pytest.fixture
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep an hour later, when all uploads are older than the grace."""
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    monkeypatch.setattr(attach_sweep, "sweep", functools.partial(sweep, now=later))


def rex(alias: str = "default") -> Storage:
    """Return the storage below an alias."""
    given: Any = storages[alias]
    found: Storage = given.rex
    return found


def new(name: str = "a.txt") -> ContentFile[bytes]:
    """Return content."""
    return ContentFile(b"content", name=name)


def run(command: str, *options: object) -> str:
    """Run a command; return what it prints."""
    printed = io.StringIO()
    call_command(command, *map(str, options), stdout=printed)
    return printed.getvalue()


def rows(command: str, *options: object) -> list[dict[str, Any]]:
    """Run a command; return the JSON objects that it prints."""
    return [json.loads(line) for line in run(command, *options, "--json").splitlines()]


def orphans(*options: object) -> set[str]:
    """Return the handles of the attachments that the sweep finds."""
    found = rows("attach_sweep", "--grace", AFTER, *options)
    return {each["handle"] for each in found if each.get("kind") == "attachment"}


@pytest.mark.usefixtures("_later")
def test_the_references_of_all_models_are_collected() -> None:
    """Of tables of children, of proxies, histories and names that are kept."""
    Scan.objects.create(file=new(), annex=new(), page=new())
    Proxy.objects.create(file=new())
    Photo.objects.create(image=new(), width=1, height=1)
    Plain.objects.create(file=new())
    contract = Contract.objects.create(file=new())
    contract.delete()  # its history refers to the file
    orphan = f"/{default_storage.save('orphan.txt', new())}"
    assert {orphan} == orphans()
    assert run("attach_sweep", "--grace", AFTER).splitlines() == [
        "app.Document.file: 0",
        "app.Picture.image: 0",
        "archive.Report.file: 2",
        "archive.Report.annex: 1",
        "archive.Scan.page: 1",
        "archive.Photo.image: 1",
        "archive.HistoricalContract.file: 2",
        "archive.Contract.file: 0",
        "archive.Plain.file: 1",
        "rex_attach.file: 0",
        f"attachment  {orphan}",
        "default: Dry run, nothing deleted. Would delete: 1 attachment (7 bytes)",
        "named: No garbage found.",
    ]
    assert orphan in rex()
    assert "default: Deleted: 1 attachment" in run("attach_sweep", "--grace", AFTER, "--delete")
    assert orphan not in rex()
    assert len(list(rex())) == 7


@pytest.mark.usefixtures("_later")
def test_names_that_are_kept_are_references() -> None:
    """Whether or not a row of the application has them, such as those of thumbnails."""
    named = storages["named"]
    named.save("thumbnails/a.png", new())
    orphan = rex("named").add("a.txt", b"orphan")
    Report.objects.create(file=new())
    assert {orphan} == orphans()
    assert {orphan} == orphans("--storage", "named")
    assert set() == orphans("--storage", "default")


@pytest.mark.usefixtures("_later")
def test_older_names_and_other_handles_are_no_reason_to_stop(tmp_path: Path) -> None:
    """Names from before are counted; handles elsewhere in the project are read from a file."""
    Plain.objects.create(file="photos/old.jpg")
    kept, orphan = rex().add("kept.txt", b"1"), rex().add("orphan.txt", b"2")
    file = tmp_path / "handles"
    file.write_text(f"{kept}\n\n")
    assert {orphan} == orphans("--handles", file)
    assert "not those of attachments: 1" in run("attach_sweep", "--handles", file)


def test_what_is_young_is_kept() -> None:
    """For a day, unless the option says otherwise; and never for less than a minute."""
    Report.objects.create(file=new())
    default_storage.save("orphan.txt", new())
    assert set() == orphans()
    with pytest.raises(CommandError, match="grace") as error:
        run("attach_sweep", "--grace", "1s")
    assert error.value.returncode == 4


def test_without_any_reference_nothing_is_swept() -> None:
    """It would be the wrong database, or an empty one."""
    default_storage.save("a.txt", new())
    with pytest.raises(CommandError, match="handles is empty"):
        run("attach_sweep")


def test_without_the_table_of_a_model_nothing_is_swept() -> None:
    """Its references cannot be known."""
    Report.objects.create(file=new())
    with connection.schema_editor() as editor:
        editor.delete_model(Plain)
    try:
        with pytest.raises(CommandError, match=r"archive\.Plain: run manage\.py migrate") as error:
            run("attach_sweep", "--delete")
        assert error.value.returncode == 9
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Plain)


def test_without_a_column_nothing_is_swept() -> None:
    """A migration is missing: the query fails."""
    Report.objects.create(file=new())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_plain RENAME COLUMN file TO other")
    try:
        with pytest.raises(CommandError, match="references failed") as error:
            run("attach_sweep", "--delete")
        assert error.value.returncode == 10
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE archive_plain RENAME COLUMN other TO file")


def test_a_wrong_alias_is_named(tmp_path: Path) -> None:
    """And what the project has."""
    for command in ("attach_sweep", "attach_doctor"):
        with pytest.raises(CommandError, match=r"'other' is not .*; expected default, named"):
            run(command, "--storage", "other")
    missing = project.storages_at(str(tmp_path / "missing"))
    Report.objects.create(file="2026/11/28/00000000-0000-4000-8000-000000000000/a.txt")
    with override_settings(STORAGES=missing), pytest.raises(CommandError):
        run("attach_sweep")
    assert not (tmp_path / "missing").exists()


def test_the_rules_of_a_bucket_are_printed(seaweedfs: SeaweedFS) -> None:
    """For one storage."""
    url, options = s3_place(seaweedfs)
    with override_settings(STORAGES=project.storages_at(url, **options)):
        printed = run("attach_sweep", "--lifecycle", "--storage", "default")
        rules = json.loads(printed)["Rules"]
        assert rules[0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] > 1
        with pytest.raises(CommandError, match="choose it"):
            run("attach_sweep", "--lifecycle")
    with pytest.raises(CommandError, match="excludes"):
        run("attach_sweep", "--lifecycle", "--delete")


@pytest.mark.usefixtures("_later")
def test_a_failing_removal_has_an_exit_code() -> None:
    """And the others are removed."""

    def refuse(handle: str) -> None:
        if handle.endswith("/kept.txt"):
            raise Error("It is in use", kind=Kind.REFUSED)

    with override_settings(STORAGES=project.storages_at("memory:", on_removed=refuse)):
        row = Report.objects.create(file=new())
        kept = default_storage.save("kept.txt", new())
        default_storage.save("orphan.txt", new())
        printed = io.StringIO()
        with pytest.raises(CommandError, match="1 failed") as error:
            call_command("attach_sweep", "--grace", AFTER, "--delete", stdout=printed)
        assert error.value.returncode == 11
        assert f"failed  /{kept}" in printed.getvalue()
        assert {f"/{row.file.name}", f"/{kept}"} == set(rex().list())


def test_references_are_read_in_a_transaction_of_the_caller() -> None:
    """As in a test of the application."""
    from django.db import transaction

    row = Report.objects.create(file=new())
    with transaction.atomic():
        assert find_references().handles == {f"/{row.file.name}"}


def test_the_doctor_checks_each_storage() -> None:
    """And the views of those without links of their own."""
    found = rows("attach_doctor")
    assert {each["storage"] for each in found} == {"default", "named"}
    assert {each["step"] for each in found if each["verdict"] == "ok"} >= {"views", "write", "read"}
    printed = run("attach_doctor", "--storage", "default")
    assert printed.startswith("default\nok        views")
    assert "post link, put link, get link not tried" in printed
    assert "skip      post link" in run("attach_doctor", "--storage", "default", "-v", "2")
    assert list(rex()) == []


@override_settings(ROOT_URLCONF="attach.django.no_urls")
def test_the_doctor_misses_the_views() -> None:
    """A warning, since a project may need no URLs."""
    found = rows("attach_doctor", "--storage", "default")
    assert [each["code"] for each in found if each["step"] == "views"] == ["no-views"]


def test_the_doctor_fails_with_a_storage_that_fails(tmp_path: Path) -> None:
    """With the exit code of the command `rex attach doctor`, and no directory that it made."""
    with (
        override_settings(STORAGES=project.storages_at(str(tmp_path / "a" / "missing"))),
        pytest.raises(CommandError, match="failed") as error,
    ):
        run("attach_doctor", "--storage", "default")
    assert error.value.returncode == 11
    wrong = project.storages_at("memory:", max_sise=5)
    with override_settings(STORAGES=wrong), pytest.raises(CommandError, match="failed"):
        run("attach_doctor", "--storage", "default")
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_tries_the_links_of_a_server(seaweedfs: SeaweedFS) -> None:
    """With the origins that are given."""
    url, options = s3_place(seaweedfs)
    with override_settings(STORAGES=project.storages_at(url, **options)):
        found = rows("attach_doctor", "--storage", "default", "--origin", "https://example.org")
    assert {each["step"] for each in found if each["verdict"] == "ok"} >= {"post link", "get link"}
    assert [each["step"] for each in found if each["step"] == "cors"] == ["cors"]


def test_a_query_that_fails_is_an_error() -> None:
    """Also for a program that collects the references itself."""
    with connection.schema_editor() as editor:
        editor.delete_model(Plain)
    try:
        with pytest.raises(Error) as error:
            find_references()
        assert error.value.code == "table-missing"
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Plain)


BARE = """
import importlib, pkgutil, sys

MISSING = {"click", "granian", "obstore", "python_multipart", "starlette"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from attach.django import project
project.setup()
import rex.attach.django
for found in pkgutil.walk_packages(rex.attach.django.__path__, "rex.attach.django."):
    importlib.import_module(found.name)
from django.core.management import call_command
call_command("attach_doctor", "--storage", "default")
"""


def test_django_alone_is_enough(tmp_path: Path) -> None:
    """Neither the command line nor the service of rex.attach need be installed."""
    program = tmp_path / "bare.py"
    program.write_text(BARE)
    done = programs.run(sys.executable, program)
    assert ("default", "") == (done.stdout.partition("\n")[0], done.stderr)
