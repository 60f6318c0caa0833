"""What the browser tests share: one browser for each module, one service of each kind for all."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

import attach.azure_storage
import attach.gcs_storage
import attach.s3_storage
from attach.fake_gcs import FakeGCS
from attach.v4_cases import KEY_FILE
from browser.page import BUCKET, Demo, Visit, demo_on_directory, demo_on_s3
from browser.rig import BUNDLES, CHROMIUM, HEADLESS_SHELL, HERE, PlainServer, launch, serving_pages
from programs import BIN, PATIENCE, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from rex.attach.backends.azure.storage import AzureStorage
    from rex.attach.backends.gcs.storage import GCSStorage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS
    from served import Served

NEED_CHROMIUM = [path.name for path in HERE.glob("test_*.py") if path.name != "test_rig.py"]
collect_ignore = [] if CHROMIUM else NEED_CHROMIUM

expect.set_options(timeout=1000 * PATIENCE)


# For a module and no longer: while it runs, nothing else in the process can use asyncio.
@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Run the browser that the module names as its `PROGRAM`, or else the smaller one."""
    with sync_playwright() as playwright:
        yield launch(playwright, program=getattr(request.module, "PROGRAM", HEADLESS_SHELL))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Give a fresh profile."""
    with browser.new_context(accept_downloads=False) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Open an empty page."""
    return context.new_page()


@pytest.fixture(scope="session")
def plain_server() -> Iterator[PlainServer]:
    """Run a server that protects nobody, on another site than the service."""
    with PlainServer().running() as server:
        yield server


@pytest.fixture(scope="session")
def on_directory(
    tmp_path_factory: pytest.TempPathFactory, plain_server: PlainServer
) -> Iterator[Served]:
    """Run the service over a directory."""
    directory = tmp_path_factory.mktemp("on-directory")
    with serving_pages(
        directory, attach_dir=directory / "attachments", attach_origins=plain_server.origin
    ) as served:
        yield served


@pytest.fixture(scope="session")
def s3_storage(seaweedfs: SeaweedFS) -> Iterator[S3Storage]:
    """Give the storage behind the service on SeaweedFS."""
    with attach.s3_storage.s3_storage(
        seaweedfs.bucket,
        endpoint=seaweedfs.endpoint,
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
        prefix="browser",
    ) as storage:
        yield storage


@pytest.fixture(scope="session")
def on_s3(
    tmp_path_factory: pytest.TempPathFactory,
    seaweedfs: SeaweedFS,
    s3_storage: S3Storage,
    plain_server: PlainServer,
) -> Iterator[Served]:
    """Run the service over SeaweedFS."""
    with serving_pages(
        tmp_path_factory.mktemp("on-s3"),
        **seaweedfs.settings(),
        attach_s3_prefix=s3_storage.prefix,
        attach_origins=plain_server.origin,
    ) as served:
        yield served


@pytest.fixture(scope="session")
def azure_storage(azurite: Azurite) -> Iterator[AzureStorage]:
    """Give the storage behind the service on Azurite."""
    with attach.azure_storage.azure_storage(
        azurite.container,
        account=azurite.account,
        endpoint=azurite.endpoint,
        key=azurite.key,
        prefix="browser",
    ) as storage:
        yield storage


@pytest.fixture(scope="session")
def on_azure(
    tmp_path_factory: pytest.TempPathFactory,
    azurite: Azurite,
    azure_storage: AzureStorage,
    plain_server: PlainServer,
) -> Iterator[Served]:
    """Run the service over Azurite, whose account lets both pages in."""
    with serving_pages(
        tmp_path_factory.mktemp("on-azure"),
        **azurite.settings(),
        attach_azure_prefix=azure_storage.prefix,
        attach_origins=plain_server.origin,
    ) as served:
        azure_storage.cors.allow([plain_server.origin, served.url])
        yield served


@pytest.fixture(scope="session")
def google() -> Iterator[FakeGCS]:
    """Run a fake of Google's server."""
    with FakeGCS() as fake:
        yield fake


@pytest.fixture(scope="session")
def gcs_storage(google: FakeGCS) -> Iterator[GCSStorage]:
    """Return the storage behind the service on the fake of Google's server."""
    with attach.gcs_storage.gcs_storage(
        google.bucket, endpoint=google.endpoint, key=str(KEY_FILE), prefix="browser"
    ) as storage:
        yield storage


@pytest.fixture(scope="session")
def on_gcs(
    tmp_path_factory: pytest.TempPathFactory,
    google: FakeGCS,
    gcs_storage: GCSStorage,
    plain_server: PlainServer,
) -> Iterator[Served]:
    """Run the service over the fake of Google's server, whose bucket lets both pages in."""
    with serving_pages(
        tmp_path_factory.mktemp("on-gcs"),
        attach_gcs_bucket=google.bucket,
        attach_gcs_endpoint=google.endpoint,
        attach_gcs_key=KEY_FILE,
        attach_gcs_prefix=gcs_storage.prefix,
        attach_origins=plain_server.origin,
    ) as served:
        gcs_storage.cors.allow([plain_server.origin, served.url])
        yield served


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a script of each page and the client that it uses."""
    built = tmp_path_factory.mktemp("bundles")
    for name in BUNDLES:
        options = ("--bundle", "--format=iife", "--log-level=warning")
        esbuild = HERE / "node_modules/esbuild/bin/esbuild"
        page = HERE / name / "page.js"
        done = run(BIN / "node", esbuild, page, *options, f"--outfile={built / name}.js")
        assert 0 == done.returncode, done.stderr
    return built


@pytest.fixture(scope="session")
def demos(
    tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS
) -> Iterator[dict[str, Demo]]:
    """Serve the demo over a directory, and over SeaweedFS."""
    seaweedfs.create_bucket(BUCKET)
    with (
        demo_on_directory(tmp_path_factory.mktemp("demo-directory")) as on_directory,
        demo_on_s3(tmp_path_factory.mktemp("demo-s3"), seaweedfs, "demo") as on_s3,
    ):
        yield {"directory": on_directory, "s3": on_s3}


@pytest.fixture(params=["directory", "s3"])
def demo(request: pytest.FixtureRequest, demos: dict[str, Demo]) -> Iterator[Demo]:
    """Give the demo over each kind of storage, empty; see afterwards that nothing is left over."""
    served = demos[request.param]
    yield served
    served.relay.release()
    served.clear()
    assert [] == served.garbage()


@pytest.fixture
def visit(page: Page, demo: Demo) -> Iterator[Visit]:
    """Open the page; see afterwards that it said and asked for nothing that it should not."""
    visit = Visit(page, demo)
    visit.open()
    yield visit
    assert [] == visit.strangers
    assert [] == visit.complaints


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a file of 150 MiB of noise, not the same twice."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    chance = random.Random(1)  # noqa: S311 - noise
    with path.open("wb") as file:
        for _ in range(150):
            file.write(chance.randbytes(1024 * 1024))
    return path
