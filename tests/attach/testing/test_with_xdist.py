"""The pytest plugin with pytest-xdist: workers share nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from programs import run

pytest_plugins = ("pytester",)

TESTS = """
    import os
    from pathlib import Path
    import pytest

    LOG = Path(__file__).parent / "seen"

    @pytest.mark.parametrize("number", range(6))
    def test_s3(attach_s3, attach_s3_server, upload_via, attach_leaks, number, worker_id):
        assert list(attach_s3) == []
        handle = attach_s3.reserve("a.txt")
        assert upload_via(attach_s3.upload_link(handle), b"text").ok
        attach_leaks.references([handle])
        line = f"{worker_id} {attach_s3.endpoint} {attach_s3.prefix} {attach_s3_server.log_path}"
        LOG.joinpath(str(number)).write_text(line)

    @pytest.mark.parametrize("number", range(6))
    def test_directory(attach_directory, number):
        assert list(attach_directory) == []
        attach_directory.add("a.txt", "text")
"""
CRASH = """
    import os
    from pathlib import Path
    import pytest

    LOG = Path(__file__).parent / "seen"

    @pytest.mark.parametrize("number", range(4))
    def test_crash(attach_s3, attach_s3_server, number):
        attach_s3.add("a.txt", "text")
        LOG.joinpath(str(number)).write_text(str(attach_s3_server.log_path))
        if number == 1:
            os._exit(1)
"""
COMMAND = (
    *(sys.executable, "-m", "pytest", "-p", "xdist", "-p", "rex.attach.testing"),
    *("-p", "no:cacheprovider", "-n", "2", "--attach-require-s3"),
)
BARE: dict[str, object] = {"pytest_disable_plugin_autoload": 1}


def written_by(pytester: pytest.Pytester) -> list[list[str]]:
    """Return what each test of a project has written."""
    return [path.read_text().split() for path in sorted((pytester.path / "seen").iterdir())]


@pytest.mark.long
def test_each_worker_has_a_server_and_each_test_a_prefix(pytester: pytest.Pytester) -> None:
    """No server outlives the run."""
    pytester.mkdir("seen")
    pytester.makepyfile(TESTS)
    # In turn, so that both workers have tests of both kinds.
    done = run(*COMMAND, "--dist", "load", directory=pytester.path, settings=BARE)
    assert "12 passed" in done.stdout, done.stdout
    lines = written_by(pytester)
    workers = {worker for worker, *_ in lines}
    assert {"gw0", "gw1"} == workers
    assert len(workers) == len({(worker, endpoint) for worker, endpoint, *_ in lines})
    assert len(workers) == len({endpoint for _, endpoint, *_ in lines})
    assert 6 == len({prefix for *_, prefix, _ in lines})
    assert [] == [log for *_, log in lines if Path(log).exists()]


@pytest.mark.long
def test_other_workers_do_not_need_the_server_of_one_that_crashes(
    pytester: pytest.Pytester,
) -> None:
    """The worker that replaces it starts a server of its own; the other workers go on."""
    pytester.mkdir("seen")
    pytester.makepyfile(CRASH)
    done = run(*COMMAND, directory=pytester.path, settings=BARE)
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    first, second, *others = [log for (log,) in written_by(pytester)]
    assert first == second
    assert first not in others
