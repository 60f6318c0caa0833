"""A small file in a directory, compared with Django's FileSystemStorage.

Django's storage opens the path that it joins from the name; its size is one `os.stat`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from measure import OURS, Figure, compare

from rex.attach import open_storage

if TYPE_CHECKING:
    from bench import Bench

SIZE = 4096
PEER = "Django's FileSystemStorage"


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    from django.core.files.base import ContentFile
    from django.core.files.storage import FileSystemStorage

    content = os.urandom(SIZE)
    theirs = FileSystemStorage(bench.directory / "theirs")
    name = theirs.save("2026/01/01/a.bin", ContentFile(content))
    with open_storage(f"file://{bench.directory}/ours") as storage:
        storage.check()  # which makes the directory
        handle = storage.add("a.bin", content)

        def read() -> bytes:
            with storage.open(handle) as stream:
                return stream.read()

        def django_read() -> bytes:
            with theirs.open(name) as file:
                found: bytes = file.read()
                return found

        assert content == read() == django_read()
        figures = []
        for case, ours, its in (
            ("open + read 4 KiB in a directory", read, django_read),
            ("stat in a directory", lambda: storage.stat(handle), lambda: theirs.size(name)),
        ):
            figures += compare(
                case,
                {OURS: ours, PEER: its},
                {PEER: 1.5},
                rounds=bench.choose(7, 15),
                number=bench.choose(1000, 3000),
            )
        return figures
