"""The applications in `examples/` as their tests see them: served over both kinds of storage."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import expect

from browser.rig import HERE
from programs import BIN, run
from served import HOST, PORT, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page, Request, Response

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {"fastapi": "uvicorn app:app", "flask": "gunicorn --threads=8 app:app"}
"""How the README of an example starts it."""
OPTIONS = {
    "fastapi": (f"--host={HOST}", f"--port={PORT}"),
    "flask": ("--no-control-socket", f"--bind={HOST}:{PORT}"),
}
USERS = {"ann": "ann's password", "bob": "bob's password"}


def build(directory: Path) -> Path:
    """Copy the examples, and build their page with the packages of the tests."""
    examples = directory / "examples"
    left_out = shutil.ignore_patterns("node_modules", "bundle.js*", "files.db", "__pycache__")
    shutil.copytree(EXAMPLES, examples, ignore=left_out)
    modules = os.pathsep.join(map(str, (HERE / "uppy6/node_modules", HERE / "node_modules")))
    options = ("--bundle", "--format=esm", "--log-level=warning")
    page = examples / "page"
    done = run(
        BIN / "node",
        HERE / "node_modules/esbuild/bin/esbuild",
        page / "page.js",
        *options,
        f"--outfile={page / 'public/bundle.js'}",
        settings={"node_path": modules},
    )
    assert 0 == done.returncode, done.stderr
    return examples


@contextmanager
def serve(name: str, examples: Path, **settings: object) -> Iterator[Served]:
    """Run an example as its README says, with the settings of a storage."""
    program, *options = COMMANDS[name].split()
    environment = {"app_secret_key": "secret", "app_users": json.dumps(USERS), **settings}
    with serving([BIN / program, *options, *OPTIONS[name]], examples / name, environment) as served:
        yield served


class Upload(NamedTuple):
    """A file that a user chooses."""

    name: str
    type: str
    content: bytes

    def choose(self, field: Locator) -> None:
        """Choose the file in a field of a page."""
        chosen = {"name": self.name, "mimeType": self.type, "buffer": self.content}
        field.set_input_files(chosen)  # type: ignore[arg-type]  # a TypedDict of Playwright


class Person:
    """A user in a browser of their own."""

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page = page
        self.name = name
        self.receipts: list[str] = []
        self.servers: set[str] = set()
        """The origins to which the page sent bytes by a link."""
        page.on("request", self._note_server)
        page.on("response", self._note_receipt)
        page.goto(url)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(USERS[name])
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#user")).to_have_text(name)

    def upload(self, way: str, file: Upload) -> None:
        """Upload a file in one of the ways of the page, and wait until it is in the list."""
        file.choose(self.page.get_by_label(way))
        if way == "By a form":
            self.page.get_by_role("button", name="Upload").click()
        expect(self.row(file.name)).to_be_visible()

    def row(self, name: str) -> Locator:
        """Return the row of a file."""
        shown = self.page.get_by_role("link", name=name, exact=True)
        return self.page.locator("#list li").filter(has=shown)

    def names(self) -> list[str]:
        """Return the names in the list, in the order of the alphabet."""
        return sorted(self.page.locator("#list li a:first-child").all_text_contents())

    def address(self, name: str) -> str:
        """Return the path at which a file is served."""
        address = self.row(name).get_by_role("link", name=name, exact=True).get_attribute("href")
        assert address is not None
        return address

    def download(self, name: str) -> bytes:
        """Save a file, as a click does."""
        with self.page.expect_download() as downloaded:
            self.row(name).get_by_role("link", name="Download").click()
        assert name == downloaded.value.suggested_filename
        return downloaded.value.path().read_bytes()

    def remove(self, name: str) -> None:
        """Remove a file, and wait until it is no longer in the list."""
        self.row(name).get_by_role("button", name="Remove").click()
        expect(self.row(name)).to_have_count(0)

    def fetch(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Make a request in the page; return the status and the text of the response."""
        answer: dict[str, Any] = self.page.evaluate(FETCH, [path, {"method": method, **options}])
        return answer

    def _note_server(self, request: Request) -> None:
        if request.method == "PUT":
            self.servers.add("{0.scheme}://{0.netloc}".format(urlsplit(request.url)))

    def _note_receipt(self, response: Response) -> None:
        if response.url.endswith("/attach/sign"):
            self.receipts.append(response.json()["receipt"])


FETCH = """
async ([path, options]) => {
  const response = await fetch(path, options)
  return { status: response.status, text: await response.text() }
}
"""
