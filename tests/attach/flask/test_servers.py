"""The service in Flask, on WSGI servers, with clients that leave, stall and come again."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from attach.web.impatient import slowly, statuses
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.conformance.samples import MIB, sample
from served import HOST, PORT, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from served import Served

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
MODULES = os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", "")))
GUNICORN = ["gunicorn", "--no-control-socket", "--bind", f"{HOST}:{PORT}", "shop:app"]
SERVERS = {
    "gunicorn --threads": [*GUNICORN, "--threads", "8"],
    "gunicorn": GUNICORN,
    "werkzeug": ["flask", "--app", "shop", "run", "--host", HOST, "--port", PORT],
}
THREADED = ["gunicorn --threads", "werkzeug"]
DATA = sample(3 * MIB + 5)
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
EXPECTING = {"Expect": "100-continue"}
BIG = 200
"""The size of a large attachment, in MiB."""
ROOM = 32 * MIB
"""How much more memory a large attachment may need."""
NOISE = ("Warning", "destroyed", "never", "/rex/attach/")
"""Words in the log of a server where a request leaves something behind, or where we fail."""
STALLING = pytest.mark.parametrize("stall_seconds", [1])
"""For tests of a client that stalls: any other client may, on a busy machine."""


@pytest.fixture
def stall_seconds() -> int:
    """Return the time after which the server cuts a client that stalls."""
    return PATIENCE


@pytest.fixture(params=sorted(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path: Path, stall_seconds: int) -> Iterator[Served]:
    """Serve the shop; at the end, the log has nothing that was left over."""
    settings = {
        "PYTHONPATH": MODULES,
        "PYTHONASYNCIODEBUG": "1",
        "SHOP_DIR": tmp_path / "attachments",
        "SHOP_STALL": stall_seconds,
    }
    command = [sys.executable, "-m", *SERVERS[request.param]]
    with serving(command, tmp_path, settings) as served:
        yield served
        log = served.log
    noise = [line for line in log.read_text().splitlines() if any(word in line for word in NOISE)]
    # The event loop also says what took long, which depends on the machine.
    assert [] == [line for line in noise if not line.startswith("Executing ")]


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    """Give a client of the shop."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


def upload(client: httpx.Client, content: bytes = DATA) -> str:
    """Store an attachment; return its path."""
    answer = client.post("/attach/", params={"name": "a ä.txt"}, content=content)
    return answer.raise_for_status().headers["Location"]


def stored(server: Served) -> list[str]:
    """Return the handles, and the names of unfinished files."""
    directory = server.directory / "attachments"
    with open_storage(directory) as storage:
        left = [path.name for path in directory.glob(".*/*") if path.name != ".secret"]
        return [*storage, *left]


def test_an_attachment_goes_in_and_out(client: httpx.Client) -> None:
    """By the service and by a view: whole, in part, again, and removed."""
    path = upload(client)
    assert path.startswith("/attach/20")
    for address in (path, path.replace("/attach/", "/sent/", 1)):
        whole = client.get(address)
        assert (200, DATA) == (whole.status_code, whole.content)
        part = client.get(address, headers={"Range": "bytes=1048570-2097160"})
        assert (206, DATA[1048570:2097161]) == (part.status_code, part.content)
        known = client.get(address, headers={"If-None-Match": whole.headers["ETag"]})
        assert (304, b"") == (known.status_code, known.content)
        head = client.head(address)
        assert (str(len(DATA)), b"") == (head.headers["Content-Length"], head.content)
    assert 204 == client.delete(path).status_code
    assert 404 == client.get(path).status_code


def test_a_form_is_stored(client: httpx.Client) -> None:
    """With two files."""
    files = [("file", ("a.bin", DATA)), ("file", ("b.txt", b"small"))]
    kept = client.post("/attach/", files=files).raise_for_status().json()["attachments"]
    assert [DATA, b"small"] == [client.get(one["url"]).content for one in kept]


def test_a_body_without_a_length_is_stored(client: httpx.Client) -> None:
    """The servers know where it ends (``wsgi.input_terminated``)."""
    answer = client.post("/attach/", params={"name": "a"}, content=iter([DATA[:5], DATA[5:]]))
    assert DATA == client.get(answer.raise_for_status().headers["Location"]).content


def test_an_answer_that_comes_early_is_read(server: Served) -> None:
    """Although the client sends for a second before it reads."""
    sent = {"Content-Type": "application/octet-stream"}
    read = slowly(f"{server.url}/attach/no-such-path", sent, 0, 2)
    assert {"404 404": 2} == statuses(read)


def test_a_client_may_wait_for_100_continue(server: Served) -> None:
    """And then sends the body."""
    with connected(server) as connection:
        connection.sendall(head("POST", "/attach/?name=a", {"Content-Length": 5, **EXPECTING}))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert 201 == answer.status
    assert 1 == len(stored(server))


def test_an_announced_upload_is_continued_as_any_other(server: Served) -> None:
    """104 does not replace 100 (draft-ietf-httpbis-resumable-upload, section 5)."""
    declared = {"Upload-Complete": "?1", "Upload-Draft-Interop-Version": "9"}
    sent = {"Content-Length": 5, "Connection": "close", **EXPECTING, **declared}
    with connected(server) as connection:
        connection.sendall(head("POST", "/attach/?name=a", sent))
        first = connection.recv(4096)
        connection.sendall(b"hello")
        with connection.makefile("rb") as stream:
            responses = first + stream.read()
    assert first.startswith(b"HTTP/1.1 100 ")
    assert all(responses.count(b"HTTP/1.1 %d " % status) == 1 for status in (104, 201))
    assert 1 == len(stored(server))


