"""The applications in `examples/`: how long they are, and what checks them without a browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from browser.examples import COMMANDS
from programs import run

ROOT = Path(__file__).parents[1]
APPLICATIONS = ("fastapi", "flask")
MAX_LINES = 40


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_has_at_most_40_lines(name: str) -> None:
    """Its only module; the page and its script are not counted, blank lines neither."""
    modules = [*(ROOT / "examples" / name).glob("**/*.py")]
    assert [ROOT / "examples" / name / "app.py"] == modules
    lines = [line for line in modules[0].read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= 100 + len("  # type: ignore[dict-item]")


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_started_as_its_page_says(name: str) -> None:
    """By the command of the browser tests, which add a port."""
    page = (ROOT / "examples" / name / "README.md").read_text("utf-8")
    assert f"\n$ ATTACH_DIR=./attachments {COMMANDS[name]}\n" in page


def test_the_application_on_django_has_less_than_100_lines() -> None:
    """All its modules, without the templates; blank lines are not counted."""
    modules = (ROOT / "examples/django").glob("**/*.py")
    texts = [path.read_text("utf-8") for path in modules if "migrations" not in path.parts]
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) < 100


def test_ceph_names_the_packages_that_are_missing(tmp_path: Path) -> None:
    """With the command that installs them, before anything is started."""
    (tmp_path / "ceph").touch(mode=0o755)
    program = (sys.executable, ROOT / "examples/ceph/ceph.py")
    done = run(*program, settings={"path": tmp_path, "tmpdir": tmp_path})
    assert (1, "") == (done.returncode, done.stdout)
    assert "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw" in done.stderr
    assert ["ceph"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.long
def test_a_strict_type_checker_accepts_the_applications(tmp_path: Path) -> None:
    """As that of a developer who copies one, without the settings of this project."""
    for name in APPLICATIONS:
        checker = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir")
        done = run(*checker, tmp_path, ROOT / "examples" / name / "app.py", directory=tmp_path)
        assert 0 == done.returncode, done.stdout


def test_the_page_uses_the_packages_that_are_tested() -> None:
    """In the versions that the lock file of the browser tests pins."""
    page = json.loads((ROOT / "examples/page/package.json").read_text("utf-8"))
    tests = ROOT / "tests/browser"
    pinned = {
        **json.loads((tests / "package.json").read_text("utf-8"))["devDependencies"],
        **json.loads((tests / "uppy6/package.json").read_text("utf-8"))["dependencies"],
    }
    del pinned["axe-core"]
    assert pinned == page["dependencies"]
