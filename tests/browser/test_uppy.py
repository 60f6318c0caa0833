"""Uppy and tus-js-client, unmodified, in a browser, against the service."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.azure_harness import AzureHarness
from attach.gcs_storage import GCSHarness
from attach.harnesses import LocalHarness, S3Harness
from browser.relay import relaying
from rex.attach.backends.local.storage import LocalStorage
from served import rex_serving

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, Request, Response

    from browser.rig import PlainServer
    from rex.attach import Storage
    from rex.attach.conformance import Harness
    from served import Served

pytestmark = pytest.mark.long

MIB = 1024 * 1024
SMALL = 100 * 1024
LARGE = 150 * MIB
MIDDLE = 32 * MIB

CLIENTS = {
    "companion": "uppy6",
    "sign": "uppy6",
    "endpoint": "uppy5",
    "tus": "uppy6",
    "companion 6.0.1": "uppy601",
    "sign 6.0.1": "uppy601",
    "tus 6.0.1": "uppy601",
}
"""The clients, and the page that each is in; `uppy` 6.0.1 contains @uppy/aws-s3 6.1.0."""

LOOK = """
async (url) => {
  const tus = { 'Tus-Resumable': '1.0.0' }
  const got = await fetch(url)
  const bytes = await crypto.subtle.digest('SHA-256', await got.arrayBuffer())
  const digest = Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0'))
  const told = await fetch(url, { method: 'HEAD', headers: tus })
  const removed = await fetch(url, { method: 'DELETE', headers: tus })
  const gone = await fetch(url)
  return {
    statuses: [got.status, told.status, removed.status, gone.status],
    digest: digest.join(''),
    offset: told.headers.get('Upload-Offset'),
    metadata: told.headers.get('Upload-Metadata'),
  }
}
"""
"""Download an upload by its address, ask how far it is, end it, and download it again."""

NOISE = bytes((place * 2654435761 >> 24) & 0xFF for place in range(4, MIB))


class Side(NamedTuple):
    """A service, and the storage behind it."""

    service: Served
    harness: Harness
    storage: Storage
    large: int = LARGE
    """The size of a large file, in bytes: the fake of Google's server keeps it in memory."""

    def handles(self, name: str) -> list[str]:
        """Give the handles of the attachments of a name."""
        return [handle for handle in self.storage if handle.endswith(f"/{name}")]

    def garbage(self) -> list[str]:
        """Give what is there and is no attachment."""
        return self.harness.garbage(self.storage)


def directory_side(service: Served) -> Side:
    """Look behind a service on a directory."""
    return Side(service, LocalHarness(), LocalStorage(str(service.directory / "attachments")))


@pytest.fixture
def side(request: pytest.FixtureRequest) -> Side:
    """Give the service over the kind of storage that a test is for."""
    if request.param == "directory":
        return directory_side(request.getfixturevalue("on_directory"))
    if request.param == "azure":
        azure = AzureHarness(request.getfixturevalue("azurite"))
        storage = request.getfixturevalue("azure_storage")
        return Side(request.getfixturevalue("on_azure"), azure, storage)
    if request.param == "google":
        google = GCSHarness(request.getfixturevalue("google"))
        storage = request.getfixturevalue("gcs_storage")
        return Side(request.getfixturevalue("on_gcs"), google, storage, 20 * MIB)
    harness = S3Harness(request.getfixturevalue("seaweedfs"))
    storage = request.getfixturevalue("s3_storage")
    return Side(request.getfixturevalue("on_s3"), harness, storage)


class Client:
    """A page with one of the clients in it."""

    def __init__(self, page: Page, bundles: Path, client: str, service: Served) -> None:
        self.page = page
        self.name = f"{uuid.uuid4()}.noise"
        self.client = client.partition(" ")[0]
        self._service = service
        page.add_init_script(path=bundles / f"{CLIENTS[client]}.js")

    def open(self, origin: str) -> None:
        """Open a page of an origin, with the client in it."""
        self.page.goto(origin)

    def begin(self, size: int, **more: Any) -> None:
        """Begin to upload a file."""
        file = {"name": self.name, "size": size, **more}
        self.page.evaluate(
            "given => begin(given)",
            {"client": self.client, "service": f"{self._service.url}/attach", **file},
        )

    def has_noticed(self, events: Counter[int]) -> bool:
        """Handle the events of the page that have come; return whether these are among them."""
        self.page.evaluate("0")
        return bool(events)

    def upload(self, size: int, **more: Any) -> None:
        """Upload a file to the end."""
        self.begin(size, **more)
        self.finish()

    def finish(self) -> str:
        """Wait until the upload has ended well; return the address that the page is told."""
        self.page.wait_for_function("result !== null")
        result = self.page.evaluate("result")
        assert ([], 1) == (result["failed"], len(result["successful"])), result
        url: str = result["successful"][0]
        return url


