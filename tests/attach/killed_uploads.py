"""Processes that are killed while they take an upload, at every point at which they could be.

This is a program: it forks before it has asked any server anything, so that each child has a
storage of its own. For each number there is a new upload, and a child that is killed by the kernel
right before its so many-th change to the storage, until one comes to its end. It reads the options
of the storage as JSON, and prints a line of JSON for each upload.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
from typing import TYPE_CHECKING, Any

import botocore.config
import botocore.session  # noqa: F401 - before it forks, since it takes long
import obstore

from rex.attach import open_storage
from rex.attach.backends.s3 import resumable as s3_drafts
from rex.attach.backends.s3.control import S3Control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach import Storage

    Tell = Callable[[Any], object]

PART_SIZE = 5 * 1024 * 1024
SIZE = PART_SIZE + 100_000
PIECE = PART_SIZE - 1000
"""So the first piece is a tail, and the second one makes a part of it."""
CHANGES = ("write", "ftruncate", "fsync", "link", "rename", "unlink", "mkdir", "setxattr")


def content() -> bytes:
    """Give the bytes that are uploaded."""
    return random.Random(SIZE).randbytes(SIZE)  # noqa: S311 - content, no secret


def upload(storage: Storage, handle: str, tell: Tell) -> None:
    """Go on with an upload to its end, in pieces; tell the offset, first and after each piece."""
    data = content()
    offset = storage.uploads.info(handle).offset
    tell(offset)
    while offset < SIZE:
        piece = data[offset : offset + PIECE]
        offset = storage.uploads.append(handle, offset, iter([piece])).offset
        tell(offset)


def _killing_at(number: int) -> None:
    """Have this process killed right before its so many-th change to a storage."""
    points = itertools.count(1)

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(points) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CHANGES:
        setattr(os, name, watched(getattr(os, name)))
    control: Any = S3Control
    control._ask = watched(control._ask)
    for name in ("put", "delete"):
        setattr(obstore, name, watched(getattr(obstore, name)))


def _in_child(act: Callable[[Tell], None]) -> tuple[list[Any], bool]:
    """Act in a child; give what it tells, and whether it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        write = os.write
        try:
            os.close(reader)
            act(lambda what: write(writer, json.dumps(what).encode() + b"\n"))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        told = [json.loads(line) for line in file]
    status = os.waitpid(child, 0)[1]
    if status and not os.WIFSIGNALED(status):
        raise ChildProcessError(status)
    return told, status != 0


def _open(options: dict[str, Any]) -> Storage:
    return open_storage(options["url"], **{k: v for k, v in options.items() if k != "url"})


def _kills(options: dict[str, Any], *, partial: bool) -> Iterator[dict[str, Any]]:
    for number in itertools.count(1):

        def first(tell: Tell, number: int = number) -> None:
            storage = _open(options)
            handle = storage.uploads.create("a.bin", size=SIZE, partial=partial).handle
            tell(handle)
            _killing_at(number)
            upload(storage, handle, tell)

        (handle, *told), was_killed = _in_child(first)
        acknowledged = told[-1] if told else 0
        yield {"handle": handle, "killed": was_killed, "acknowledged": acknowledged}
        if not was_killed:
            return


if __name__ == "__main__":
    s3_drafts.PART_SIZE = PART_SIZE  # type: ignore[attr-defined]  # as the tests have it
    for line in _kills(json.load(sys.stdin), partial=sys.argv[1] == "part"):
        print(json.dumps(line), flush=True)  # noqa: T201 - the answer
