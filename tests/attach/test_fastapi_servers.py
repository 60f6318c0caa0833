"""An application on FastAPI on real servers: uploads, downloads, several processes."""

from __future__ import annotations

import http.client
import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.conformance.samples import sample
from served import HOST, PORT, Served, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.long

MIB = 1024 * 1024
APP = "attach.fastapi_app:app"
SERVERS = {
    "uvicorn": ("uvicorn", "--port", PORT, APP),
    "granian": ("granian", "--interface", "asgi", "--no-ws", "--port", PORT, APP),
    "hypercorn": ("hypercorn", "--bind", f"{HOST}:{PORT}", APP),
}
WORKERS = {
    "uvicorn": ("--workers", "4"),
    "granian": ("--workers", "4"),
    "hypercorn": ("--workers", "4"),
}
ANN = {"X-User": "ann"}
BOB = {"X-User": "bob"}
DATA = sample(3 * MIB + 5)
MAX_GROWTH = 32 * MIB


def start(name: str, directory: Path, *options: str, stall_seconds: int = PATIENCE) -> Any:
    """Run the application on a server; TMPDIR is a directory of its own."""
    (directory / "tmp").mkdir()
    (directory / "attachments").mkdir()
    settings = {
        "APP_STORAGE": directory / "attachments",
        "APP_STALL": stall_seconds,
        "TMPDIR": directory / "tmp",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    return serving([sys.executable, "-m", *SERVERS[name], *options], directory, settings)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Serve the application on each of the servers."""
    with start(request.param, tmp_path_factory.mktemp(request.param)) as served:
        yield served


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the application on uvicorn, in a single process."""
    with start("uvicorn", tmp_path_factory.mktemp("alone")) as served:
        yield served


def test_each_server_serves_the_routes_and_the_endpoints(server: Served) -> None:
    """A file comes by a route and by a form, and is read by a route and an endpoint, in ranges."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        answer = client.post("/attach/?name=a%20%C3%A4.bin", content=DATA, headers=ANN)
        place = answer.raise_for_status().headers["Location"]
        assert DATA == client.get(place, headers=ANN).content
        assert 403 == client.get(place, headers=BOB).status_code
        assert 401 == client.get(place).status_code
        form = client.post("/streamed", files={"file": ("b.bin", DATA)}, headers=ANN)
        (info,) = form.raise_for_status().json()
        own = f"/own{info['handle']}"
        part = client.get(own, headers={"Range": "bytes=5-8"})
        assert (206, DATA[5:9]) == (part.status_code, part.content)
        again = client.get(own, headers={"If-None-Match": part.headers["ETag"]})
        assert (304, b"") == (again.status_code, again.content)
        head = client.head(own)
        assert (str(len(DATA)), b"") == (head.headers["Content-Length"], head.content)
        assert 204 == client.delete(place, headers=ANN).status_code


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_several_processes_serve_one_storage(name: str, tmp_path: Path) -> None:
    """What one of them has stored, each of them serves, by a link too."""
    with start(name, tmp_path, *WORKERS[name]) as served:
        answer = httpx.post(f"{served.url}/attach/?name=a.bin", content=DATA, headers=ANN)
        place = answer.raise_for_status().headers["Location"]
        for _ in range(12):
            assert DATA == httpx.get(f"{served.url}{place}", headers=ANN).content


class Zeros:
    """The body of a form with a file of zeros, as it is sent."""

    head = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
    end = b"\r\n--frontier--\r\n"

    def __init__(self, mebibytes: int) -> None:
        self._mebibytes = mebibytes
        self.headers = {
            "Content-Type": "multipart/form-data; boundary=frontier",
            "Content-Length": str(mebibytes * MIB + len(self.head) + len(self.end)),
            **ANN,
        }

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        for _ in range(self._mebibytes):
            yield bytes(MIB)
        yield self.end


def peak(served: Served) -> int:
    """Return the highest memory that a single process has had, in bytes."""
    status = Path(f"/proc/{served.program.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_a_form_of_100_mib_makes_no_temporary_file(
    uvicorn: Served, report_figure: Callable[[str], None]
) -> None:
    """A form that FastAPI reads makes one; both in little memory."""
    body = Zeros(100)
    with httpx.Client(base_url=uvicorn.url, timeout=PATIENCE) as client:
        client.post("/streamed", content=iter(Zeros(1)), headers=Zeros(1).headers)
        before = peak(uvicorn)
        answer = client.post("/streamed", content=iter(body), headers=body.headers)
        (info,) = answer.raise_for_status().json()
        grown = peak(uvicorn) - before
        assert 100 * MIB == info["size"]
        assert [] == client.get("/opened").json()
        client.post("/spooled", content=iter(Zeros(2)), headers=Zeros(2).headers)
        assert [] != client.get("/opened").json()
    report_figure(
        f"FastAPI, a form of 100 MiB: 0 temporary files, + {grown / MIB:.1f} MiB of memory"
    )
    assert grown < MAX_GROWTH


def test_a_form_is_stored_as_a_whole_or_not_at_all(server: Served) -> None:
    """The second file is too large; its client reads so although it is still sending."""
    first = b'--frontier\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nabc\r\n'
    body = b"".join((first, *Zeros(32)))
    with open_storage(server.directory / "attachments") as storage:
        known = set(storage)
        connection = http.client.HTTPConnection(HOST, server.port, timeout=PATIENCE)
        headers = {**Zeros(32).headers, "Content-Length": str(len(body))}
        connection.request("POST", "/small", body, headers)
        answer = connection.getresponse()
        assert 413 == answer.status
        assert b"too-large" in answer.read()
        connection.close()
        assert known == set(storage)


def test_a_client_that_stalls_is_disconnected(tmp_path: Path) -> None:
    """It asked for more than all buffers hold, and takes nothing; others stay connected."""
    with start("uvicorn", tmp_path, stall_seconds=1) as served:
        with open_storage(tmp_path / "attachments") as storage:
            handle = storage.add("a.bin", iter([bytes(MIB)] * 100))
        with socket.create_connection((HOST, served.port)) as silent, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            client.connect((HOST, served.port))
            client.sendall(f"GET /own{handle} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            assert client.recv(1)
            served.until(lambda: served.holds([client]) == 0)
            assert 1 == served.holds([silent])
