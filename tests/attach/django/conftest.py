"""What the tests with Django share: its settings, and a database with tables."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from attach.django import project

project.setup()

from django.core.management import call_command  # noqa: E402 - needs the settings
from django.core.management.color import no_style  # noqa: E402 - as above
from django.db import connections  # noqa: E402 - as above
from django.test import override_settings  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def _tables() -> Iterator[None]:
    call_command("migrate", verbosity=0, run_syncdb=True)
    yield
    connections.close_all()


@pytest.fixture
def database(_tables: None) -> Iterator[None]:
    """Use a database with all tables, which are empty at the end; transactions are real."""
    yield
    empty()
    connections.close_all()


def empty() -> None:
    """Delete all rows but those that the migrations made."""
    connection = connections["default"]
    kept = {"auth_permission", "django_content_type", "django_migrations"}
    tables = sorted({*connection.introspection.table_names()} - kept)
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))


@pytest.fixture(params=["memory", "directory", "seaweedfs"])
def everywhere(request: pytest.FixtureRequest, database: None, tmp_path: Path) -> Iterator[str]:
    """Set ``STORAGES`` in memory, in a directory and on S3; return the name of the place."""
    del database  # names are in it
    place = str(request.param)
    if place == "seaweedfs":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        url, options = s3_place(server)
    elif place == "directory":
        url, options = str(tmp_path / "attachments"), {}
    else:
        url, options = "memory:", {}
    with override_settings(STORAGES=project.storages_at(url, **options)):
        yield place


def s3_place(server: SeaweedFS, endpoint: str = "") -> tuple[str, dict[str, Any]]:
    """Return the URL of a place of its own on a server, and the options."""
    url = f"s3://{server.bucket}/django-{uuid.uuid4()}?endpoint={endpoint or server.endpoint}"
    return url, {"access_key": server.access_key, "secret_key": server.secret_key}
