"""The applications in `examples/`: two users, three ways in, and no way to another user's files."""

from __future__ import annotations

import json
import shutil
import sqlite3
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

import pytest
from playwright.sync_api import expect

from browser.examples import COMMANDS, Person, Upload, build, serve
from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from browser.rig import PlainServer
    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

MIB = 1024 * 1024
IMAGE = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"
)
WAYS = ("By a form", "Resumable (tus)", "Straight to the storage")
TUS = {"Tus-Resumable": "1.0.0"}
JSON = {"Content-Type": "application/json"}
LOGIN = """
<form action="{url}/login" method="post">
  <input name="name" value="ann"><input name="password" value="ann's password"><button>Go</button>
</form>
<form action="{url}/attach/?next=/" method="post" enctype="multipart/form-data">
  <input name="file" type="file"><button>Send</button>
</form>
"""


class Example(NamedTuple):
    """A running application, the storage behind it, and its database."""

    url: str
    storage: Storage
    database: Path
    settings: dict[str, object]

    @property
    def server(self) -> str:
        """The origin that a browser sends the bytes of an upload straight to."""
        endpoint = self.settings.get("attach_s3_endpoint")
        return self.url if endpoint is None else str(endpoint)

    def recorded(self) -> list[tuple[str, str]]:
        """Return the handles and owners in the database."""
        with sqlite3.connect(self.database) as database:
            return sorted(database.execute("select handle, owner from files"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy and build the examples."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(params=[pytest.param("directory", marks=pytest.mark.again), "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    """Return the settings of a storage of each kind."""
    if request.param == "directory":
        return {"attach_dir": tmp_path / "attachments"}
    bucket = request.getfixturevalue("bucket")
    return {**bucket, "attach_s3_prefix": f"examples/{tmp_path.name}"}


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> dict[str, object]:
    """Create a bucket, since its CORS rules concern all of it; return the settings."""
    seaweedfs.create_bucket("examples")
    return {**seaweedfs.settings(), "attach_s3_bucket": "examples"}


@pytest.fixture(params=COMMANDS)
def example(
    request: pytest.FixtureRequest, built: Path, tmp_path: Path, settings: dict[str, object]
) -> Iterator[Example]:
    """Serve each application, in a copy of its own, over each kind of storage."""
    examples = tmp_path / "examples"
    shutil.copytree(built, examples)
    with serve(request.param, examples, **settings) as served, storage_of(settings) as storage:
        if storage.abilities.bucket is not None:
            others = {origin for rule in storage.cors.rules() for origin in rule["AllowedOrigins"]}
            storage.cors.allow([*others, served.url])
        yield Example(served.url, storage, examples / request.param / "files.db", settings)


def storage_of(settings: dict[str, object]) -> Storage:
    """Open the storage behind an application."""
    if "attach_dir" in settings:
        return open_storage(settings["attach_dir"])  # type: ignore[arg-type]
    given = {name.removeprefix("attach_s3_"): value for name, value in settings.items()}
    return open_storage(f"s3://{given.pop('bucket')}/{given.pop('prefix')}", **given)


def files(name: str) -> dict[str, Upload]:
    """Return what a user uploads, by the way in."""
    return {
        "By a form": Upload(f"{name} ä.gif", "image/gif", IMAGE),
        "Resumable (tus)": Upload(f"{name} #1.bin", "", name.encode() * MIB),
        "Straight to the storage": Upload(f"{name} & 5%.bin", "", name.encode()[::-1] * MIB),
    }


def test_two_users_keep_their_files_apart(browser: Browser, example: Example) -> None:
    """Each sees, downloads, views and removes their own files, whichever way these came."""
    with browser.new_context() as first, browser.new_context() as second:
        ann = Person(first.new_page(), example.url, "ann")
        bob = Person(second.new_page(), example.url, "bob")
        for person in (ann, bob):
            for way, file in files(person.name).items():
                person.upload(way, file)
        for person in (ann, bob):
            person.page.reload()
            expect(person.page.locator("#list li")).to_have_count(3)
            uploads = files(person.name).values()
            assert sorted(file.name for file in uploads) == person.names()
            for file in uploads:
                assert file.content == person.download(file.name)
        handles = sorted(handle for handle, _ in example.recorded())
        assert sorted(example.storage) == handles
        assert 6 == len(handles)
        assert {example.server} == ann.servers == bob.servers
        check_view(ann)
        check_strangers(bob, ann)
        ann.remove("ann #1.bin")
        assert sorted(example.storage) == sorted(handle for handle, _ in example.recorded())
        assert (5, 2) == (len(example.recorded()), len(ann.names()))
        check_session(ann)


def check_view(person: Person) -> None:
    """Check that the browser shows an image in a tab."""
    address = person.address(f"{person.name} ä.gif")
    with person.page.context.new_page() as tab:
        answer = tab.goto(urljoin(person.page.url, address))
        assert answer is not None
        assert (200, "image/gif") == (answer.status, answer.headers["content-type"])
        assert 1 == tab.evaluate("document.images[0].naturalWidth")


def check_strangers(stranger: Person, owner: Person) -> None:
    """Check that another user reaches none of an owner's files at any door."""
    doors = []
    for name in owner.names():
        address = owner.address(name)
        handle = owner.page.evaluate("decodeURIComponent", address).removeprefix("/attach")
        tus = address.replace("/attach/", "/attach/tus/")
        patch = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        doors += [
            stranger.fetch("GET", address),
            stranger.fetch("HEAD", address),
            stranger.fetch("DELETE", address),
            stranger.fetch("GET", f"{address}?link"),
            stranger.fetch("GET", tus),
            stranger.fetch("HEAD", tus, headers=TUS),
            stranger.fetch("PATCH", tus, headers=patch, body="x"),
            stranger.fetch("DELETE", tus, headers=TUS),
            claim(stranger, handle=handle),
        ]
    assert owner.receipts
    doors += [claim(stranger, receipt=receipt) for receipt in owner.receipts]
    doors += [stranger.fetch("GET", "/attach/")]
    assert {403} == {answer["status"] for answer in doors}
    assert owner.names() == sorted(file.name for file in files(owner.name).values())
    assert [200] * len(owner.receipts) == [
        claim(owner, receipt=receipt)["status"] for receipt in owner.receipts
    ]
    assert 403 == owner.fetch("GET", "/attach/")["status"]


def claim(person: Person, **claimed: str) -> dict[str, object]:
    """Claim an upload."""
    return person.fetch("POST", "/attach/claim", headers=JSON, body=json.dumps(claimed))


def check_session(person: Person) -> None:
    """Check the cookie, and that nothing works without it."""
    (cookie,) = person.page.context.cookies()
    assert (True, True, "Strict") == (cookie["httpOnly"], cookie["secure"], cookie["sameSite"])
    address = person.address(person.names()[0])
    person.page.get_by_role("button", name="Log out").click()
    expect(person.page.get_by_role("button", name="Log in")).to_be_visible()
    assert 403 == person.fetch("GET", address)["status"]
    assert 403 == person.fetch("POST", "/attach/?name=a", body="x")["status"]
    assert {"user": None, "handles": []} == json.loads(person.fetch("GET", "/files")["text"])
    person.page.get_by_label("Name").fill("ann")
    person.page.get_by_label("Password").fill("bob's password")
    person.page.get_by_role("button", name="Log in").click()
    expect(person.page.get_by_role("button", name="Log in")).to_be_visible()


@pytest.mark.parametrize("settings", ["directory"], indirect=True)
def test_a_page_of_another_site_neither_logs_in_nor_uploads(
    browser: Browser, example: Example, plain_server: PlainServer
) -> None:
    """Its forms are refused, with the user's cookie and without it."""
    page_of_other = LOGIN.format(url=example.url).encode()
    plain_server.pages["/forms"] = ("text/html", page_of_other)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{plain_server.origin}/forms")
        page.get_by_role("button", name="Go").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        bob = Person(page, example.url, "bob")
        page.goto(f"{plain_server.origin}/forms")
        Upload("a.gif", "image/gif", IMAGE).choose(page.locator("[type=file]"))
        with page.expect_navigation() as navigated:
            page.get_by_role("button", name="Send").click()
        assert 403 == navigated.value.status
        page.goto(example.url)
        expect(page.locator("#user")).to_have_text(bob.name)
    assert [] == example.recorded()
    assert [] == list(example.storage)
