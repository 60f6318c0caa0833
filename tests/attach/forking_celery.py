"""The program that `test_fork_celery.py` runs: a worker of Celery, whose children use a storage.

It takes one argument, JSON: the settings. The parent uses the storage before it forks its pool,
sends itself the tasks once it is ready, and uses the storage again before each of them. A child
ends after two tasks, and another one is forked. Each task prints a line of JSON: the process, and
what came of it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from attach.forking import use
from programs import PATIENCE
from rex.attach import get_storage
from rex.core import Error, Rex

TASKS = 6
OF_A_CHILD = 2
"""The tasks after which a child ends."""
POOL = 2

app = Celery("forking", broker="memory://")
app.conf.update(
    broker_connection_retry_on_startup=False,
    broker_transport_options={"polling_interval": 0.05},
    task_ignore_result=True,
    worker_concurrency=POOL,
    worker_max_tasks_per_child=OF_A_CHILD,
    worker_pool="prefork",
    worker_proc_alive_timeout=PATIENCE,
    worker_redirect_stdouts=False,
)
rex: Rex


def _use() -> str:
    with rex:
        try:
            return use(get_storage())
        except Error as error:
            return f"{error.kind.value}: {error}"


@app.task  # type: ignore[untyped-decorator]
def work() -> None:
    """Use the storage that the parent made."""
    line = json.dumps([os.getpid(), _use()])
    os.write(sys.stdout.fileno(), f"{line}\n".encode())  # at once, so that no two lines mix


@worker_ready.connect  # type: ignore[untyped-decorator]
def begin(**_: Any) -> None:
    """Send the tasks."""
    for _each in range(TASKS):
        assert "works" == _use()
        work.delay()


if __name__ == "__main__":
    rex = Rex("rex.attach", **json.loads(sys.argv[1]))
    assert "works" == _use()
    quiet = ("--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat")
    app.worker_main(["--quiet", "worker", *quiet])
