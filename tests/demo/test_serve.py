"""``python -m rex.attach_demo.serve``: the page, there in seconds, and nothing left behind it."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from programs import PATIENCE, run, started
from rex.attach_demo.serve import HOST, PORT
from served import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

SERVE = (sys.executable, "-m", "rex.attach_demo.serve")


@contextmanager
def serving(
    scratch: Path,
    *options: object,
    end: signal.Signals = signal.SIGINT,
    finds_port: bool = False,
) -> Iterator[httpx.Client]:
    """Run it until it is told to end, with a place of its own for what is temporary."""
    with (
        reserved_port() as port,
        started(
            *SERVE,
            *(() if finds_port else ("--port", port)),
            *options,
            settings={"tmpdir": scratch},
        ) as program,
    ):
        try:
            said = iter(program.stdout.readline, "")
            url = next(found[1] for line in said if (found := re.search("Open (http[^ ]+)", line)))
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                yield client
        finally:
            # To all of them, as a terminal does.
            os.killpg(program.pid, end)
            _, errors = program.communicate()
        assert 0 == program.returncode, errors
        assert "Traceback" not in errors


def store(client: httpx.Client, content: bytes) -> httpx.Response:
    """Send a form."""
    return client.post("", files={"file": ("a.txt", content)})


@pytest.mark.parametrize("options", [[], ["--s3"]])
def test_the_page_is_served_until_ctrl_c(options: list[str], tmp_path: Path) -> None:
    """Over a directory or a throwaway S3 server, of which nothing is left afterwards."""
    with serving(tmp_path, *options) as client:
        page = client.get("")
        assert page.is_success
        server = re.search('data-server="([^"]*)"', page.text)
        assert server is not None
        assert bool(options) == bool(server[1])
        assert httpx.codes.CREATED == store(client, b"content").status_code
        (file,) = client.get("files").json()["files"]
        url = client.base_url.join(f"/attach{file['handle']}")
        answer = client.get(url, follow_redirects=True)
        assert b"content" == answer.content
        assert answer.url.host == client.base_url.host
        assert [*tmp_path.iterdir()]
        if server[1]:
            assert str(answer.url).startswith(server[1])
            origin = str(client.base_url).removesuffix("/attach_demo/")
            allowed = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            preflight = client.options(f"{server[1]}/attachments/x", headers=allowed)
            assert origin == preflight.headers["access-control-allow-origin"]
    if server[1]:
        with pytest.raises(httpx.ConnectError):
            httpx.get(server[1])
    assert [] == [*tmp_path.iterdir()]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_its_terminal_and_when_it_is_told_to(
    end: signal.Signals, tmp_path: Path
) -> None:
    """As by Ctrl-C."""
    with serving(tmp_path, end=end) as client:
        assert client.get("").is_success
        url = str(client.base_url)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert [] == [*tmp_path.iterdir()]


def test_it_can_be_interrupted_while_it_starts(tmp_path: Path) -> None:
    """Here, while SeaweedFS does."""
    with started(*SERVE, "--s3", settings={"tmpdir": tmp_path}) as program:
        assert "Starting SeaweedFS" in program.stdout.readline()
        os.killpg(program.pid, signal.SIGINT)
        said, errors = program.communicate()
    assert 0 == program.returncode, errors
    assert "" == errors or "Open http" in said  # it was quicker than the signal
    assert "Traceback" not in errors
    assert [] == [*tmp_path.iterdir()]


def test_files_can_stay(tmp_path: Path) -> None:
    """In a directory that is named."""
    kept, scratch = tmp_path / "kept", tmp_path / "scratch"
    scratch.mkdir()
    for expected in (0, 1):
        with serving(scratch, "--dir", kept, "--max-size", "1kB") as client:
            assert expected == client.get("files").json()["total"]
            assert 'data-max-size="1000"' in client.get("").text
            refused = store(client, bytes(2000))
            assert httpx.codes.REQUEST_ENTITY_TOO_LARGE == refused.status_code
            store(client, b"content")
    assert 2 == len([*kept.rglob("a.txt")])
    assert [] == [*scratch.iterdir()]


def test_another_port_is_found_or_named(tmp_path: Path) -> None:
    """Two may run at once."""
    with ExitStack() as stack:
        is_taken = False
        with suppress(OSError):  # another program may have it, as long as it likes
            stack.enter_context(socket.create_server((HOST, PORT)))
            is_taken = True
        with serving(tmp_path, finds_port=True) as client:
            assert client.get("").is_success
            assert not (is_taken and client.base_url.port == PORT)
    with serving(tmp_path) as client:
        port = client.base_url.port
        assert "Cannot listen on this port (option --port)" in refused("--port", port)
    assert "Cannot listen on this port (option --port)" in refused("--port", 99999)
    assert "attach_max_size" in refused("--max-size", "much")
    assert "--dir" in refused("--s3", "--dir", "there")


def refused(*options: object) -> str:
    """Run it with options that are wrong; give what it says."""
    done = run(*SERVE, *options)
    assert 0 != done.returncode
    assert "" == done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr
