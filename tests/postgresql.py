"""A throwaway PostgreSQL of Debian, which forgets all at its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from programs import PATIENCE, environment, started

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LEFT_OUT", "PROGRAMS", "postgresql"]

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
LEFT_OUT = () if PROGRAMS else ("sessions on PostgreSQL (needs Debian's postgresql)",)

PAUSE_SECONDS = 0.02
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    # A session that cannot roll back keeps its connection, and waits for itself in the next one.
    "lock_timeout": "10s",
    "max_connections": "50",
    "max_prepared_transactions": "10",
    "log_min_messages": "fatal",
    "timezone": "UTC",
}


def _as_its_user() -> dict[str, Any]:
    """Return the options with which it runs: as root it refuses to."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server; give the SQLAlchemy URL of an empty database, for a Unix socket."""
    assert PROGRAMS is not None
    # The path of a Unix socket must be short.
    directory = Path(tempfile.mkdtemp(prefix="rex-pg-", dir="/tmp"))
    options = _as_its_user()
    if options:
        shutil.chown(directory, options["user"], options["group"])
    try:
        subprocess.run(
            [
                PROGRAMS / "initdb",
                *("--auth=trust", "--username=rex", "--encoding=UTF8", "--no-locale", "--no-sync"),
                f"--pgdata={directory}/data",
            ],
            check=True,
            capture_output=True,
            cwd=directory,
            env=environment({}),
            **options,
        )
        given = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        given.append(f"-cunix_socket_directories={directory}")
        with (
            (directory / "log").open("w") as log,
            started(
                PROGRAMS / "postgres",
                f"-D{directory}/data",
                *given,
                directory=directory,
                options={"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, **options},
            ) as program,
        ):
            try:
                _wait(directory)
                yield f"postgresql+psycopg://rex@/postgres?host={directory}"
            finally:
                program.send_signal(signal.SIGQUIT)  # which also frees its shared memory
                program.wait(PATIENCE)
    finally:
        shutil.rmtree(directory)


def _wait(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(f"user=rex dbname=postgres host={directory}").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(PAUSE_SECONDS)
        else:
            return