@pytest.fixture
def make_client(page: Page, bundles: Path) -> Any:
    """Give a function that makes a page with a client in it, of the service's own origin."""

    def make(client: str, service: Served, origin: str | None = None) -> Client:
        made = Client(page, bundles, client, service)
        made.open(origin or f"{service.url}/health")
        return made

    return make


def expected(size: int) -> str:
    """Give the digest of what the page makes."""
    digest = hashlib.sha256()
    for number in range(0, size, MIB):
        piece = (number // MIB).to_bytes(4, "little") + NOISE
        digest.update(piece[: size - number])
    return digest.hexdigest()


def check_stored(side: Side, there: Client, size: int) -> None:
    """Make sure that the attachment is there, once, whole and of its type, and nothing else."""
    (handle,) = side.handles(there.name)
    with side.storage.open(handle) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    info = side.storage.info(handle)
    assert (size, "application/x-noise") == (info.size, info.content_type)
    assert expected(size) == digest
    side.service.until(lambda: [] == side.garbage())


def part_of(url: str) -> int | None:
    """Return the number of the part that a link is for: to S3, or to the service."""
    if part := re.search(r"partNumber=(\d+)", url):
        return int(part[1])
    token = url.partition("/sign/")[2].partition("?token=")[2].partition(".")[0]
    claims = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) or "{}")
    number: int | None = claims.get("number")
    return number


SIDES = ("directory", "s3", "azure")
EVERYWHERE = pytest.mark.parametrize("side", SIDES, indirect=True)


def pairs(*chosen: tuple[str, str]) -> pytest.MarkDecorator:
    """Parametrize by sides and clients; CI has the older clients on S3 only."""
    older = [each for each in chosen if each[0] != "s3" and each[1].endswith(" 6.0.1")]
    return pytest.mark.parametrize(
        ("side", "client"),
        [pytest.param(*each, marks=[pytest.mark.again] * (each in older)) for each in chosen],
        indirect=["side"],
    )


ALL = pairs(*((side, client) for side in SIDES for client in CLIENTS))
IN_PIECES = pairs(
    *(("s3", client) for client in CLIENTS),
    *((side, client) for side in ("directory", "azure") for client in ("tus", "tus 6.0.1")),
    *(("azure", client) for client in ("companion", "sign")),
    ("google", "tus"),
)


@ALL
def test_a_small_file_arrives(make_client: Any, side: Side, client: str) -> None:
    """In one request, by a form or by tus."""
    there = make_client(client, side.service)
    there.upload(SMALL)
    check_stored(side, there, SMALL)


@ALL
def test_a_page_of_another_site_may_upload(
    make_client: Any, side: Side, client: str, plain_server: PlainServer
) -> None:
    """Where the service is told of it."""
    there = make_client(client, side.service, plain_server.origin)
    there.upload(SMALL)
    check_stored(side, there, SMALL)


@IN_PIECES
def test_a_large_file_arrives(make_client: Any, side: Side, client: str) -> None:
    """In parts, as the client cuts it by itself."""
    there = make_client(client, side.service)
    there.upload(side.large)
    check_stored(side, there, side.large)


@pytest.mark.parametrize("side", ["google"], indirect=True)
@pytest.mark.parametrize("client", ["companion", "sign", "endpoint"])
def test_files_arrive_at_google(make_client: Any, side: Side, client: str) -> None:
    """A large one in one request as well: Google has no multipart uploads by links."""
    for size in (SMALL, side.large):
        there = make_client(client, side.service)
        there.upload(size)
        check_stored(side, there, size)


