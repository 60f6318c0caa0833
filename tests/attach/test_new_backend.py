"""A new object backend is a folder and a line in the registry; everything else follows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from attach.obstore_memory.config import spec
from rex.attach import open_storage, opening
from rex.attach.backend.abilities import Abilities
from rex.attach.conformance import Harness, promises_for
from rex.attach.maintenance import Verdict, diagnose
from rex.core import Error

if TYPE_CHECKING:
    from rex.attach.conformance import Promise
    from rex.attach.storage import Storage

NAMES = itertools.count()


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the line."""
    monkeypatch.setattr(opening, "BACKENDS", (*opening.BACKENDS, spec))


class ObstoreHarness(Harness):
    """Each storage has a store of its own."""

    def open(self, *, max_size: int | None = None) -> Storage:
        """Open a new store."""
        return open_storage(f"obstore://store-{next(NAMES)}/folder", max_size=max_size)


@pytest.mark.parametrize("promise", promises_for(Abilities()))
def test_it_keeps(promise: Promise) -> None:
    """Every promise of a storage that only stores."""
    promise(ObstoreHarness())


def test_the_errors_of_urls_name_it() -> None:
    """By its example, and its options by those of every storage."""
    with pytest.raises(Error, match="or obstore://store/prefix"):
        open_storage("ftp://store")
    with pytest.raises(Error, match="Unknown option for the scheme obstore"):
        open_storage("obstore://store?endpoint=http://h:1")


def test_its_settings_are_declared() -> None:
    """As those of any other backend."""
    assert ["attach_obstore_store", "attach_obstore_prefix"] == [
        setting.name for setting in spec.settings.values()
    ]
    assert spec.selector is spec.settings["store"]


def test_the_doctor_tries_it() -> None:
    """All checks that need no ability pass; the others say why they are skipped."""
    with open_storage("obstore://examined") as storage:
        checks = [*diagnose(storage)]
    assert {Verdict.OK, Verdict.SKIP} == {check.verdict for check in checks}
    assert {"no-links", "no-origin"} == {
        check.code for check in checks if check.verdict is Verdict.SKIP
    }
