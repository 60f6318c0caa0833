"""Large attachments on real servers: gunicorn (WSGI) and uvicorn (ASGI) need little memory."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from attach.django import project
from rex.attach import open_storage
from served import PORT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from served import Served

pytestmark = pytest.mark.long

MIB = 1024 * 1024
SIZE = 200 * MIB
LIMIT = 32 * MIB
"""The memory that a download or an upload may take."""
TIMEOUT = 300

COMMANDS = {
    "gunicorn": ["gunicorn", "--bind", f"127.0.0.1:{PORT}", "attach.django.wsgi"],
    "uvicorn": ["uvicorn", "--port", PORT, "--lifespan", "off", "attach.django.asgi:application"],
}


@pytest.fixture(params=list(COMMANDS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """Serve the project on each server."""
    command = [sys.executable, "-m", *COMMANDS[request.param]]
    with serving(command, tmp_path, {"files": str(tmp_path / "files")}) as served:
        yield served


def blocks() -> Iterator[bytes]:
    """Yield the content; no MiB is like another."""
    for number in range(0, SIZE, MIB):
        yield number.to_bytes(8, "big") * (MIB // 8)


def digest_of(chunks: Iterator[bytes]) -> str:
    """Return the SHA-256 of bytes."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


@pytest.mark.parametrize("path", ["file", "async"])
def test_a_large_attachment_is_never_in_memory_as_a_whole(server: Served, path: str) -> None:
    """Also in a view that is a coroutine; nor is the half of it that a client asks for."""
    with open_storage(server.directory / "files") as storage:
        storage.check()
        large = storage.add("large.bin", blocks())
        small = storage.add("small.bin", bytes(MIB))
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        assert client.get(f"/{path}{small}").status_code == 200
        client.get("/memory")
        before = int(client.get("/memory").text)
        with client.stream("GET", f"/{path}{large}") as response:
            assert response.headers["content-length"] == str(SIZE)
            assert digest_of(blocks()) == digest_of(response.iter_raw())
        part = {"Range": f"bytes={SIZE // 2}-"}
        with client.stream("GET", f"/{path}{large}", headers=part) as response:
            assert (response.status_code, sum(map(len, response.iter_raw()))) == (206, SIZE // 2)
        assert int(client.get("/memory").text) - before < LIMIT


def test_a_large_upload_is_never_in_memory_as_a_whole(server: Served) -> None:
    """Sent to the view of a storage without links of its own."""
    project.setup()
    from django.test import override_settings

    from rex.attach.django.storage import AttachmentStorage
    from rex.attach.django.upload_links import make_upload_link

    place = project.storages_at(str(server.directory / "files"))
    with (
        override_settings(STORAGES=place),
        httpx.Client(base_url=server.url, timeout=TIMEOUT) as client,
    ):
        from django.core.files.storage import storages

        storage = storages["default"]
        assert isinstance(storage, AttachmentStorage)
        client.get("/memory")
        before = int(client.get("/memory").text)
        handle = storage.rex.reserve("large.bin")
        link = make_upload_link(storage, handle)
        headers = {**link.headers, "Content-Length": str(SIZE)}
        response = client.put(link.url, content=blocks(), headers=headers)
        assert response.status_code == 201
        assert int(client.get("/memory").text) - before < LIMIT
        assert storage.rex.info(handle).size == SIZE
        url = storage.url(handle[1:])
        with client.stream("GET", url) as response:
            assert digest_of(blocks()) == digest_of(response.iter_raw())
