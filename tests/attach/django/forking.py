"""The program that `test_parallel.py` runs: ``manage.py test --parallel`` of a project.

It takes one argument, JSON: the URL and the options of the storage. The parent saves a file before
Django forks its processes; the tests are in `forked.py`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys

from attach.django import project


def main(url: str, options: dict[str, object]) -> None:
    """Run the tests in forked processes."""
    multiprocessing.set_start_method("fork")  # not the default of every version of Python
    project.setup(STORAGES=project.storages_at(url, **options))

    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.core.management import execute_from_command_line

    from attach.django.forked import CONTENT, FIXTURE, PARENT

    name = default_storage.save("fixture.txt", ContentFile(CONTENT))
    os.environ |= {FIXTURE: name, PARENT: str(os.getpid())}
    execute_from_command_line(["manage.py", "test", "attach.django.forked", "--parallel=2"])


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
