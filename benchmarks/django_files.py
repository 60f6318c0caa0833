"""A small file in a directory, compared with Django's FileSystemStorage.

Django's storage opens the path that it joins from the name; its size is one `os.stat`. A third
contestant only makes the system calls of ours (no symbolic link anywhere in the path, the recorded
attributes) and computes the SHA-256 of what it read: what no code in Python can do better.
"""

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING

from measure import OURS, Figure, compare

from rex.attach import open_storage
from rex.attach.backends.local.attributes import NAME
from rex.attach.backends.local.linux import open_without_links

if TYPE_CHECKING:
    from bench import Bench

SIZE = 4096
PEER = "Django's FileSystemStorage"
CALLS = "the system calls alone"


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

        path = f"{os.path.realpath(bench.directory)}/ours{handle}"

        def bare(*, is_read: bool) -> bytes:
            fd = open_without_links(path)
            assert fd is not None
            os.fstat(fd)
            os.getxattr(fd, NAME)
            found = os.pread(fd, SIZE, 0) if is_read else b""
            os.close(fd)
            return hashlib.sha256(found).digest() if is_read else b""

        assert content == read() == django_read()
        figures = []
        for case, ours, its, is_read in (
            ("open + read 4 KiB in a directory", read, django_read, True),
            ("stat in a directory", lambda: storage.stat(handle), lambda: theirs.size(name), False),
        ):
            figures += compare(
                case,
                {OURS: ours, PEER: its, CALLS: functools.partial(bare, is_read=is_read)},
                {PEER: 1.5, CALLS: None},
                rounds=bench.choose(7, 15),
                number=bench.choose(1000, 3000),
            )
        return figures
