"""What `rex serve` has for a proxy: a Unix socket, the root path, trusted proxies."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from programs import PATIENCE, REX, run, started
from served import HOST, PAUSE_SECONDS, rex_serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from programs import Program


@contextmanager
def on_socket(directory: Path, *options: object) -> Iterator[tuple[Program, httpx.Client]]:
    """Run `rex serve` on the socket ``rex.sock``; give a client of it."""
    path = directory / "rex.sock"
    settings = {"attach_dir": directory / "attachments", "attach_access": "public"}
    with (
        (directory / "log").open("w") as log,
        started(
            *(REX, "serve", "--unix", path, *options),
            directory=directory,
            options={"stdout": log, "stderr": log},
            settings=settings,
        ) as program,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)), base_url="http://upstream"
        ) as client,
    ):
        deadline = time.monotonic() + PATIENCE
        while not is_listening(path):
            assert program.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(PAUSE_SECONDS)
        yield program, client


def is_listening(path: Path) -> bool:
    """Check whether a server listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


FORWARDED = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "files.example",
    "Origin": "https://files.example",
}


@pytest.mark.parametrize(("options", "status"), [((), 403), (("--trusted-proxies", "unix"), 201)])
def test_the_clients_of_a_socket_are_trusted_if_that_is_said(
    tmp_path: Path, options: tuple[str, ...], status: int
) -> None:
    """And otherwise strangers; the socket ends with the server."""
    with on_socket(tmp_path, *options) as (program, client):
        answer = client.post("/attach/?name=a", headers=FORWARDED, content=b"")
        assert status == answer.status_code
        assert 0o660 == (tmp_path / "rex.sock").stat().st_mode & 0o777
        program.terminate()
        assert 0 == program.wait(PATIENCE)
    assert not (tmp_path / "rex.sock").exists()


def test_a_socket_is_taken_over_only_from_a_server_that_is_gone(tmp_path: Path) -> None:
    """A killed one leaves its socket; any other file at the path stays."""
    settings = {"attach_dir": tmp_path / "attachments"}
    path = tmp_path / "rex.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with on_socket(tmp_path, "--unix-mode", "600") as (_, client):
        assert 0o600 == path.stat().st_mode & 0o777
        second = run(REX, "serve", "--unix", path, directory=tmp_path, settings=settings)
        assert (9, True) == (second.returncode, "Address already in use" in second.stderr)
        assert "ok\n" == client.get("/health").text
    path.unlink(missing_ok=True)
    path.write_text("kept")
    third = run(REX, "serve", "--unix", path, directory=tmp_path, settings=settings)
    assert (9, True) == (third.returncode, "is not a socket" in third.stderr)
    assert "kept" == path.read_text()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--root-path", "/attach"), 9, "would be at /attach/attach"),
        (("--root-path", "/health/x"), 9, "--root-path"),
        (("--root-path", "/metrics"), 9, "--root-path"),
        (("--root-path", "files"), 2, "--root-path"),
        (("--root-path", "//files"), 2, "--root-path"),
        (("--trusted-proxies", "*"), 2, "--trusted-proxies"),
        (("--trusted-proxies", "localhost"), 2, "--trusted-proxies"),
        (("--unix", "a", "--port", "81"), 2, "--unix excludes"),
        (("--unix", "missing/a"), 9, "No such file"),
        (("--unix", "a" * 200), 9, "too long"),
        (("--unix-mode", "8"), 2, "--unix-mode"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(
    tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    """Before anything is served."""
    settings = {"attach_dir": tmp_path / "attachments"}
    done = run(REX, "serve", *options, directory=tmp_path, settings=settings)
    assert code == done.returncode, done.stderr
    assert said in done.stderr
    assert "Serving on" not in done.stderr


def test_all_of_an_application_is_below_the_root_path(tmp_path: Path) -> None:
    """Its health, its metrics, and each package, whether the proxy removes that path or not."""
    (tmp_path / "rex.toml").write_text('packages = ["rex.attach_demo"]')
    settings = {"attach_dir": tmp_path / "attachments"}
    with (
        rex_serving(tmp_path, "--root-path", "/files", "--metrics", **settings) as served,
        httpx.Client(base_url=served.url) as client,
    ):
        for below in ("", "/files"):
            assert "ok\n" == client.get(f"{below}/health").text
            page = client.get(f"{below}/attach_demo/").text
            assert 'data-service="../attach"' in page
            assert client.get(f"{below}/attach/openapi.json").is_success
            assert "attach_demo/" == client.get(f"{below}/attach_demo").headers["Location"]
        counted = client.get("/files/metrics").text
    assert 'route="/attach_demo",status="200"} 2.0' in counted
    assert 'route="_OTHER"' not in counted


def test_a_client_that_is_not_a_trusted_proxy_is_logged_by_its_own_address(tmp_path: Path) -> None:
    """And the address that a trusted proxy names is logged in place of the proxy's."""
    settings = {"attach_dir": tmp_path / "attachments"}
    options = ("--access-log", "--trusted-proxies", HOST)
    with rex_serving(tmp_path, *options, **settings) as served:
        for peer in (HOST, "127.0.0.2"):
            transport = httpx.HTTPTransport(local_address=peer)
            with httpx.Client(transport=transport, headers=FORWARDED) as client:
                client.get(f"{served.url}/from-{peer}")
    said = served.log.read_text()
    assert f'192.0.2.1 "GET /from-{HOST}"' in said
    assert '127.0.0.2 "GET /from-127.0.0.2"' in said
