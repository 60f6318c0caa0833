"""Applications that find their files by names: what works on each storage, and what says so."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from attach.django import project
from attach.django.conftest import s3_place
from programs import started

if TYPE_CHECKING:
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

TESTS = Path(__file__).resolve().parents[2]
THUMBNAILERS = ("easy_thumbnails", "sorl", "imagekit")


def run(alias: str, url: str, options: dict[str, object]) -> dict[str, Any]:
    """Run them all on one of the storages."""
    task = {"alias": alias, "storages": project.storages_at(url, **options)}
    command = (sys.executable, "-m", "attach.django.witnesses", json.dumps(task))
    search = os.pathsep.join((str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])))
    with started(*command, settings={"pythonpath": search}) as program:
        output, errors = program.communicate()
    assert program.returncode == 0, errors
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


@pytest.fixture(params=["memory", "seaweedfs"])
def place(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Return where the storages are, and their options."""
    if request.param == "memory":
        return "memory:", {}
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    return s3_place(server)


def test_where_names_are_kept_each_finds_its_files_again(
    place: tuple[str, dict[str, object]],
) -> None:
    """A second time, nothing is made or copied; and no check complains."""
    found = run("named", *place)
    for name in THUMBNAILERS:
        assert found[name]["found"] is True
        assert found[name]["status"] == 200
    assert [1, 1] == found["imagekit"]["objects"]
    assert [1, 1] == found["easy_thumbnails"]["objects"]
    assert [1, 1] == found["sorl"]["objects"]
    assert [2, 2] == found["collectstatic"]["objects"]
    assert found["collectstatic"]["found"] is True
    assert found["collectstatic"]["status"] == 200
    assert "0 static files copied, 2 unmodified." == found["collectstatic"]["words"]
    assert [] == found["checks"]


def test_where_names_are_handles_the_checks_name_each_that_loses_its_files(
    place: tuple[str, dict[str, object]],
) -> None:
    """Two do not find what they stored, and two store it again each time."""
    found = run("default", *place)
    for name in ("easy_thumbnails", "imagekit", "collectstatic"):
        assert found[name]["found"] is False
        assert found[name]["status"] == 404
    assert [1, 2] == found["imagekit"]["objects"]
    assert [1, 2] == found["sorl"]["objects"]
    assert [2, 4] == found["collectstatic"]["objects"]
    assert ["rex_attach.E002", *["rex_attach.W003"] * 3] == found["checks"]
