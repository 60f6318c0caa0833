"""A Django site as the browser tests see it: served over both kinds of storage, and looked at."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from attach.s3_storage import s3_storage
from browser.examples import EXAMPLES
from browser.relay import Relay, relaying
from browser.rig import HERE
from programs import BIN, run
from rex.attach import open_storage
from served import HOST, PORT, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

BUCKET = "django"
USERS = ("ann", "bob")
PASSWORD = "a password"

AXE = HERE / "node_modules/axe-core/axe.min.js"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

EXAMPLE = "files"
"""The module of the example."""

TESTS = Path(__file__).parents[1]
ELEMENT = "rex-upload"


class Site:
    """A served site, with a relay in front of what takes the bytes of its uploads."""

    def __init__(self, served: Served, app: Relay, relay: Relay, storage: Storage) -> None:
        self._served = served
        self.url = app.url
        self.relay = relay
        """In front of the S3 server, or of Django."""
        self.storage = storage

    @property
    def is_direct(self) -> bool:
        """Whether the server of the storage gets the bytes of an upload."""
        return self.relay.url != self.url

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        with closing(http.client.HTTPConnection(HOST, self._served.port)) as connection:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def received(self) -> int:
        """Return the bytes of all bodies that Django received."""
        count: int = self.get("/received")
        return count

    def papers(self) -> list[list[Any]]:
        """Return the key, the title and the name of each paper."""
        papers: list[list[Any]] = self.get("/papers/")["papers"]
        return papers

    def names(self) -> list[str]:
        """Return the file names in the storage, sorted."""
        return sorted(handle.rpartition("/")[2] for handle in self.storage)


@contextmanager
def site_on_directory(directory: Path, module: str) -> Iterator[Site]:
    """Serve a project over a directory."""
    place = directory / "attachments"
    with (
        relaying() as app,
        _serving(directory, module, app, attach_dir=place) as served,
        open_storage(place) as storage,
    ):
        storage.check()
        yield Site(served, app, app, storage)


@contextmanager
def site_on_s3(directory: Path, module: str, server: SeaweedFS) -> Iterator[Site]:
    """Serve a project over SeaweedFS, which browsers reach through a relay of its own."""
    with (
        relaying(int(server.endpoint.rpartition(":")[2])) as relay,
        relaying() as app,
        s3_storage(
            BUCKET,
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
            prefix=directory.name,
        ) as storage,
    ):
        others = {origin for rule in storage.cors.rules() for origin in rule["AllowedOrigins"]}
        storage.cors.allow([*others, app.url])
        given = {
            **server.settings(),
            "attach_s3_bucket": BUCKET,
            "attach_s3_prefix": directory.name,
            "attach_s3_public_endpoint": relay.url,
            "site_connect": relay.url,
        }
        with _serving(directory, module, app, **given) as served:
            yield Site(served, app, relay, storage)


@contextmanager
def _serving(directory: Path, module: str, app: Relay, **given: object) -> Iterator[Served]:
    """Make the database and its users, and run gunicorn behind a relay."""
    settings = {
        **given,
        "django_settings_module": f"{module}.settings",
        "django_superuser_password": PASSWORD,
        "app_secret_key": "secret",
        "pythonpath": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    if module == EXAMPLE:
        left_out = shutil.ignore_patterns("__pycache__", "migrations")
        shutil.copytree(EXAMPLES / "django" / module, directory / module, ignore=left_out)
    commands: list[tuple[str, ...]]
    commands = [("makemigrations", module)] if module == EXAMPLE else []
    commands += [("migrate", "--run-syncdb")]
    commands += [
        ("createsuperuser", "--noinput", f"--username={user}", f"--email={user}@example.org")
        for user in USERS
    ]
    for command in commands:
        done = run(BIN / "python", "-m", "django", *command, directory=directory, settings=settings)
        assert 0 == done.returncode, done.stderr
    options = ("--threads=8", "--no-control-socket", f"--bind={HOST}:{PORT}")
    program = [BIN / "gunicorn", *options, f"{module}.wsgi:application"]
    with serving(program, directory, settings) as served:
        app.target = served.port
        yield served


class Visitor:
    """A user in a browser of their own, and all that its page complains of."""

    def __init__(self, context: BrowserContext, site: Site, name: str = "") -> None:
        self.context = context
        self.site = site
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.may_fail = False
        """Whether requests may fail, of which the browser complains."""
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if name:
            self._log_in(name)

    def _log_in(self, name: str) -> None:
        self.open("/admin/login/?next=/papers/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/papers/")

    def open(self, path: str) -> None:
        """Go to a page of the site."""
        self.page.goto(f"{self.site.url}{path}")

    def choose(self, name: str, content: bytes, *, at: Locator | None = None) -> None:
        """Choose a file in a field, by default the only one."""
        field = at or self.page.locator("input[type=file]:visible")
        field.set_input_files(
            {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        )

    def expect_states(self, *states: str) -> None:
        """Wait until the uploads in the page have these states."""
        rows = self.page.locator(f"{ELEMENT} [role=listitem]:visible")
        expect(rows).to_have_count(len(states))
        for row, state in zip(rows.all(), states, strict=True):
            expect(row).to_have_attribute("data-state", state)

    def upload(self, name: str, content: bytes) -> None:
        """Choose a file, and wait until it is uploaded."""
        self.choose(name, content)
        self.expect_states("uploaded")

    def tokens(self) -> list[str]:
        """Return the tokens that the form would send."""
        found: list[str] = self.page.locator(f"{ELEMENT} input[type=hidden]").evaluate_all(
            "inputs => inputs.map(({ value }) => value)"
        )
        return found

    def violations(self) -> list[str]:
        """Return what axe finds wrong with the elements; the rest of the page is not ours.

        The page must not have complained before; axe itself breaks the policy of the admin.
        """
        assert [] == self.complaints
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("rules => axe.run('rex-upload', rules)", RULES)
        self.complaints.clear()
        assert found["passes"]
        return [
            f"{broken['id']}: {node['html']}"
            for broken in found["violations"]
            for node in broken["nodes"]
        ]

    def save(self) -> None:
        """Send the form, and wait for the next page."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Save", exact=True).click()

    def _note(self, message: ConsoleMessage) -> None:
        is_failure = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not (is_failure and self.may_fail):
            self.complaints.append(f"{message.text} ({message.location['url']})")
