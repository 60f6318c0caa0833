"""``STORAGES``: options, aliases, wrong values, migrations, secrets, and what Django imports."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import models
from django.db.migrations.writer import MigrationWriter
from django.test import override_settings

from attach.django import project
from rex.attach.django import AttachmentStorage, NamedAttachmentStorage
from rex.attach.links.link import MAX_LINK_SECONDS

SECRET = "TOPSECRET-of-the-bucket"
S3: dict[str, Any] = {
    "url": "s3://bucket?endpoint=http://127.0.0.1:9",
    "access_key": "AK",
    "secret_key": SECRET,
}


def storages_with(**options: object) -> dict[str, Any]:
    """Return ``STORAGES`` with one storage of each kind."""
    return project.storages_at(str(options.pop("url", "memory:")), **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({**S3, "secret_kee": "x"}, "secret_kee"),
        ({**S3, "secret_key": 3}, "secret_key"),
        ({**S3, "url": "s3://bucket", "endpoint": "no"}, "endpoint"),
        ({"url": "s3://bucket", "timeout": "-1"}, "timeout"),
        ({"url": "memory:", "max_size": "much"}, "max_size"),
        ({"url": "gopher://x"}, "url"),
        ({"url": "s3://bucket?secret_key=x"}, "secret_key"),
        ({"url": ""}, "url"),
        ({"url": "memory:", "link_expires": 10, "link_window": 20}, "link_window"),
        ({"url": "/proc/never/there"}, "url"),
    ],
)
def test_a_wrong_option_is_named_as_it_is_written_in_settings(
    options: dict[str, object], named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message shows no secret."""
    monkeypatch.chdir(tmp_path)
    wrong = {**project.storages_at("memory:"), "default": {**BACKEND, "OPTIONS": options}}
    with override_settings(STORAGES=wrong), pytest.raises(ImproperlyConfigured) as raised:
        storages["default"].save("a.txt", ContentFile(b"content"))
    assert f'STORAGES["default"]["OPTIONS"]["{named}"]' in str(raised.value)
    assert SECRET not in f"{raised.value!r} {storages!r}"


BACKEND = {"BACKEND": "rex.attach.django.AttachmentStorage"}


def test_nothing_is_opened_before_it_is_used() -> None:
    """A server that does not answer is no reason for a project not to start."""
    with override_settings(STORAGES=storages_with(**S3)):
        storage: Any = storages["default"]
        assert SECRET not in repr(storage)
        assert SECRET not in repr(vars(storage))
        assert storage.url("2026/11/28/00000000-0000-4000-8000-000000000001/a.txt")
        assert storage._rex is not None


def test_other_settings_are_another_storage_and_close_the_old(tmp_path: Path) -> None:
    """A storage that a field holds on to is opened again when it is used."""
    with override_settings(STORAGES=project.storages_at(str(tmp_path / "one"))):
        old: Any = storages["default"]
        name = old.save("a.txt", ContentFile(b"content"))
        with override_settings(STORAGES=project.storages_at(str(tmp_path / "two"))):
            assert old._rex is None
            assert storages["default"] is not old
            assert not storages["default"].exists(name)
        assert storages["default"].exists(name)
        assert old.exists(name)


def test_an_alias_follows_the_settings(tmp_path: Path) -> None:
    """As a field that a migration made does."""
    by_alias = AttachmentStorage(alias="default")
    for place in ("one", "two"):
        with override_settings(STORAGES=project.storages_at(str(tmp_path / place))):
            storage: Any = storages["default"]
            assert by_alias.rex is storage.rex
            assert by_alias.exists(storage.save("a.txt", ContentFile(b"content")))
    with pytest.raises(ImproperlyConfigured, match="takes no other option"):
        AttachmentStorage("memory:", alias="default")
    with pytest.raises(ImproperlyConfigured, match="needs this class"):
        AttachmentStorage(alias="staticfiles").rex  # noqa: B018 - opens it


