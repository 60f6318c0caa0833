"""What is installed: the wheel, what importing it costs, and its public surface."""

from __future__ import annotations

import importlib
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from programs import run

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "rex.core": [
        "Error",
        "Kind",
        "Package",
        "Rex",
        "Secret",
        "Setting",
        "Settings",
        "get_rex",
        "get_settings",
        "typed",
    ],
    "rex.attach": [
        "Info",
        "PresignedLink",
        "Reader",
        "Storage",
        "get_storage",
        "open_storage",
    ],
    "rex.attach_demo": ["package"],
}

VERBS = [
    "abilities",
    "add",
    "aio",
    "check",
    "close",
    "cors",
    "download_link",
    "garbage",
    "info",
    "init",
    "is_owned_by",
    "is_untouched",
    "lifecycle",
    "list",
    "map_errors",
    "multipart",
    "open",
    "put",
    "read_cached",
    "remove",
    "reserve",
    "stat",
    "tokens",
    "unknown_keys",
    "upload_link",
    "uploads",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from the sources as they stand."""
    directory = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir")
    done = run(*command, directory, ROOT, settings=os.environ)  # which tells npm where to fetch
    assert 0 == done.returncode, done.stderr
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_leaves_the_namespace_open(wheel: Path) -> None:
    """There is no `rex/__init__.py`, so that other distributions can be parts of `rex`."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "rex/__init__.py" not in names
    assert {"rex/core/py.typed", "rex/attach/py.typed", "rex/attach_demo/py.typed"} <= set(names)


def test_the_wheel_brings_the_page(wheel: Path) -> None:
    """With what it uploads with, and its licences, so that nobody who installs it needs node."""
    names = zipfile.ZipFile(wheel).namelist()
    static = "rex/attach_demo/static"
    page = {f"{static}/{name}" for name in ("main.js", "style.css", "uppy.js")}
    assert {"rex/attach_demo/index.html", f"{static}/uppy.js.LICENSES.txt", *page} <= set(names)
    script = zipfile.ZipFile(wheel).read(f"{static}/uppy.js")
    assert b"export{" in script
    licences = zipfile.ZipFile(wheel).read(f"{static}/uppy.js.LICENSES.txt").decode()
    for packed in ("@uppy/core", "@uppy/aws-s3", "@uppy/tus", "tus-js-client", "mime-match"):
        assert f"== {packed} " in licences


def test_the_wheel_works_elsewhere_without_any_other_package(wheel: Path, tmp_path: Path) -> None:
    """A bare installation keeps attachments in a directory, and says what S3 and `rex` need."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = """
import sys, runpy
from rex.core import Error, Rex
from rex.attach import get_storage
with Rex("rex.attach_demo", attach_dir=sys.argv[1]):
    storage = get_storage()
    assert storage.open(storage.add("a.txt", b"content")).read() == b"content"
try:
    Rex("rex.attach", attach_s3_bucket="bucket")
except Error as error:
    print(error.message, error.payload)
from rex.core.cli import main
sys.argv[1:] = ["settings"]
main()
"""
    program = f"import sys; sys.path[:0] = [{str(site)!r}]\n{program}"
    done = run(sys.executable, "-I", "-S", "-c", program, tmp_path / "attachments")
    assert "pip install 'rex-attach[s3]'" in done.stdout
    assert (2, "rex: the commands need click: pip install 'rex-attach[cli]'\n") == (
        done.returncode,
        done.stderr,
    )


def test_importing_attachments_imports_nothing_heavy() -> None:
    """Neither obstore, botocore, click, asyncio nor any web framework."""
    program = "import sys, json, rex.attach; print(json.dumps(sorted(sys.modules)))"
    done = run(sys.executable, "-c", program)
    heavy = {
        "asyncio",
        "botocore",
        "click",
        "hashlib",
        "importlib.metadata",
        "logging",
        "obstore",
        "pathlib",
        "requests",
        "starlette",
        "urllib.parse",
        "urllib.request",
        "uuid",
    }
    assert set() == heavy & set(json.loads(done.stdout))


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_surface_is_pinned(module: str) -> None:
    """What a module offers is what its `__all__` says, and that changes on purpose only."""
    imported = importlib.import_module(module)
    assert PUBLIC[module] == sorted(imported.__all__)
    assert [] == [name for name in imported.__all__ if not hasattr(imported, name)]


def test_the_verbs_are_pinned() -> None:
    """The public names of a storage, the same on every kind."""
    from rex.attach import Storage
    from rex.attach.backends.local.storage import LocalStorage

    assert VERBS == [name for name in dir(Storage) if not name.startswith("_")]
    assert VERBS == [name for name in dir(LocalStorage) if not name.startswith("_")]


def test_committed_files_name_no_machine() -> None:
    """The lock file carries versions and hashes, and no addresses."""
    lock = (ROOT / "constraints.txt").read_text("utf-8")
    assert "://" not in lock
    assert "--hash=sha256:" in lock
