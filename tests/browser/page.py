"""The page of the demo as its tests see it: served over both kinds of storage, and looked at."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests
from playwright.sync_api import expect

from attach.harnesses import LocalHarness, S3Harness
from attach.s3_storage import s3_storage
from browser.relay import Relay, relaying
from programs import PATIENCE
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.handle import parse_handle
from served import PAUSE_SECONDS, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request

    from rex.attach import Storage
    from rex.attach.conformance import Harness
    from rex.attach_demo.seaweedfs import SeaweedFS

BUCKET = "page"
AT_ONCE = 100
"""How many files a request to the page may name."""
ASKED_ABOVE = 10_000_000
"""The size of a file in bytes above which the page asks before it removes it."""
READER = "chrome-extension://"
"""Where the browser's own reader of PDF is."""

DROP = """
(names) => {
  const data = new DataTransfer()
  for (const name of names) data.items.add(new File([name.repeat(100)], name))
  const zone = document.getElementById('drop')
  for (const type of ['dragover', 'drop']) {
    zone.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }))
  }
}
"""
"""Drop small files on the page."""

PATIENT = """
const [start, limit] = [setTimeout, AbortSignal.timeout.bind(AbortSignal)]
globalThis.setTimeout = (act, ...more) => act.name === 'endToast' ? 0 : start(act, ...more)
AbortSignal.timeout = (wait) => limit(100 * wait)
"""
"""Keeps a message until it is answered, and waits longer than a second for a page that ends.

A machine with other things to do may need more time for that than the page gives a user.
"""