def test_a_relative_directory_is_below_base_dir(tmp_path: Path) -> None:
    """And a missing one is made, if only its last component is missing."""
    urls: tuple[str | Path, ...] = ("./files", Path("files"), tmp_path / "files")
    for number, url in enumerate(urls):
        base = tmp_path if number else tmp_path / "project"
        base.mkdir(exist_ok=True)
        with override_settings(BASE_DIR=base):
            storage = AttachmentStorage(url)
            storage.save("a.txt", ContentFile(b"content"))
            assert (base / "files" / ".rex-attach").exists()
            storage.close()


def test_a_migration_has_the_alias_of_a_storage_and_no_secret() -> None:
    """Also of one that was made with options, if they are those of an alias."""
    with override_settings(STORAGES=storages_with(**S3)):
        for storage in (storages["default"], AttachmentStorage(**S3)):
            text, imports = MigrationWriter.serialize(storage)
            assert text == "rex.attach.django.AttachmentStorage(alias='default')"
            assert imports == {"import rex.attach.django"}
        text, _ = MigrationWriter.serialize(storages["named"])
        assert text == "rex.attach.django.NamedAttachmentStorage(alias='named')"


def test_a_migration_of_a_storage_with_a_secret_says_what_to_write_instead() -> None:
    """Without one, it has the options."""
    with pytest.raises(ImproperlyConfigured, match=r'AttachmentStorage\(alias="…"\)') as raised:
        MigrationWriter.serialize(AttachmentStorage(**S3))
    assert SECRET not in str(raised.value)
    own = NamedAttachmentStorage("file:///srv/files", inline=False, allow_overwrite=True)
    text, _ = MigrationWriter.serialize(own)
    assert text == (
        "rex.attach.django.NamedAttachmentStorage(allow_overwrite=True, inline=False, "
        "url='file:///srv/files')"
    )


def test_the_migrations_of_the_application_are_complete() -> None:
    """For Django of any version."""
    output = io.StringIO()
    call_command("makemigrations", "rex_attach", check=True, dry_run=True, stdout=output)
    assert "No changes detected in app 'rex_attach'\n" == output.getvalue()


def test_a_field_needs_no_migration_for_its_storage_twice() -> None:
    """A clone of the field deconstructs as the field does."""
    for storage in (
        AttachmentStorage(alias="default"),
        storages["default"],
        lambda: storages["default"],
    ):
        field = models.FileField(storage=storage)
        assert field.clone().deconstruct() == field.deconstruct()


def test_urls_expire_within_the_limits_of_links() -> None:
    """A longer time is refused, rather than cut."""
    storage: Any = AttachmentStorage("memory:", expires=MAX_LINK_SECONDS + 1)
    with pytest.raises(Exception, match="The duration of a link must be"):
        storage.url("a.txt")


WITHOUT_APP = """
import json, sys
from django.conf import settings
before = set(sys.modules)
import rex.attach.django
imported = sorted(name for name in set(sys.modules) - before if name.startswith("django"))
from rex.attach.django import *
settings.configure(SECRET_KEY="x" * 50, STORAGES={"default": {
    "BACKEND": "rex.attach.django.AttachmentStorage", "OPTIONS": {"url": "memory:"}}})
import django
django.setup()
from django.core.files.storage import default_storage
from django.core.files.base import ContentFile
read = default_storage.open(default_storage.save("a.txt", ContentFile("text"))).read().decode()
from rex.attach.django import NamedAttachmentStorage
try:
    NamedAttachmentStorage("memory:").exists("a.txt")
except Exception as error:
    named = str(error)
print(json.dumps([imported, read, named]))
"""


def test_the_plain_storage_needs_no_application_and_its_package_imports_nothing() -> None:
    """The storage that keeps names says that it does."""
    program = WITHOUT_APP.replace("from rex.attach.django import *\n", "")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    imported, read, named = json.loads(done.stdout)
    assert ([], "text") == (imported, read)
    assert 'add "rex.attach.django" to INSTALLED_APPS' in named


def test_each_alias_keeps_its_own_names(tmp_path: Path) -> None:
    """Also if two have the same options, and the same place."""
    given = project.storages_at(str(tmp_path / "files"))
    with override_settings(STORAGES={**given, "thumbnails": given["named"]}):
        found: Any = storages
        assert ("named", "thumbnails") == (found["named"].key, found["thumbnails"].key)
        assert "thumbnails" in repr(found["thumbnails"])
