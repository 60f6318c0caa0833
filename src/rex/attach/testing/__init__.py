"""The plugin of pytest: storages, a throwaway S3 server, uploads as a browser, leaks.

pytest loads this module in every project that has rex.attach installed, so it imports what a
fixture needs when the fixture is first used. No fixture is automatic.

PYTEST_DONT_REWRITE: there is no assertion here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from rex.attach.lazy import importer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach.links.client import Answer
    from rex.attach.storage import Storage
    from rex.attach.testing.browser import BrowserRefused, UploadVia
    from rex.attach.testing.leaks import Leak, Leaks
    from rex.attach_demo.seaweedfs import SeaweedFS
else:  # a type checker would accept any name
    __getattr__ = importer(
        __name__,
        {
            "Answer": "rex.attach.links.client",
            "BrowserRefused": "rex.attach.testing.browser",
            "Leak": "rex.attach.testing.leaks",
            "Leaks": "rex.attach.testing.leaks",
            "SeaweedFS": "rex.attach_demo.seaweedfs",
            "Storage": "rex.attach.storage",
            "UploadVia": "rex.attach.testing.browser",
        },
    )

__all__ = ["Answer", "BrowserRefused", "Leak", "Leaks", "SeaweedFS", "Storage", "UploadVia"]

_OPENED = pytest.StashKey["list[Storage]"]()
_LEAKS = pytest.StashKey["Leaks"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the plugin."""
    parser.getgroup("rex.attach", "attachments (rex.attach)").addoption(
        "--attach-require-s3",
        action="store_true",
        help="fail the tests that use attach_s3 if its packages are missing (default: skip them)",
    )


@pytest.fixture
def attach_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Open an empty storage in memory."""
    yield from _opened(request, "memory:")


@pytest.fixture
def attach_directory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """Open an empty storage in a temporary directory (`storage.directory`)."""
    yield from _opened(request, tmp_path_factory.mktemp("attachments"))


@pytest.fixture(scope="session")
def attach_s3_server(pytestconfig: pytest.Config) -> Iterator[SeaweedFS]:
    """Run a throwaway S3 server: one for each process of the test run, so for each xdist worker.

    Besides the administrator, the server knows the identities ``reader``, which may read and list,
    and ``nobody``, which has no permissions. A test that changes the rules of a bucket makes its
    own with `create_bucket`. Without the packages for it the tests are skipped, or fail with
    ``--attach-require-s3``.
    """
    from rex.attach_demo.seaweedfs import READ_ONLY, SeaweedFS

    with (
        _required(pytestconfig),
        SeaweedFS(identities={"reader": READ_ONLY, "nobody": ()}) as server,
    ):
        yield server


@pytest.fixture
def attach_s3(request: pytest.FixtureRequest, attach_s3_server: SeaweedFS) -> Iterator[Storage]:
    """Open an empty storage on the throwaway S3 server, behind a prefix of the test."""
    from uuid import uuid4

    options = {
        name.removeprefix("attach_s3_"): value
        for name, value in attach_s3_server.settings().items()
    }
    place = f"s3://{options.pop('bucket')}/{uuid4()}"
    with _required(request.config):
        yield from _opened(request, place, **options)


@pytest.fixture(scope="session")
def upload_via() -> UploadVia:
    """Return the function that uploads by a link as a page in a browser does."""
    from rex.attach.testing.browser import upload_via

    return upload_via


@pytest.fixture
def attach_leaks(request: pytest.FixtureRequest) -> Leaks:
    """Fail the test if it leaves orphans or unfinished uploads in its storages.

    The check runs after the test function, before any fixture ends. In a unittest class it runs
    after `tearDown` and the cleanups of the test, and before Django rolls back.
    """
    from rex.attach.testing.leaks import Leaks

    leaks = Leaks(request.node.stash.setdefault(_OPENED, []))
    case = request.instance
    if hasattr(case, "addCleanup"):
        leaks.start()
        case.addCleanup(_check_case, request.node, leaks)
    else:
        request.node.stash[_LEAKS] = leaks
    return leaks


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Record for `attach_leaks` what the fixtures of the test have stored."""
    leaks = item.stash.get(_LEAKS, None)
    if leaks is not None:
        leaks.start()


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Check for leaks after a test that has passed: pytest does not call this after a failure."""
    leaks = item.stash.get(_LEAKS, None)
    if leaks is not None:
        leaks.check()


def _check_case(item: pytest.Item, leaks: Leaks) -> None:
    """Check for leaks after a test of a unittest class, unless it has failed."""
    # unittest calls the cleanups of a failed test too. Neither it nor pytest has a public name for
    # the failures so far; without this one, a failure would be reported with its leaks.
    if not getattr(item, "_excinfo", None):
        leaks.check()


def _opened(
    request: pytest.FixtureRequest, place: str | Path, **options: object
) -> Iterator[Storage]:
    from rex.attach.opening import open_storage

    with open_storage(place, **options) as storage:
        request.node.stash.setdefault(_OPENED, []).append(storage)
        yield storage


@contextmanager
def _required(config: pytest.Config) -> Iterator[None]:
    """Skip the test if packages for S3 are missing, or fail it if they are required."""
    from rex.core.error import Error

    try:
        yield
    except Error as error:
        if error.code != "missing-package":
            raise
        reason = f"attach_s3 needs packages: {error.message}: {error.payload}"
    else:
        return
    if config.getoption("attach_require_s3"):
        pytest.fail(f"{reason} (required by --attach-require-s3)", pytrace=False)
    pytest.skip(reason)  # the test of a host project, whose environment lacks the extra
