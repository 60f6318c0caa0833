"""Clients as they are published upload and download, over each kind of storage.

The largest size is 12 MiB, and that of the environment variable REX_TEST_LARGE (MiB) where it is
set.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from attach.web.clients import (
    with_curl,
    with_httpx,
    with_requests,
    with_tus_js_client,
    with_tuspy,
)
from programs import BIN, PATIENCE
from served import PORT, Served, rex_serving, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.long

MIB = 1024 * 1024
LARGE = int(os.environ.get("REX_TEST_LARGE") or 12) * MIB
SIZES = (0, MIB, LARGE)
LIMITS = {"directory": 96 * MIB, "s3": 256 * MIB}
"""How much memory the process of the service may take, whatever the size of the attachment."""

STORAGES = ("memory", "directory", "s3")


OVER_MEMORY = (
    *(BIN / "granian", "--interface", "asgi"),
    *("--working-dir", Path(__file__).parent, "memory_app:app"),
)
"""A program, since no setting asks for memory."""


class Client(NamedTuple):
    """A client, in one of the ways to use it."""

    name: str
    upload: Callable[[str, Path], str]
    """Takes the address of the service and a file; gives the handle."""
    download: Callable[[str, Path], None]
    """Takes the address of an attachment and the file to make."""


CLIENTS = [
    Client("curl --data-binary", with_curl.post_body, with_curl.download),
    Client("curl -T, -C", with_curl.stream_body, with_curl.resume),
    Client("curl -F", with_curl.post_form, with_curl.download),
    Client("requests, streamed", with_requests.stream_body, with_requests.download),
    Client("requests, files", with_requests.post_form, with_requests.download),
    Client("httpx, asynchronous", with_httpx.stream_body, with_httpx.download),
    Client("tuspy", with_tuspy.upload, with_requests.download),
    Client("tuspy, chunks of 5 MiB", with_tuspy.upload_chunks, with_requests.download),
]
LEFT_OUT = []
if with_tus_js_client.IS_INSTALLED:
    CLIENTS += [
        Client("tus-js-client", with_tus_js_client.upload, with_curl.download),
        Client(
            "tus-js-client, 3 parallel", with_tus_js_client.upload_in_parallel, with_curl.download
        ),
        Client(
            "tus-js-client, ietf-draft-05",
            with_tus_js_client.upload_by_draft_05,
            with_curl.download,
        ),
        Client(
            "tus-js-client, ietf-draft-03",
            with_tus_js_client.upload_by_draft_03,
            with_curl.download,
        ),
    ]
else:
    LEFT_OUT += ["tus-js-client: it is not installed (tests/browser/package.json)"]

Table = dict[str, dict[str, str]]
"""What was seen, by client and storage."""


@pytest.fixture(scope="module")
def table() -> Table:
    """Give an empty table."""
    return {}


@pytest.fixture(scope="module", params=STORAGES)
def kind(request: pytest.FixtureRequest) -> str:
    """Give each kind of storage."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def served(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Run the service over a kind of storage."""
    directory = tmp_path_factory.mktemp(kind)
    if kind == "memory":
        running = serving([*OVER_MEMORY, "--port", PORT], directory)
    elif kind == "directory":
        running = rex_serving(directory, attach_dir=directory / "attachments")
    else:
        server = request.getfixturevalue("seaweedfs")
        running = rex_serving(directory, **server.settings(), attach_s3_prefix="clients")
    with running as served:
        yield served


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Make a file of each size, of which no two stretches are alike."""
    directory = tmp_path_factory.mktemp("files")
    made = []
    for size in SIZES:
        file = directory / f"content-{size}.bin"
        file.write_bytes(os.urandom(size))
        made.append(file)
    return made


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_is_uploaded_is_downloaded(
    *,
    client: Client,
    kind: str,
    served: Served,
    files: list[Path],
    tmp_path: Path,
    table: Table,
    report_figure: Callable[[str], None],
) -> None:
    """Each size, byte for byte; what is large passes through the service without being held."""
    served.forget_peak()
    for file in files:
        uploading, downloading = _there_and_back(
            client, f"{served.url}/attach", file, tmp_path / file.name
        )
    peak = served.peak_memory()
    cells = table.setdefault(client.name, {})
    cells[kind] = f"ok, {uploading:5.2f} s up, {downloading:5.2f} s down, {peak / MIB:4.0f} MiB"
    if len(cells) == len(STORAGES):
        _report(client.name, cells, report_figure)
    assert peak <= LIMITS.get(kind, peak)


def _there_and_back(client: Client, url: str, file: Path, target: Path) -> tuple[float, float]:
    """Upload, download and remove a file; give the seconds of the first two."""
    start = time.perf_counter()
    handle = client.upload(url, file)
    uploaded = time.perf_counter()
    client.download(url + handle, target)
    downloaded = time.perf_counter()
    assert handle.endswith(f"/{file.name}")
    assert _sha256(file) == _sha256(target)
    httpx.delete(url + handle, timeout=PATIENCE).raise_for_status()
    target.unlink()
    return uploaded - start, downloaded - uploaded


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _report(name: str, cells: dict[str, str], report_figure: Callable[[str], None]) -> None:
    shown = "; ".join(f"{kind}: {cells[kind]}" for kind in STORAGES)
    report_figure(f"0 B, 1 MiB, {LARGE // MIB} MiB with {name:26} {shown}")
