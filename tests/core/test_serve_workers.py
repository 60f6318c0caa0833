"""The workers of `rex serve`: killed, started while their storage is away, terminated."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from load import Load
from programs import PATIENCE
from served import Served, rex_serving
from trust.servers import MortalSeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

WAITS = "A worker cannot start; retrying in"
KILLS = "Killing worker"
"""What granian says of a worker that does not end within 30 seconds."""


@pytest.fixture
def s3() -> Iterator[MortalSeaweedFS]:
    """Run a SeaweedFS that the test may kill."""
    with MortalSeaweedFS() as server:
        yield server


def workers(served: Served) -> set[int]:
    """Return the process ids of the workers."""
    _, *found = served.processes
    return {int(process.name) for process in found}


def kill_workers(served: Served, number: int) -> None:
    """Kill some workers, as a system without memory does, and wait for new ones."""
    before = workers(served)
    for pid in sorted(before)[:number]:
        os.kill(pid, signal.SIGKILL)
    served.until(lambda: len(workers(served) - before) == number)


@pytest.mark.parametrize("number", [1, 2])
def test_a_killed_worker_is_replaced_under_load(tmp_path: Path, number: int) -> None:
    """The service goes on, also after its only worker; acknowledged attachments are there."""
    options = ("--workers", number)
    with rex_serving(tmp_path, *options, attach_dir=tmp_path / "attachments") as served:
        with Load(served) as load:
            load.wait_for_more()
            kill_workers(served, number)
            load.wait_for_more()
        assert [] == load.missing()
        assert number == len(workers(served))
        assert served.program.poll() is None


def test_a_worker_waits_for_a_storage_that_is_away(tmp_path: Path, s3: MortalSeaweedFS) -> None:
    """It logs the reason, and serves as soon as the storage is back."""
    with rex_serving(tmp_path, **s3.settings(), attach_s3_timeout=PATIENCE) as served:
        s3.kill()
        kill_workers(served, 1)
        served.until(lambda: WAITS in served.log.read_text())
        assert "attach_s3_endpoint" in served.log.read_text()
        s3.restart()
        with Load(served) as load:
            load.wait_for_more()
        assert [] == load.missing()


def test_a_worker_that_waits_can_be_terminated(tmp_path: Path, s3: MortalSeaweedFS) -> None:
    """At once, and the server ends as usual."""
    with rex_serving(tmp_path, **s3.settings(), attach_s3_timeout=PATIENCE) as served:
        s3.kill()
        kill_workers(served, 1)
        served.until(lambda: WAITS in served.log.read_text())
        served.program.terminate()
        assert 0 == served.program.wait(timeout=PATIENCE)
        assert KILLS not in served.log.read_text()


def test_the_service_outlives_a_restart_of_its_storage(tmp_path: Path, s3: MortalSeaweedFS) -> None:
    """Under load: the same workers go on, and acknowledged attachments are there."""
    with rex_serving(tmp_path, **s3.settings(), attach_s3_timeout=PATIENCE) as served:
        before = workers(served)
        with Load(served) as load:
            load.wait_for_more()
            s3.kill()
            s3.restart()
            load.wait_for_more()
        assert before == workers(served)
        assert [] == load.missing()


def test_workers_that_die_again_and_again_end_the_server(tmp_path: Path) -> None:
    """With a clear message, and an exit code for the supervisor."""
    (tmp_path / "rules_of_a_test.py").write_text(
        "import os\n\n\ndef die(_, action, handle):\n    os._exit(3)\n"
    )
    settings = {
        "attach_dir": tmp_path / "attachments",
        "attach_access": "rules_of_a_test:die",
        "pythonpath": tmp_path,
    }
    with rex_serving(tmp_path, **settings) as served, Load(served):
        assert 1 == served.program.wait(timeout=PATIENCE)
    assert "rex: The workers exit right after their start" in served.log.read_text()
