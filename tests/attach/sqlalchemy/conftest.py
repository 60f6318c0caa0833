"""Databases with a table for each model, and a storage that sessions are attached to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.sqlalchemy.models import Base, synchronous
from postgresql import PROGRAMS, postgresql
from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from rex.attach import Storage

DATABASES = ("sqlite", "postgresql") if PROGRAMS else ("sqlite",)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Run a PostgreSQL; give its URL."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/app.db"
    found: str = request.getfixturevalue("server")
    return found


def empty(engine: Engine) -> None:
    """Make the tables, or empty them."""
    Base.metadata.create_all(engine)
    if engine.dialect.name == "postgresql":
        names = ", ".join(Base.metadata.tables)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS tenant CASCADE")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Give an engine for a database with empty tables."""
    engine = synchronous(url)
    empty(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Give an empty storage."""
    with open_storage("memory:") as storage:
        yield storage
