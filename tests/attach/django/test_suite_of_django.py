"""Django's own tests of files run on our storages: all pass but those that a list explains."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

import django_suite
from attach.django.conftest import s3_place
from django_suite.program import run_tests, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

EXPECTED = Path(django_suite.__file__).parent / "expected"
KEPT = Path(__file__).resolve().parents[3] / "build" / "django"
MOST = {"handle": 50, "named": 27}
"""The most tests that each list may have."""
AS_ROOT = "file_uploads.tests.DirectoryCreationTests.test_readonly_root"
"""It fails for root, also with Django's own storage."""


def expected_failures(storage: str, place: str) -> dict[str, str]:
    """Return the tests that fail with a storage at a place, each with its reason.

    A table has those that fail only at some places, or that only a later version of Django has.
    """
    listed = tomllib.loads((EXPECTED / f"{storage}.toml").read_text())
    since = listed.pop("since 6.1", {})
    elsewhere = listed.pop("elsewhere than in a directory", {})
    listed |= since if django.VERSION >= (6, 1) else {}
    if os.geteuid() != 0:
        del listed[AS_ROOT]
    return listed | ({} if place == "directory" else elsewhere)


@pytest.mark.parametrize(
    ("storage", "place"),
    [
        ("handle", "seaweedfs"),
        ("named", "directory"),
        *(
            pytest.param(storage, place, marks=pytest.mark.again)
            for storage, place in (
                ("handle", "memory"),
                ("handle", "directory"),
                ("named", "memory"),
                ("named", "seaweedfs"),
            )
        ),
    ],
)
def test_djangos_tests_fail_only_for_the_reasons_listed(
    storage: str,
    place: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    report_figure: Callable[[str], None],
) -> None:
    """A listed test that passes is wrong too: the list must be shortened."""
    environment = {"DJANGO_SUITE_URL": "memory:" if place == "memory" else "directory"}
    if place == "seaweedfs":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        url, keys = s3_place(server)
        environment = {
            "DJANGO_SUITE_URL": url,
            **{f"DJANGO_SUITE_{name.upper()}": str(key) for name, key in keys.items()},
        }
    tests = unpack(django.get_version(), KEPT, tmp_path)
    outcome = run_tests(tests, f"{storage.title()}Storage", environment)
    counts = Counter(outcome.outcomes.values())
    report_figure(
        f"Django {django.get_version()}, {storage} in {place}: {counts['passed']} tests passed, "
        f"{counts['failed']} failed as listed, {counts['skipped']} skipped; "
        f"{len(outcome.touched)} used the storage"
    )
    failed = {name for name, result in outcome.outcomes.items() if result == "failed"}
    assert {*expected_failures(storage, place)} == failed, outcome.output[-20_000:]
    assert len(outcome.touched) >= 70


@pytest.mark.parametrize("storage", ["handle", "named"])
def test_the_lists_stay_short_and_give_reasons(storage: str) -> None:
    """Each reason says what the test needs that an attachment does not have."""
    listed = expected_failures(storage, "memory")
    assert len(listed) <= MOST[storage]
    assert all(listed.values())
