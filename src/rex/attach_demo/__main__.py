"""A tour of the operations of a storage: ``python -m rex.attach_demo``."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

import requests

from rex.attach import Storage, get_storage
from rex.attach_demo.seaweedfs import SeaweedFS
from rex.core import Error, Rex

__all__ = ["main"]

MIB = 1024 * 1024


def main() -> None:
    """Tour a storage in a directory, then on a temporary S3 server."""
    with tempfile.TemporaryDirectory() as directory:
        say(f"== A directory: {directory}")
        with Rex("rex.attach_demo", attach_dir=directory):
            tour(get_storage())
    say("== An S3 server: a temporary SeaweedFS for this tour")
    with SeaweedFS() as server, Rex("rex.attach_demo", **server.settings()):
        tour(get_storage())
        tour_links(get_storage())
    say("== Done: the directory and the server are deleted.")


def tour(storage: Storage) -> None:
    """Store, read, list and remove attachments: a text, a module and a large stream."""
    say(f"storage = {storage}")
    source = Path(traceback.__file__)
    text = storage.add("hello.txt", "Hello, attachments!")
    say(f"add a string                 -> {text}")
    with source.open("rb") as file:
        module = storage.add(source.name, file)
    say(f"add a file                   -> {module}")
    chunks = (os.urandom(MIB) for _ in range(20))
    large = storage.add("large.bin", chunks)
    say(f"add 20 MiB from a generator  -> {large}")

    with storage.open(text) as stream:
        say(f"open and read                -> {stream.read()!r}")
    with storage.open(module) as stream:
        check(stream.read() == source.read_bytes(), "the bytes read are the bytes stored")
    with storage.open(large) as stream:
        stream.seek(-4, os.SEEK_END)
        say(f"seek to the last four bytes  -> {stream.read().hex()}")
    info = storage.info(module)
    say(f"info                         -> {info.size} bytes, {info.content_type}")
    say(f"stat                         -> st_size={storage.stat(large).st_size}")
    say(f"list                         -> {len(list(storage))} attachments")

    storage.remove(large)
    try:
        storage.open(large)
    except Error as error:
        say(f"remove, then open            -> {error.kind.name}: {error.message}")
    try:
        storage.open("/../../etc/passwd")
    except Error as error:
        say(f"open /../../etc/passwd       -> {error.kind.name}: {error.message}")


def tour_links(storage: Storage) -> None:
    """Upload and download with plain HTTP, bypassing the application."""
    handle = storage.reserve("photo.png")
    link = storage.upload_link(handle, max_size=MIB)
    say(f"reserve, then upload_link    -> {link}")
    response = requests.post(
        link.url, data=link.fields, files={"file": ("photo.png", b"\x89PNG ...")}, timeout=10
    )
    say(f"a client posts the form      -> {response.status_code}")
    say(f"the attachment is stored     -> {storage.info(handle).size} bytes")
    response = requests.post(
        link.url, data=link.fields, files={"file": ("x", bytes(2 * MIB))}, timeout=10
    )
    say(f"a client posts too much      -> {response.status_code}")
    link = storage.download_link(handle)
    say(f"download_link                -> {link}")
    response = requests.get(link.url, timeout=10)
    say(f"a client downloads the file  -> {response.status_code} {response.content!r}")
    say(f"browsers save it to disk     -> {response.headers['Content-Disposition']}")
    check(response.content == b"\x89PNG ...", "the bytes downloaded are the bytes uploaded")


def say(line: str) -> None:
    """Print a line of the tour."""
    sys.stdout.write(f"{line}\n")


def check(holds: bool, claim: str) -> None:  # noqa: FBT001 - `claim` says what the condition is
    """Print a claim that holds, or raise an `Error`."""
    if not holds:
        raise Error("The check failed", claim)
    say(f"                                {claim}")


if __name__ == "__main__":
    main()