class Demo:
    """The demo served over a storage, with a relay in front of whatever takes the bytes."""

    def __init__(
        self, service: Served, relay: Relay, app: Relay, storage: Storage, harness: Harness
    ) -> None:
        self.service = service
        self.relay = relay
        """In front of the server that gets the files: of S3, or of the application."""
        self.app = app
        """In front of the application."""
        self.storage = storage
        self.url = f"{app.url}/attach_demo/"
        self._harness = harness

    def add(self, *files: tuple[str, bytes]) -> list[str]:
        """Store files, and list them as the page does with an upload; return their handles."""
        handles = [self.storage.add(name, content) for name, content in files]
        for chunk in batched(handles):
            answer = requests.post(f"{self.url}files", json={"claims": chunk}, timeout=PATIENCE)
            assert {"refused": []} == answer.json()
        return handles

    def names(self) -> list[str]:
        """Give the names of the attachments, in the order of the alphabet."""
        return sorted(parse_handle(handle).name for handle in self.storage)

    def digest(self, name: str) -> str:
        """Give the SHA-256 of the only attachment of a name."""
        (handle,) = (handle for handle in self.storage if handle.endswith(f"/{name}"))
        with self.storage.open(handle) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def garbage(self) -> list[str]:
        """Return what is there and is no attachment, once what the page still asked for is done."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._harness.garbage(self.storage)) and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        return found

    def clear(self) -> None:
        """Remove all files of the list, and all attachments."""
        listed = requests.get(f"{self.url}files", {"limit": 9999}, timeout=PATIENCE).json()["files"]
        for chunk in batched([file["handle"] for file in listed]):
            url = f"{self.url}files"
            requests.delete(url, json={"handles": chunk}, timeout=PATIENCE).raise_for_status()
        for handle in self.storage:
            self.storage.remove(handle)


def go_through_the_demo(context: BrowserContext, origin: str, file: Path) -> list[str]:
    """Upload a file with the demo page, see it listed, download and remove it.

    Return the addresses that the browser called.
    """
    called: list[str] = []
    complaints: list[str] = []
    page = context.new_page()
    page.add_init_script(PATIENT)
    page.on("request", lambda request: called.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{origin}/attach_demo")
    page.set_input_files("#files", file)
    expect(page.locator("#stored .name")).to_have_text([file.name])
    with page.expect_download() as downloaded:
        page.get_by_label(f"Download {file.name}", exact=True).click()
    assert file.read_bytes() == downloaded.value.path().read_bytes()
    page.get_by_label(f"More for {file.name}", exact=True).click()
    page.get_by_role("menuitem", name="Remove").click()
    if file.stat().st_size > ASKED_ABOVE:
        page.locator("#confirm").get_by_role("button", name="Remove").click()
    with page.expect_response(lambda response: response.request.method == "DELETE") as removed:
        page.get_by_role("button", name="Dismiss").click()
    assert 1 == len(removed.value.json()["removed"])
    page.reload()
    expect(page.locator("#empty")).to_have_text("No files yet.")
    assert [] == complaints
    return [*called, downloaded.value.url]


def batched(handles: list[str]) -> Iterator[list[str]]:
    """Yield as many handles as a request may have."""
    for start in range(0, len(handles), AT_ONCE):
        yield handles[start : start + AT_ONCE]


@contextmanager
def demo_on_directory(directory: Path, **settings: object) -> Iterator[Demo]:
    """Serve the demo over a directory."""
    place = directory / "attachments"
    with relaying() as app:
        url = f"{app.url}/attach"
        with _serving(directory, app, attach_dir=place, attach_url=url, **settings) as service:
            yield Demo(service, app, app, LocalStorage(str(place)), LocalHarness())


@contextmanager
def demo_on_s3(
    directory: Path, server: SeaweedFS, prefix: str, **settings: object
) -> Iterator[Demo]:
    """Serve the demo over SeaweedFS, which browsers reach through a relay of its own."""
    given = {
        **server.settings(),
        "attach_s3_bucket": BUCKET,
        "attach_s3_prefix": prefix,
        "attach_redirect": "true",
    }
    with (
        relaying(int(server.endpoint.rpartition(":")[2])) as relay,
        relaying() as app,
        s3_storage(
            BUCKET,
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
            prefix=prefix,
        ) as storage,
    ):
        others = {origin for rule in storage.cors.rules() for origin in rule["AllowedOrigins"]}
        storage.cors.allow([*others, app.url])
        given["attach_s3_public_endpoint"] = relay.url
        with _serving(directory, app, **given, **settings) as service:
            yield Demo(service, relay, app, storage, S3Harness(server))


@contextmanager
def _serving(directory: Path, app: Relay, **settings: object) -> Iterator[Served]:
    """Run `rex serve` behind a relay, which may hold an upload up for long."""
    (directory / "rex.toml").write_text('packages = ["rex.attach_demo"]\n')
    with rex_serving(directory, attach_stall_timeout=PATIENCE, **settings) as service:
        app.target = service.port
        yield service


class Visit:
    """A browser's page of the demo, and all that it says and asks for."""

    def __init__(self, page: Page, demo: Demo) -> None:
        self.page = page
        self.demo = demo
        self.complaints: list[str] = []
        self.may_fail = False
        """Whether requests may fail, of which the browser and Uppy say something."""
        self.strangers: list[str] = []
        self.requests: list[Request] = []
        page.add_init_script(PATIENT)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note_request)

    def open(self) -> None:
        """Go to the page, and wait until it has its list."""
        with self.page.expect_response("**/attach_demo/files*"):
            self.page.goto(self.demo.url)

    def add(self, *files: Path) -> None:
        """Choose files."""
        self.page.set_input_files("#files", files)

    def expect_stored(self, *names: str) -> None:
        """Wait until these files, and no others, are in the list and on their way no more."""
        expect(self.stored).to_have_count(len(names))
        expect(self.uploading).to_be_hidden()
        shown = self.page.locator("#stored .name").all_text_contents()
        assert sorted(names) == sorted(shown) == self.demo.names()

    @property
    def uploading(self) -> Locator:
        """The part of the page that shows what is on its way."""
        return self.page.locator("#uploading")

    @property
    def stored(self) -> Locator:
        """The rows of the list."""
        return self.page.locator("#stored > li")

    def row(self, name: str) -> Locator:
        """Give the row of a stored file."""
        return self.stored.filter(has=self.page.get_by_role("button", name=name, exact=True))

    def button(self, verb: str, name: str) -> Locator:
        """Give what does something with a file."""
        return self.page.get_by_label(f"{verb} {name}", exact=True)

    def choose(self, name: str, verb: str) -> None:
        """Choose something in the menu of a file."""
        self.button("More for", name).click()
        self.page.get_by_role("menuitem", name=verb).click()

    def progress(self) -> float:
        """Tell which share of the first upload the page shows as sent."""
        share: float = self.page.locator("#uploads progress").first.evaluate("bar => bar.value")
        return share

    def until(self, condition: Callable[[], bool]) -> None:
        """Look again and again until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(20)  # in which its events are noticed

    def _note_message(self, message: ConsoleMessage) -> None:
        failed = message.text.startswith(("Failed to load resource", "[Uppy]"))
        if message.type in ("error", "warning") and not (failed and self.may_fail):
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def _note_request(self, request: Request) -> None:
        self.requests.append(request)
        known = (self.demo.app.url, self.demo.relay.url)
        if request.url.startswith("http") and not request.url.startswith(known):
            self.strangers.append(request.url)
