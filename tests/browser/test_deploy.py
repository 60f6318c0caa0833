"""The page of deploy/ in a browser: nginx with TLS, PostgreSQL, SeaweedFS and the application.

The processes are those of deploy/compose.yaml, with its configuration, outside containers.
"""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
import pytest
from playwright.sync_api import HttpCredentials, expect

from browser.page import go_through_the_demo
from processes import APP, DEPLOY, FILES, Deployment, missing_programs
from programs import REX, run
from served import HOST, UNVERIFIED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

__all__ = ["LEFT_OUT"]

LEFT_OUT = tuple(f"the services of deploy/ (need Debian's {name})" for name in missing_programs())
COMPOSED = [] if LEFT_OUT else ["compose.yaml"]


@pytest.fixture(scope="module", params=COMPOSED)
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Run the services of a compose file, where the user of PostgreSQL may go."""
    with (
        TemporaryDirectory(prefix="rex-deploy-", dir="/tmp") as directory,
        Deployment(DEPLOY / request.param, Path(directory)) as deployment,
    ):
        yield deployment


@pytest.fixture
def page(browser: Browser, deployment: Deployment) -> Iterator[Page]:
    """Open the page as the user who has logged in at nginx."""
    with browser.new_context(
        ignore_https_errors=True, http_credentials=login(deployment)
    ) as context:
        page = context.new_page()
        page.goto(deployment.origin)
        yield page


def login(deployment: Deployment) -> HttpCredentials:
    """Return what a user types at nginx."""
    return HttpCredentials(username=deployment.user, password=deployment.password)


def test_a_file_is_uploaded_listed_downloaded_and_removed(
    page: Page, deployment: Deployment, tmp_path: Path
) -> None:
    """It goes to the S3 server through nginx, a row to PostgreSQL, none to nginx's disk."""
    content = bytes(range(256)) * 8192
    file = tmp_path / "scan ü.bin"
    file.write_bytes(content)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    files = deployment.origin.replace("app.", "files.")
    with page.expect_response(lambda response: response.url.startswith(f"{files}/")) as sent:
        page.get_by_label("Upload files").set_input_files(file)
    assert 204 == sent.value.status
    expect(page.get_by_role("status")).to_have_text("Stored scan ü.bin")
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="scan ü.bin").click()
    assert content == downloaded.value.path().read_bytes()
    assert downloaded.value.url.startswith(f"{files}/attachments/20")
    assert [("ann", len(content))] == rows(deployment)
    page.get_by_role("button", name="Remove scan ü.bin").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    assert [] == rows(deployment)
    assert [] == complaints
    logged = (deployment.directory / "nginx" / "log").read_text()
    assert "temporary file" not in logged, logged


def test_only_users_reach_the_application_and_only_links_the_server(
    deployment: Deployment,
) -> None:
    """Neither a header of a client nor the address of the bucket helps."""
    paths = ("/", "/files", "/attach/", "/health")
    assert dict.fromkeys(paths, 401) == {path: status(deployment, APP, path) for path in paths}
    expected = {"/": 404, "/attachments": 404, "/attachments/": 403, "/attachments/a": 403}
    assert expected == {path: status(deployment, FILES, path) for path in expected}


def status(deployment: Deployment, name: str, path: str) -> int:
    """Return the status of a response to a client who claims to be a user."""
    port = deployment.port("nginx", 8443)
    headers = {"Host": f"{name}:{port}", "X-Remote-User": "ann"}
    connection = http.client.HTTPSConnection(HOST, port, context=UNVERIFIED)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


def test_commands_run_beside_the_application(deployment: Deployment) -> None:
    """With its settings; its keys suffice for all that the doctor tries."""
    settings = {
        **deployment.settings(),
        # Names below localhost are known to browsers only.
        "attach_s3_public_endpoint": "",
    }
    done = run(REX, "attach", "doctor", settings=settings)
    assert 0 == done.returncode, done.stdout
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize("compose", COMPOSED)
def test_the_demo_page_can_be_the_application(
    browser: Browser, compose: str, tmp_path: Path
) -> None:
    """Its bytes go to the S3 server through nginx, of a large file in parts."""
    file = tmp_path / "scan ü.bin"
    file.write_bytes(bytes(range(256)) * 4096 * 17)
    with (
        TemporaryDirectory(prefix="rex-deploy-", dir="/tmp") as directory,
        Deployment(DEPLOY / compose, Path(directory), demo=True) as deployment,
        browser.new_context(
            ignore_https_errors=True, http_credentials=login(deployment)
        ) as context,
    ):
        called = go_through_the_demo(context, deployment.origin, file)
    files = deployment.origin.replace("app.", "files.")
    assert [url for url in called if url.startswith(files) and "partNumber=2&" in url]


def rows(deployment: Deployment) -> list[tuple[str, int]]:
    """Return the rows of the application's table, as its user."""
    url = deployment.settings()["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        return connection.execute("select owner, size from files order by id").fetchall()
