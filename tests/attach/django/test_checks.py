"""The system checks: which storages keep no names where names are needed, and short columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core import checks
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from attach.django import project
from attach.django.conftest import s3_place
from rex.attach.django import AttachmentStorage, NamedAttachmentStorage
from rex.attach.django.checks import check_fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

HANDLES = {"BACKEND": "rex.attach.django.AttachmentStorage", "OPTIONS": {"url": "memory:"}}
NAMES = {"BACKEND": "rex.attach.django.NamedAttachmentStorage", "OPTIONS": {"url": "memory:"}}
FILES = {"BACKEND": "django.core.files.storage.FileSystemStorage"}


def found(
    *, settings: Mapping[str, Any] | None = None, deploy: bool = False
) -> dict[str, checks.CheckMessage]:
    """Return the messages of our checks by their number; those of fields are left out."""
    with override_settings(**(settings or {})):
        messages = checks.run_checks(tags=["rex_attach"], include_deployment_checks=deploy)
    return {str(m.id).removeprefix("rex_attach."): m for m in messages if m.obj is None}


def storages(**more: object) -> dict[str, Any]:
    """Return ``STORAGES`` with others beside the usual ones."""
    return {**project.storages_at("memory:"), **more}


@pytest.mark.parametrize(
    ("max_length", "number", "words"),
    [
        (20, "E001", "max_length=20 is too short for the handle of an attachment"),
        (63, "E001", "max_length=63 is too short for the handle of an attachment"),
        (64, "W001", "File names over 16 characters are cut"),
        (100, "W001", "File names over 52 characters are cut"),
        (302, "W001", "File names over 254 characters are cut"),
        (303, None, ""),
        (400, None, ""),
    ],
)
@isolate_apps("attach.django.app")
def test_the_length_of_a_column_is_checked(max_length: int, number: str | None, words: str) -> None:
    """For handles only: names are cut as Django cuts them."""

    class Model(models.Model):  # noqa: DJ008 - of one test
        file = models.FileField(storage=AttachmentStorage("memory:"), max_length=max_length)
        named = models.FileField(storage=NamedAttachmentStorage("memory:"), max_length=20)
        plain = models.FileField(storage=FILES_STORAGE, max_length=20)

        class Meta:
            app_label = "app"

    config: Any = type("Config", (), {"get_models": lambda _: [Model]})()
    messages = check_fields([config])
    assert [f"rex_attach.{number}"] * (number is not None) == [m.id for m in messages]
    assert all(words in m.msg and m.obj is Model._meta.get_field("file") for m in messages)


def FILES_STORAGE() -> Any:  # noqa: N802 - a constant, made late
    """Return a storage of Django."""
    from django.core.files.storage import FileSystemStorage

    return FileSystemStorage("/nowhere")


def test_static_files_need_their_names() -> None:
    """The hint says what to use."""
    message = found(settings={"STORAGES": storages(staticfiles=HANDLES)})["E002"]
    assert "WhiteNoise" in str(message.hint)
    assert "E002" not in found(settings={"STORAGES": storages(staticfiles=NAMES)})
    assert "E002" not in found()


THUMBNAILERS = [
    ("easy_thumbnails", "THUMBNAIL_DEFAULT_STORAGE_ALIAS"),
    ("sorl.thumbnail", "THUMBNAIL_STORAGE"),
    ("imagekit", "IMAGEKIT_DEFAULT_FILE_STORAGE"),
]


@pytest.mark.parametrize(("app", "setting"), THUMBNAILERS)
def test_a_thumbnailer_that_would_not_find_its_files_is_named_with_its_setting(
    app: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not installed here: its settings are those of the process."""
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: name == app)
    message = found()["W003"]
    assert message.msg.startswith(app)
    assert setting in str(message.hint)
    assert "W003" in found(settings={setting: "default"})
    assert "W003" not in found(settings={setting: "named"})
    assert "W003" not in found(settings={setting: "files", "STORAGES": storages(files=FILES)})
    assert "W003" not in found(
        settings={"STORAGES": storages(default=NAMES, easy_thumbnails=NAMES)}
    )


def test_wrong_options_are_found_without_a_request() -> None:
    """And named as they are written."""
    wrong = {**HANDLES, "OPTIONS": {"url": "s3://bucket", "secret": "x"}}
    message = found(settings={"STORAGES": storages(wrong=wrong)})["E003"]
    assert 'STORAGES["wrong"]["OPTIONS"]["secret"]' in message.msg


def test_only_the_checks_for_deployment_ask_the_server(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    """A bucket that does not exist, a directory that cannot be made, and ones that are fine."""
    url, options = s3_place(seaweedfs)
    fine = project.storages_at(url, **options)
    assert found(settings={"STORAGES": fine}, deploy=True).keys().isdisjoint({"E003", "E004"})
    wrong = project.storages_at(url.replace(f"//{seaweedfs.bucket}/", "//missing/"), **options)
    assert "E004" not in found(settings={"STORAGES": wrong})
    message = found(settings={"STORAGES": wrong}, deploy=True)["E004"]
    assert 'STORAGES["named"]["OPTIONS"]["url"]' in message.msg
    directory = str(tmp_path / "missing" / "files")
    assert "E004" not in found(settings={"STORAGES": project.storages_at(directory)})
    assert not (tmp_path / "missing").exists()
    assert "E004" in found(settings={"STORAGES": project.storages_at(directory)}, deploy=True)
