"""The handles of all models, for a sweep."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import MetaData, event
from sqlalchemy.orm import sessionmaker

import postgresql
from attach.sqlalchemy.models import Base, Document, Draft, Page, Signed
from programs import REX, run
from rex.attach import open_storage
from rex.attach.maintenance import sweep
from rex.attach.sqlalchemy import add, attach, referenced_handles
from rex.core import Error, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from rex.attach import Storage


LEFT_OUT = postgresql.LEFT_OUT


def fill(engine: Engine, storage: Storage) -> list[str]:
    """Commit rows of all models; return their handles."""
    sessions = sessionmaker(engine)
    attach(sessions, storage)
    with sessions.begin() as session:
        handles = [add(session, f"{number}.txt", b"1") for number in range(5)]
        first, second, third, fourth, fifth = handles
        session.add(Document(file=first))
        session.add(Signed(file=second, signature=third))
        session.add_all([Draft(content=fourth), Page(file=fifth), Page(file=first), Page()])
    return handles


def test_all_columns_of_all_models_are_read(engine: Engine, storage: Storage) -> None:
    """In one statement, so that a handle that moves meanwhile is in one of its tables."""
    handles = fill(engine, storage)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert sorted([*handles, handles[0]]) == sorted(referenced_handles(Base.metadata, engine))
    assert 1 == len([each for each in statements if each.startswith("SELECT")])
    with engine.connect() as connection:
        assert {*handles} == {*referenced_handles(Base.metadata, connection)}


def test_a_sweep_finds_the_others(engine: Engine, storage: Storage) -> None:
    """And only them."""
    fill(engine, storage)
    orphan = storage.add("orphan.txt", b"1")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    found = sweep(storage, referenced=referenced_handles(Base.metadata, engine), now=later)
    assert [orphan] == [each.handle for each in found]


def test_nothing_is_read_from_models_that_have_no_attachments(engine: Engine) -> None:
    """As where the models were not imported: a sweep would remove all."""
    with pytest.raises(Error) as raised:
        referenced_handles(MetaData(), engine)
    assert Kind.CONFIGURATION is raised.value.kind


def test_a_missing_table_is_an_error(engine: Engine) -> None:
    """The handles of the others alone would be too few."""
    Page.__table__.drop(engine)  # type: ignore[attr-defined]
    with pytest.raises(Error) as raised:
        [*referenced_handles(Base.metadata, engine)]
    assert Kind.UNAVAILABLE is raised.value.kind


def test_the_command_sweeps_with_the_handles_of_the_models(
    engine: Engine, url: str, tmp_path: Path
) -> None:
    """The URL of the database comes from the environment."""
    directory = tmp_path / "attachments"
    with open_storage(directory, max_size=None) as storage:
        storage.init()
        handles = fill(engine, storage)
    listing = f"{sys.executable} -m rex.attach.sqlalchemy attach.sqlalchemy.models:Base"
    program = (REX, "attach", "sweep", "--handles-from", listing)
    settings = {"attach_dir": directory, "database_url": url}
    done = run(*program, settings=settings)
    assert (0, "") == (done.returncode, done.stderr)
    assert "No garbage found." in done.stdout
    listed = run(*listing.split(), settings=settings)
    assert {*handles} == {*listed.stdout.split()}
    Page.__table__.drop(engine)  # type: ignore[attr-defined]
    failed = run(*program, "--delete", settings=settings)
    assert 0 != failed.returncode
    with open_storage(directory) as storage:
        assert {*handles} == {*storage}


@pytest.mark.parametrize(
    ("given", "code"), [(("nowhere://",), 1), ((), 2)], ids=["a wrong URL", "no URL"]
)
def test_the_command_says_what_is_wrong(given: tuple[str, ...], code: int) -> None:
    """And never prints the URL."""
    program = (sys.executable, "-m", "rex.attach.sqlalchemy", "attach.sqlalchemy.models:Base")
    done = run(*program, *given)
    assert code == done.returncode
    assert "database" in done.stderr
    assert "nowhere" not in done.stderr
