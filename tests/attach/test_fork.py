"""A process that forks: each child works or says clearly what is wrong, and none hangs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from attach import forking
from programs import started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

SECONDS = 30
"""Whoever takes longer hangs; a child takes well under a second."""

LOST = "unsupported: The storage was used before this process was forked, and does not work here"

CHILDREN = (
    "storage_of_the_child",
    "aio_of_the_child",
    "storage_made_in_the_child",
    "application_made_in_the_child",
)


@pytest.fixture(params=["local", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Give the settings of a storage, for each kind that can be used by several processes."""
    if request.param == "local":
        return {"attach_dir": str(tmp_path / "attachments")}
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    return {**server.settings(), "attach_s3_prefix": f"fork/{tmp_path.name}"}


def run(
    settings: dict[str, Any], *, before: str, children: Sequence[str], how: str
) -> dict[str, str]:
    """Run an application that forks; return what each child came to, and the parent."""
    task = {"settings": settings, "before": before, "children": children, "how": how}
    quietly = ("-W", "ignore::DeprecationWarning")
    with started(sys.executable, *quietly, forking.__file__, json.dumps(task)) as program:
        output, errors = program.communicate(timeout=SECONDS)
    assert errors == ""
    assert program.returncode == 0
    *of_children, of_parent = map(json.loads, output.splitlines())
    assert [0] * len(children) == of_children[1::2]
    outcomes = zip((*children, "parent"), (*of_children[::2], of_parent), strict=True)
    return {who: outcome.partition(":\n")[0] for who, outcome in outcomes}


def is_s3(settings: dict[str, Any]) -> bool:
    """Tell which of the storages this is."""
    return "attach_s3_bucket" in settings


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_child_of_a_parent_that_only_made_its_storage_works(
    settings: dict[str, Any], how: str
) -> None:
    """The start-up check and links use nothing that a fork would break."""
    outcomes = run(settings, before="linked", children=CHILDREN, how=how)
    assert dict.fromkeys((*CHILDREN, "parent"), "works") == outcomes


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_child_of_a_parent_that_used_its_storage_works_or_says_why_not(
    settings: dict[str, Any], how: str
) -> None:
    """On a directory it works; on S3 listing does, and for the rest the error is clear."""
    children = (*CHILDREN, "reader_of_the_parent")
    listing = "listing_of_the_parent"
    outcomes = run(settings, before="used", children=(*children, listing), how=how)
    expected = LOST if is_s3(settings) else "works"
    assert {
        **dict.fromkeys(children, expected),
        **dict.fromkeys((listing, "parent"), "works"),
    } == outcomes


def test_a_child_can_let_go_of_what_its_parent_opened(settings: dict[str, Any]) -> None:
    """Closing and forgetting neither hangs nor crashes."""
    child = "dropped_by_the_child"
    outcomes = run(settings, before="used", children=[child], how="os.fork")
    assert outcomes == {child: "works", "parent": "works"}


APPLICATION = """
    import json, os
    from attach.forking import use
    from rex.attach import get_storage
    from rex.core import Error, Rex

    rex = Rex("rex.attach", **json.loads(os.environ["SETTINGS"]))
    if os.environ["BEFORE"] == "used":
        with rex:
            use(get_storage())

    def application(environ, start_response):
        with rex:
            try:
                outcome = use(get_storage())
            except Error as error:
                outcome = f"{error.kind.value}: {error}"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {outcome}".encode()]
    """


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, so that no port has to be found."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


@contextlib.contextmanager
def gunicorn(directory: Path, settings: dict[str, Any], before: str) -> Iterator[Path]:
    """Run the application in gunicorn with two preloaded workers; give its socket."""
    (directory / "forking_application.py").write_text(textwrap.dedent(APPLICATION))
    address = directory / "gunicorn.sock"
    search = [str(directory), str(Path(forking.__file__).parent.parent)]
    command = [
        *(sys.executable, "-m", "gunicorn", "--preload", "--workers=2", f"--bind=unix:{address}"),
        *("--timeout=20", "--no-control-socket", "forking_application:application"),
    ]
    given = {
        "pythonpath": os.pathsep.join(search),
        "settings": json.dumps(settings),
        "before": before,
    }
    log = []
    with started(*command, directory=directory, settings=given) as server:
        for line in server.stderr:
            log.append(line)
            if "".join(log).count("Booting worker") == 2:
                break
        yield address
        server.send_signal(signal.SIGTERM)
        log.append(server.communicate(timeout=SECONDS)[1])
    text = "".join(log)
    assert server.returncode == 0, text
    # Neither did a worker die or hang on the way, nor was one killed in the end.
    assert text.count("Booting worker") == 2, text
    assert "SIGKILL" not in text, text
    assert "Traceback" not in text, text


@pytest.mark.parametrize("before", ["made", "used"])
def test_preloaded_workers_of_gunicorn_work_or_say_why_not(
    settings: dict[str, Any], before: str, tmp_path: Path
) -> None:
    """Each worker answers each request, and ends when told to."""
    outcomes = set()
    with gunicorn(tmp_path, settings, before) as address:
        for _ in range(8):
            with contextlib.closing(_UnixConnection(address)) as connection:
                connection.request("GET", "/")
                outcomes.add(connection.getresponse().read().decode().partition(" ")[2])
    expected = LOST if is_s3(settings) and before == "used" else "works"
    assert {outcome.partition(":\n")[0] for outcome in outcomes} == {expected}
