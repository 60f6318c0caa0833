"""A process that forks: each child works, and none hangs."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from attach import forking, forking_celery
from programs import PATIENCE, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from programs import Program
    from rex.attach_demo.azurite import Azurite
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long


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
        output, errors = program.communicate()
    assert errors == ""
    assert program.returncode == 0
    *of_children, of_parent = map(json.loads, output.splitlines())
    assert [0] * len(children) == of_children[1::2]
    outcomes = zip((*children, "parent"), (*of_children[::2], of_parent), strict=True)
    return {who: outcome.partition(":\n")[0] for who, outcome in outcomes}


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_child_of_a_parent_that_only_made_its_storage_works(
    settings: dict[str, Any], how: str
) -> None:
    """The start-up check and links use nothing that a fork would break."""
    outcomes = run(settings, before="linked", children=CHILDREN, how=how)
    assert dict.fromkeys((*CHILDREN, "parent"), "works") == outcomes


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing", "thread"])
def test_a_child_of_a_parent_that_used_its_storage_works(
    settings: dict[str, Any], how: str
) -> None:
    """Also what the parent has begun to read or to list, and while its threads are at work."""
    begun = ("reader_of_the_parent", "listing_of_the_parent")
    children = (*CHILDREN, *begun, "used_by_many_threads", "grandchild")
    outcomes = run(settings, before="used", children=children, how=how)
    assert dict.fromkeys((*children, "parent"), "works") == outcomes


def test_a_child_of_a_parent_that_used_azure_works(azurite: Azurite, tmp_path: Path) -> None:
    """Requests by our own client and by obstore, while the parent's threads are at work."""
    settings = {**azurite.settings(), "attach_azure_prefix": f"fork/{tmp_path.name}"}
    children = (*CHILDREN, "reader_of_the_parent", "listing_of_the_parent", "grandchild")
    outcomes = run(settings, before="used", children=children, how="thread")
    assert dict.fromkeys((*children, "parent"), "works") == outcomes


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
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


@contextlib.contextmanager
def gunicorn(directory: Path, settings: dict[str, Any], before: str) -> Iterator[Path]:
    """Run the application in gunicorn with two preloaded workers; give its socket."""
    (directory / "forking_application.py").write_text(textwrap.dedent(APPLICATION))
    address = directory / "gunicorn.sock"
    search = [str(directory), str(Path(forking.__file__).parent.parent)]
    command = [
        *(sys.executable, "-m", "gunicorn", "--preload", "--workers=2", f"--bind=unix:{address}"),
        *(f"--timeout={PATIENCE}", f"--graceful-timeout={PATIENCE}", "--no-control-socket"),
        "forking_application:application",
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
        log.append(server.communicate()[1])
    text = "".join(log)
    assert server.returncode == 0, text
    # Neither did a worker die or hang on the way, nor was one killed in the end.
    assert text.count("Booting worker") == 2, text
    assert "SIGKILL" not in text, text
    assert "Traceback" not in text, text


@pytest.mark.parametrize("before", ["made", "used"])
def test_preloaded_workers_of_gunicorn_work(
    settings: dict[str, Any], before: str, tmp_path: Path
) -> None:
    """Each worker answers each request, and ends when told to."""
    outcomes = set()
    with gunicorn(tmp_path, settings, before) as address:
        for _ in range(8):
            with contextlib.closing(_UnixConnection(address)) as connection:
                connection.request("GET", "/")
                outcomes.add(connection.getresponse().read().decode().partition(" ")[2])
    assert {"works"} == outcomes


@contextlib.contextmanager
def ended_if_it_hangs(program: Program) -> Iterator[None]:
    """Kill a program and its children after a while, so that a read of its output ends."""
    limit = threading.Timer(PATIENCE, os.killpg, (program.pid, signal.SIGKILL))
    limit.start()
    try:
        yield
    finally:
        limit.cancel()
        limit.join()


def test_tasks_of_celery_work_in_children_of_a_used_storage(settings: dict[str, Any]) -> None:
    """Also in children that are forked later, while the parent goes on to use the storage."""
    program = (sys.executable, forking_celery.__file__, json.dumps(settings))
    with started(*program, settings={"c_force_root": "yes"}) as worker, ended_if_it_hangs(worker):
        lines = [*itertools.islice(worker.stdout, forking_celery.TASKS)]
        # Its end would take as long again; that children end is seen by those that replace them.
        os.killpg(worker.pid, signal.SIGKILL)
        errors = worker.communicate()[1]
    assert forking_celery.TASKS == len(lines), errors
    assert "Traceback" not in errors, errors
    processes, outcomes = map(set, zip(*map(json.loads, lines), strict=True))
    assert {"works"} == outcomes
    assert len(processes) > forking_celery.POOL
    assert worker.pid not in processes
