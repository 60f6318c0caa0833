"""The scripts on the pages of docs/migrating, run as they are printed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pages import write_files
from programs import run

PAGE = Path(__file__).parents[1] / "docs/migrating/django-storages.md"

SETTINGS = """
import os
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "the secret key of the tests, of fifty characters or more"
INSTALLED_APPS = ["rex.attach.django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
OLD = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {"location": BASE_DIR / "media", "base_url": "/media/"},
}
STORAGES = {
    "default": {"BACKEND": os.environ["BACKEND"], "OPTIONS": {"url": BASE_DIR / "attachments"}},
    "named": {
        "BACKEND": "rex.attach.django.NamedAttachmentStorage",
        "OPTIONS": {"url": BASE_DIR / "named"},
    },
    "old": OLD,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if os.environ["BACKEND"] == "old":
    STORAGES["default"] = OLD
"""
MODELS = """
from django.db import models


class Report(models.Model):
    title = models.CharField(max_length=100)
    file = models.FileField(upload_to="reports/%Y", max_length=400, blank=True)
    cover = models.ImageField(upload_to="covers", max_length=400, null=True, blank=True)
"""
FILL = """
from django.core.files.base import ContentFile
from django.core.management import call_command
from shop.models import Report

call_command("migrate", run_syncdb=True, verbosity=0)

for number in range(3):
    Report.objects.create(
        title=f"old {number}",
        file=ContentFile(f"old {number}".encode(), "a report.pdf"),
        cover=ContentFile(b"GIF89a", "cover.gif") if number else None,
    )
Report.objects.create(title="without")
"""
MEANWHILE = """
from django.core.files.base import ContentFile
from django.core.management import call_command
from shop.models import Report

Report.objects.create(title="new", file=ContentFile(b"new", "new.pdf"))
for report in Report.objects.exclude(file=""):
    assert report.file.read() == report.title.encode(), report.title
    assert report.file.size == len(report.title)
    assert report.file.storage.exists(report.file.name)
assert Report.objects.get(title="old 1").file.url.startswith("/media/reports/")
for _ in range(2):
    call_command("move_files")
"""
AFTER = """
from django.core.files.storage import default_storage
from django.core.management import call_command
from shop.models import Report

for report in Report.objects.exclude(file=""):
    assert report.file.read() == report.title.encode(), report.title
    assert default_storage.handle_of(report.file.name), report.file.name
assert Report.objects.get(title="old 0").file.name.endswith("/a_report.pdf")
assert Report.objects.get(title="old 1").cover.read() == b"GIF89a"
assert len([*default_storage.rex]) == 6
call_command("attach_sweep", "--storage", "default")
"""
NAMED = """
from django.core.files.storage import storages
from django.core.management import call_command
from shop.models import Report

for _ in range(2):
    call_command("move_names")

for report in Report.objects.filter(title__startswith="old"):
    with storages["named"].open(report.file.name) as file:
        assert file.read() == report.title.encode()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Django project with files in a storage of another library."""
    directory = tmp_path_factory.mktemp("project")
    write_files(PAGE, directory)
    (directory / "settings.py").write_text(SETTINGS)
    (directory / "shop/models.py").write_text(MODELS)
    run_in(directory, "old", FILL)
    return directory


def run_in(project: Path, backend: str, script: str) -> str:
    """Run a script in a project whose default storage has this class; return what it printed."""
    settings = {"django_settings_module": "settings", "backend": backend}
    program = [sys.executable, "-m", "django", "shell", "--no-imports", "--pythonpath", project]
    done = run(*program, given=script, directory=project, settings=settings)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_a_django_project_keeps_its_names(project: Path) -> None:
    """The rows stay as they are; the second run does nothing."""
    run_in(project, "old", NAMED)


def test_a_django_project_moves_its_files(project: Path) -> None:
    """Old and new files are read meanwhile; afterwards, every name is a handle."""
    told = run_in(project, "shop.moving.MovingStorage", MEANWHILE)
    file, cover = "shop.Report.file: {} moved", "shop.Report.cover: {} moved"
    expected = [file.format(3), cover.format(2), file.format(0), cover.format(0)]
    assert expected == told.splitlines()
    told = run_in(project, "rex.attach.django.AttachmentStorage", AFTER)
    assert "No garbage found" in told
