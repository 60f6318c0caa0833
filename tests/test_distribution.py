"""What is installed: the wheel, what importing it costs, and its public surface."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from programs import run

ROOT = Path(__file__).parents[1]

SERVE = "import sys; from rex.core.cli import main; sys.argv[1:] = ['serve']; main()"

PUBLIC = {
    "rex.core": [
        "Error",
        "Kind",
        "Package",
        "Rex",
        "RexMiddleware",
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
        "StoredUpload",
        "UploadRequest",
        "get_storage",
        "open_storage",
    ],
    "rex.attach.checks": [
        "Check",
        "CheckedUpload",
        "all_of",
        "clamd",
        "content_type",
        "image_size",
    ],
    "rex.attach.fastapi": ["AttachmentResponse", "Attachments", "FORM_BODY", "Files", "Handle"],
    "rex.attach.testing": [
        "Answer",
        "BrowserRefused",
        "Leak",
        "Leaks",
        "SeaweedFS",
        "Storage",
        "UploadVia",
    ],
    "rex.attach_demo": ["package"],
}

VERBS = [
    "abilities",
    "add",
    "aio",
    "begin",
    "check",
    "claim",
    "close",
    "cors",
    "download_link",
    "download_links",
    "garbage",
    "handle_of_key",
    "info",
    "init",
    "is_owned_by",
    "is_untouched",
    "key_of_handle",
    "lifecycle",
    "list",
    "map_errors",
    "multipart",
    "notify",
    "open",
    "prefix",
    "public_url",
    "put",
    "read_cached",
    "receipt",
    "remove",
    "reserve",
    "stat",
    "tokens",
    "unknown_keys",
    "upload_link",
    "uploads",
    "zip",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as `make dist` does, from the sources as they stand."""
    directory = tmp_path_factory.mktemp("wheel")
    page = run(sys.executable, ROOT / "tools" / "build_page.py", settings=os.environ)
    assert 0 == page.returncode, page.stderr  # the environment tells npm where to fetch
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir")
    done = run(*command, directory, ROOT)
    assert 0 == done.returncode, done.stderr
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_leaves_the_namespace_open(wheel: Path) -> None:
    """There is no `rex/__init__.py`, so that other distributions can be parts of `rex`.

    Beside it is only the entry point of pytest, which says why.
    """
    names = zipfile.ZipFile(wheel).namelist()
    assert "rex/__init__.py" not in names
    assert {"rex", "rex_attach_pytest.py"} == {
        name.partition("/")[0] for name in names if ".dist-info/" not in name
    }
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


def test_sources_without_the_page_are_installed_without_npm(tmp_path: Path) -> None:
    """As from a git checkout: nothing is fetched, and serving the page says what is missing."""
    sources, site = tmp_path / "sources", tmp_path / "site"
    left_out = shutil.ignore_patterns("uppy.js*", "__pycache__")
    for name in ("src", "tools"):
        shutil.copytree(ROOT / name, sources / name, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    bare = {"path": tmp_path}
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = run(sys.executable, "-c", build, tmp_path, directory=sources, settings=bare)
    assert 0 == done.returncode, done.stderr
    zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).extractall(site)
    (tmp_path / "rex.toml").write_text('packages = ["rex.attach_demo"]')
    settings = {"pythonpath": site, "attach_dir": tmp_path / "attachments"}
    served = run(sys.executable, "-c", SERVE, directory=tmp_path, settings=settings)
    assert (9, True) == (served.returncode, "make page" in served.stderr), served.stderr


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


def test_the_wheel_brings_a_plugin_that_leaves_other_modules_alone(
    wheel: Path, tmp_path: Path
) -> None:
    """Pytest loads it, and rewrites no assertions of the project's modules `core` and `attach`."""
    site, project = tmp_path / "site", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(site)
    project.mkdir()
    for name in ("core", "attach"):
        (project / f"{name}.py").write_text('"""A module of the application."""')
    (project / "test_project.py").write_text(
        """
import attach, core, rex_attach_pytest
from _pytest.assertion.rewrite import AssertionRewritingHook

def test_plugin(attach_storage):
    assert not list(attach_storage)

def test_modules():
    loaders = [module.__spec__.loader for module in (attach, core)]
    assert not [each for each in loaders if isinstance(each, AssertionRewritingHook)]
"""
    )
    # Without the entry point's module, pytest would also warn that it came too late for `core`.
    program = (
        "import core, pytest; raise SystemExit(pytest.main(['-Werror', '-pno:cacheprovider']))"
    )
    done = run(sys.executable, "-c", program, directory=project, settings={"pythonpath": site})
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_command_imports_no_other_command(tmp_path: Path) -> None:
    """Nor what only another command needs: a server, maintenance, the reasons of `explain`."""
    program = """
import atexit, json, sys
from rex.core.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
main()
"""
    settings = {"attach_dir": tmp_path / "attachments"}
    done = run(sys.executable, "-c", program, "attach", "init", settings=settings)
    assert 0 == done.returncode, done.stderr
    done = run(sys.executable, "-c", program, "attach", "ls", settings=settings)
    loaded = set(json.loads(done.stdout))
    assert "rex.attach.cli.attach" in loaded
    others = ("add", "copy", "cors", "doctor", "explain", "files", "links", "sweep", "verify")
    unneeded = {f"rex.attach.cli.{name}" for name in others} | {
        "asyncio",
        "concurrent.futures",
        "granian",
        "obstore",
        "rex.attach.explain",
        "rex.attach.links.sigv4",
        "rex.attach.maintenance",
        "rex.attach.storage.resumable",
        "rex.core.serve_command",
        "rex.core.settings_command",
        "ssl",
        "starlette",
        "tomllib",
    }
    assert set() == loaded & unneeded


def test_importing_attachments_imports_nothing_heavy() -> None:
    """Neither obstore, botocore, click, asyncio nor any web framework."""
    program = "import sys, json; from rex.attach import *; print(json.dumps(sorted(sys.modules)))"
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