@IN_PIECES
def test_a_paused_upload_goes_on(make_client: Any, side: Side, client: str) -> None:
    """Where it was: what has arrived is not sent again."""
    there = make_client(client, side.service)
    done: Counter[int] = Counter()
    sent_from: list[int] = []
    told: list[int] = []

    def note_part(request: Request) -> None:
        if request.method == "PUT" and (part := part_of(request.url)):
            done[part] += 1

    def note_piece(request: Request) -> None:
        if request.method == "PATCH":
            sent_from.append(int(request.headers["upload-offset"]))

    def note_answer(answer: Response) -> None:
        if answer.request.method == "HEAD" and answer.ok:
            told.append(int(answer.headers["upload-offset"]))

    there.page.on("requestfinished", note_part)
    there.page.on("request", note_piece)
    there.page.on("response", note_answer)
    # Few parts at a time, so that some have arrived by then.
    options = {} if there.client == "tus" else {"shouldUseMultipart": True, "limit": 2}
    there.begin(MIDDLE, at="pauseAll", options=options)
    there.page.wait_for_function("reached")
    assert there.page.evaluate("result") is None
    # The events of what has arrived may come later than the page knows of it.
    side.service.until(lambda: there.client == "tus" or there.has_noticed(done))
    # With tus, it may be that all has arrived: the client learns late what is on its way.
    assert there.client == "tus" or [] == side.handles(there.name)
    there.page.evaluate("uppy.resumeAll()")
    there.finish()
    check_stored(side, there, MIDDLE)
    if there.client == "tus":
        (kept,) = told
        assert kept > 0
        assert [0, *({kept} - {MIDDLE})] == sent_from
    else:
        # One that was on its way may have arrived although nobody took the answer.
        assert {1} == set(done.values())


@IN_PIECES
def test_a_cancelled_upload_leaves_nothing(make_client: Any, side: Side, client: str) -> None:
    """No attachment, and no part of one."""
    there = make_client(client, side.service)
    options = {} if there.client == "tus" else {"shouldUseMultipart": True}
    with there.page.expect_response(lambda answer: answer.request.method == "DELETE") as answered:
        there.begin(MIDDLE, at="cancelAll", options=options)
    assert answered.value.ok
    assert [] == side.handles(there.name)
    # The service may still be busy with a part, which it then discards.
    side.service.until(lambda: [] == side.garbage())


@EVERYWHERE
def test_tus_sends_in_parallel(make_client: Any, side: Side) -> None:
    """Several uploads, which are joined (the extension concatenation)."""
    there = make_client("tus", side.service)
    roles: Counter[str] = Counter()

    def note(request: Request) -> None:
        if request.method == "POST":
            roles[request.headers["upload-concat"].partition(";")[0]] += 1

    there.page.on("request", note)
    there.upload(MIDDLE, options={"parallelUploads": 3})
    check_stored(side, there, MIDDLE)
    assert (3, 1) == (roles["partial"], roles["final"])


@pairs(*((side, client) for side in SIDES for client in ("tus", "tus 6.0.1")))
def test_the_address_of_an_upload_serves_it(make_client: Any, side: Side, client: str) -> None:
    """The page is told it; what the browser keeps of it answers nothing else."""
    there = make_client(client, side.service)
    there.begin(SMALL)
    url = there.finish()
    assert url.startswith(f"{side.service.url}/attach/tus/")
    (handle,) = side.handles(there.name)
    looked = there.page.evaluate(LOOK, url)
    assert [200, 200, 204, 404] == looked["statuses"]
    assert (expected(SMALL), str(SMALL)) == (looked["digest"], looked["offset"])
    metadata = dict(pair.split(" ") for pair in looked["metadata"].split(","))
    assert there.name == base64.b64decode(metadata["filename"]).decode()
    # More than can be made of the attachment: it was kept.
    assert {"name", "type", "relativePath"} & metadata.keys()
    assert handle not in side.storage


@pytest.mark.parametrize("client", ["sign", "sign 6.0.1"])
def test_a_service_that_knows_no_address_takes_files(
    make_client: Any, tmp_path: Path, client: str
) -> None:
    """On a directory without links, at the address by which the page knows it."""
    with rex_serving(tmp_path, attach_dir=tmp_path / "attachments") as service:
        there = make_client(client, service)
        there.upload(SMALL)
    check_stored(directory_side(service), there, SMALL)


def test_a_cancelled_form_leaves_nothing(make_client: Any, tmp_path: Path) -> None:
    """On a directory, where the service receives it."""
    directory = tmp_path / "attachments"
    with relaying() as relay:
        url = f"{relay.url}/attach"
        with rex_serving(tmp_path, attach_dir=directory, attach_url=url) as service:
            relay.target = service.port
            there = make_client("companion", service, f"{relay.url}/health")
            relay.hold_after(LARGE * 2 // 3)  # else all may arrive before the page looks
            options = {"shouldUseMultipart": False}
            there.begin(LARGE, at="cancelAll", options=options, service=url)
            there.page.wait_for_function("reached")
            relay.release()
    side = directory_side(service)
    assert [] == side.handles(there.name)
    side.service.until(lambda: [] == side.garbage())