def test_a_client_that_leaves_during_an_upload_leaves_nothing(
    server: Served, client: httpx.Client
) -> None:
    """The attachment is not stored, and other requests go on."""
    with connected(server) as connection:
        connection.sendall(head("POST", "/attach/?name=a", {"Content-Length": len(DATA)}))
        connection.sendall(DATA[:MIB])
    path = upload(client)
    server.until(lambda: 1 == len(stored(server)))
    assert DATA == client.get(path).content


def test_a_client_that_leaves_during_a_download_frees_the_file(
    server: Served, client: httpx.Client
) -> None:
    """The server closes the attachment."""
    path = upload(client, sample(16 * MIB))
    with connected(server) as connection:
        connection.sendall(head("GET", path))
        assert connection.recv(4096).startswith(b"HTTP/1.")
    server.until(lambda: [] == open_attachments(server))
    assert 200 == client.head(path).status_code


@STALLING
def test_a_client_that_does_not_receive_is_cut(server: Served) -> None:
    """By the kernel, after the timeout of the settings; the attachment is closed."""
    with open_storage(server.directory / "attachments") as storage:
        storage.init()
        handle = storage.add("a.txt", sample(64 * MIB))
    with connected(server) as connection:
        connection.sendall(head("GET", f"/attach{handle}"))
        assert connection.recv(1)  # the attachment is open
        server.until(lambda: [] == open_attachments(server))


def open_attachments(server: Served) -> list[str]:
    """Return the attachments that the server has open."""
    found = []
    for process in server.processes:
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return [path for path in found if path.endswith(".txt")]


@STALLING
def test_a_client_that_stalls_is_cut(server: Served) -> None:
    """After the timeout of the settings, as on servers of ASGI."""
    with connected(server) as connection:
        connection.sendall(head("POST", "/attach/?name=a", {"Content-Length": len(DATA)}))
        connection.sendall(DATA[:MIB])
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert [] == stored(server)


@pytest.mark.parametrize("server", THREADED, indirect=True)
def test_an_upload_is_taken_over_while_its_request_hangs(
    server: Served, client: httpx.Client
) -> None:
    """The client continues on a new connection, from what has arrived."""
    begun = client.post("/attach/tus/", headers={**TUS, "Upload-Length": str(len(DATA))})
    place = begun.headers["Location"]
    with connected(server) as connection:
        connection.sendall(head("PATCH", place, {**PATCH, "Content-Length": len(DATA)}))
        connection.sendall(DATA[:MIB])
        server.until(lambda: offset(server) > 0)
        known = client.head(place, headers=TUS).headers["Upload-Offset"]
        assert connection.recv(4096).startswith(b"HTTP/1.1 409 ")
    rest = DATA[int(known) :]
    client.patch(place, headers={**PATCH, "Upload-Offset": known}, content=rest).raise_for_status()
    assert DATA == client.get(place.replace("/tus/", "/")).content


def offset(server: Served) -> int:
    """Return the size of the only unfinished upload."""
    (data,) = (server.directory / "attachments/.uploads").glob("*.data")
    return data.stat().st_size


@pytest.mark.parametrize("server", ["gunicorn --threads"], indirect=True)
def test_large_attachments_need_little_memory(
    server: Served, client: httpx.Client, report_figure: Callable[[str], None]
) -> None:
    """200 MiB in and out, by the service and by a view."""
    upload(client)
    block = sample(MIB)
    chunks = (block for _ in range(BIG))
    path = measured(
        server,
        report_figure,
        f"{BIG} MiB uploaded",
        lambda: client.post(
            "/attach/",
            params={"name": "big.bin"},
            content=chunks,
            headers={"Content-Length": str(BIG * MIB)},
        ).headers["Location"],
    )
    for address in (path, path.replace("/attach/", "/sent/", 1)):
        size = measured(
            server,
            report_figure,
            f"{BIG} MiB from {address[:6]}",
            lambda: received(client, address),  # noqa: B023
        )
        assert BIG * MIB == size


def received(client: httpx.Client, address: str) -> int:
    """Download without keeping anything; return the size."""
    with client.stream("GET", address) as answer:
        return sum(map(len, answer.iter_raw()))


def measured(
    server: Served, report_figure: Callable[[str], None], what: str, act: Callable[[], Any]
) -> Any:
    """Act, and check how much more memory the server needs for it."""
    server.forget_peak()
    before = server.memory()
    result = act()
    more = server.peak_memory() - before
    report_figure(f"Flask on gunicorn, {what}: {more / MIB:.1f} MiB more memory")
    assert more < ROOM
    return result


@contextlib.contextmanager
def connected(server: Served) -> Iterator[socket.socket]:
    """Connect to a server."""
    with socket.create_connection((HOST, server.port), timeout=PATIENCE) as connection:
        yield connection


def head(method: str, path: str, headers: dict[str, object] | None = None) -> bytes:
    """Return the head of a request."""
    target = urlsplit(path)
    query = f"?{target.query}" if target.query else ""
    lines = [f"{method} {target.path}{query} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()
