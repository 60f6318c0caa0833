"""The command `rex serve`, for real: granian on a free port."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from attach.fake_server import make_authority
from programs import BIN, PATIENCE, REX, run
from served import HOST, PORT, UNVERIFIED, Served, rex_serving, serving

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

CANARY = "canary-signature"
LISTENS = "0A"
"""A state of TCP."""


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_is_served_until_it_is_told_to_stop(tmp_path: Path, workers: int) -> None:
    """Stored, served, and stopped by SIGTERM; the access log shows no query."""
    settings = {"attach_dir": tmp_path / "attachments"}
    with rex_serving(tmp_path, "--access-log", "--workers", workers, **settings) as served:
        with httpx.Client(base_url=served.url) as client:
            assert "ok\n" == client.get("/health").text
            stored = client.post("/attach/", params={"name": "a.txt"}, content=b"content")
            answer = client.get(f"{stored.headers['Location']}?X-Amz-Signature={CANARY}")
            assert b"content" == answer.content
            client.get("/attach/a%0aFORGED%1b[31m")
        second = run(REX, "serve", "--port", served.port, directory=tmp_path, settings=settings)
        assert (9, True) == (second.returncode, "Cannot listen" in second.stderr)
    said = served.log.read_text()
    assert 0 == served.program.returncode
    assert f"Serving on {served.url}" in said
    assert '"GET /attach/20' in said
    assert "/attach/a%0aFORGED%1b[31m" in said
    assert CANARY not in said


def fails(directory: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `rex serve` where it cannot serve."""
    return run(REX, "serve", directory=directory, settings=settings)


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({}, 9, "No storage is configured"),
        (
            {"attach_dir": "a", "attach_access": "anbody"},
            9,
            "(setting attach_access):\n    expected none, ",
        ),
        ({"attach_dir": "a", "attach_access": "no_such_module:may"}, 9, "no_such_module:may"),
        ({"attach_dir": "a", "attach_access": "os:no_such_function"}, 9, "has no attribute"),
        ({"attach_dir": "a", "attach_access": "os:sep"}, 9, "this is not a function"),
        ({"attach_dir": "a", "attach_access": "bearer"}, 9, "attach_access_keys"),
        ({"attach_dir": "a", "attach_hosts": "a.example:80"}, 9, "attach_hosts"),
        (
            {"attach_s3_bucket": "b", "attach_s3_endpoint": "http://127.0.0.1:9"},
            10,
            "(setting attach_s3_endpoint)",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_told_before_serving(
    tmp_path: Path, settings: dict[str, str], code: int, said: str
) -> None:
    """Once, in one paragraph, with its exit code."""
    keys = {"attach_s3_access_key": "AKIA", "attach_s3_secret_key": "secret"}
    done = fails(tmp_path, **settings, **(keys if code == 10 else {}))
    assert (code, 1) == (done.returncode, done.stderr.count(said)), done.stderr
    assert "Traceback" not in done.stderr
    assert "Serving on" not in done.stderr


def test_examples_are_served_only_where_they_are_named(tmp_path: Path) -> None:
    """What shows how it is done is not what an operator wants to run."""
    settings = {"attach_dir": tmp_path / "attachments"}
    with rex_serving(tmp_path, **settings) as served:
        assert httpx.get(f"{served.url}/attach/").is_success
        assert httpx.codes.NOT_FOUND == httpx.get(f"{served.url}/attach_demo/").status_code
    (tmp_path / "rex.toml").write_text('packages = ["rex.attach_demo"]')
    with rex_serving(tmp_path, **settings) as served:
        assert httpx.get(f"{served.url}/attach_demo/").is_success


def test_the_permission_of_a_form_is_not_logged_whole(tmp_path: Path) -> None:
    """It is part of the path, of which a long part is cut."""
    settings = {"attach_dir": tmp_path / "attachments", "attach_url": "http://here/attach"}
    with rex_serving(tmp_path, "--access-log", **settings) as served:
        wanted = {"name": "a.txt", "size": 7}
        link = httpx.post(f"{served.url}/attach/links", json=wanted).json()["link"]
        path = link["url"].removeprefix("http://here")
        files = {"file": b"content"}
        sent = httpx.post(f"{served.url}{path}", data=link["fields"], files=files)
        assert httpx.codes.NO_CONTENT == sent.status_code
    said = served.log.read_text()
    assert f'"POST {path[:72]}' in said
    assert path.rpartition(".")[2].removesuffix("/") not in said


# Connections that bring nothing.

CONNECTIONS = 8
SILENT = 12
"""More than one worker holds."""
SENT = {
    "nothing": b"",
    "one byte": b"G",
    "half of a head": b"GET / HTTP/1.1\r\nHost: he",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "one request": b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n",
}


@contextlib.contextmanager
def serving_by(kind: str, directory: Path, *options: object) -> Iterator[Served]:
    """Serve plain HTTP, or by TLS."""
    if kind == "TLS":
        make_authority(directory)
        files = ("--tls-cert", directory / "server.pem", "--tls-key", directory / "server.key")
        options = (*options, *files)
    with rex_serving(directory, *options, attach_dir=directory / "attachments") as served:
        yield served


@pytest.fixture(scope="module", params=["plain", "TLS"])
def patient(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Serve, and let clients take their time."""
    options = ("--idle-timeout", PATIENCE)
    with serving_by(request.param, tmp_path_factory.mktemp("patient"), *options) as served:
        yield served


@pytest.fixture(scope="module", params=["plain", "TLS"])
def limited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Serve with few connections and a short time for the head of a request."""
    options = ("--connections", CONNECTIONS, "--idle-timeout", 1)
    with serving_by(request.param, tmp_path_factory.mktemp("limited"), *options) as served:
        yield served


def open_silent(served: Served, sent: bytes | None) -> Iterator[socket.socket]:
    """Connect clients that send something or not even a handshake; yield those not closed yet."""
    for client in [socket.create_connection((HOST, served.port)) for _ in range(SILENT)]:
        secured = client
        try:
            if served.has_tls and sent is not None:
                secured = UNVERIFIED.wrap_socket(client)
            secured.sendall(sent or b"")
        except OSError:  # the machine had other things to do, and the server did not wait
            secured.close()
        else:
            yield secured


@pytest.mark.long
@pytest.mark.parametrize("sent", SENT)
def test_connections_that_bring_nothing_are_closed(limited: Served, sent: str) -> None:
    """More than a worker holds; other clients get answers, and all silent ones are closed."""
    clients = [*open_silent(limited, SENT[sent])]
    limited.wait()
    limited.until(lambda: not limited.holds(clients))
    for client in clients:
        client.close()


@pytest.mark.long
def test_a_handshake_that_does_not_come_is_not_waited_for(limited: Served) -> None:
    """Before a client of TLS has sent a byte."""
    clients = [*open_silent(limited, None)]
    limited.wait()
    limited.until(lambda: not limited.holds(clients))
    for client in clients:
        client.close()


def test_http_2_is_not_offered(patient: Served) -> None:
    """By TLS, HTTP/1.1 is chosen; a client that begins with HTTP/2 is refused at once."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((HOST, patient.port), timeout=PATIENCE) as connection:
        if patient.has_tls:
            with context.wrap_socket(connection) as secured:
                assert "http/1.1" == secured.selected_alpn_protocol()
        else:
            connection.sendall(SENT["the preface of HTTP/2"])
            assert not connection.makefile("rb").read().startswith(b"\0")


def test_a_head_that_is_too_large_is_refused(patient: Served) -> None:
    """With 431 (RFC 6585, section 5), before all of it has come."""
    head = {"Cookie": "a" * 600_000}  # the server compares after a read, which may be large
    answer = httpx.get(f"{patient.url}/health", headers=head, verify=False)  # noqa: S501
    assert 431 == answer.status_code
    head = {"Cookie": "a" * 100_000}
    assert httpx.get(f"{patient.url}/health", headers=head, verify=False).is_success  # noqa: S501


def waiting(port: int) -> int:
    """Return how many connections wait in the kernel for a server (proc_pid_net(5))."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, _, state, queues = line.split()[1:5]
        if state == LISTENS and int(local.partition(":")[2], 16) == port:
            return int(queues.partition(":")[2], 16)
    return 0


def test_connections_leave_room_for_files(tmp_path: Path) -> None:
    """Where few may be open: a worker holds a quarter as many connections, and others wait."""
    files, clients = 100, 60
    command = f'ulimit -n {files}; exec "{BIN}/rex" serve --port {PORT} --idle-timeout 5m'
    settings = {"ATTACH_DIR": tmp_path / "attachments", "ATTACH_ACCESS": "public"}
    with (
        serving(["sh", "-c", command], tmp_path, settings) as served,
        contextlib.ExitStack() as held,
    ):
        for _ in range(clients):
            held.enter_context(socket.create_connection((HOST, served.port)))
        served.until(lambda: waiting(served.port) == clients - files // 4)
