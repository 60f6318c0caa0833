"""The headers by which a proxy sends a download, and who gets them (setting attach_sendfile).

What a proxy makes of them is in tests/test_sendfile.py.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import flask
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from attach.s3_storage import s3_storage
from rex.attach import open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.fastapi import AttachmentResponse
from rex.attach.flask import Attachments, current_attachments, send_attachment
from rex.attach.http.download import DownloadRequest, open_download
from rex.attach.http.sendfile import can_hand_over, target_header
from rex.attach.web import Access, attachments
from rex.core import Error, Kind

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client of newer versions needs another httpx
    from starlette.testclient import TestClient

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from rex.attach import Storage

CONTENT = b"0123456789" * 20_000
NAME = "ü %41#.bin"
HANDLE = f"/2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/{NAME}"
KEYS = {"access_key": "key", "secret_key": "secret"}


async def ask(storage: Storage, handle: str) -> httpx.Response:
    """Send a request to the service."""
    transport = httpx.ASGITransport(attachments(storage, Access(lambda *_: True)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(quote(handle))


def sent(headers: Any, body: bytes, handle: str) -> bool:
    """Return whether a response is handed over to nginx: without bytes, with the path encoded."""
    return (body, headers.get("X-Accel-Redirect")) == (b"", f"/_attach{quote(handle)}")


def test_the_view_of_each_framework_hands_over(tmp_path: Path) -> None:
    """`AttachmentResponse` of FastAPI, `send_attachment` of Flask, and `open_download`."""
    directory = tmp_path / "attachments"
    with open_storage(directory, sendfile="/_attach") as storage:
        storage.init()
        handle = storage.add(NAME, CONTENT)
        download = open_download(storage, handle, DownloadRequest("GET", {}))
        assert sent(download.headers, b"".join(download), handle)

        async def endpoint(_: Request) -> AttachmentResponse:
            return AttachmentResponse(storage, handle)

        with TestClient(Starlette(routes=[Route("/", endpoint)])) as client:
            answer = client.get("/")
            assert sent(answer.headers, answer.content, handle)
            assert "0" == answer.headers["Content-Length"]
    app = flask.Flask(__name__)
    app.config.update(ATTACH_DIR=directory, ATTACH_SENDFILE="/_attach")
    Attachments(app, rule=lambda *_: True)
    app.add_url_rule("/file", view_func=lambda: send_attachment(handle))
    with app.test_client() as browser:
        for path in ("/file", f"/attach{quote(handle)}"):
            response = browser.get(path)
            assert sent(response.headers, response.data, handle)
            assert "0" == response.headers["Content-Length"]
    with app.app_context():
        current_attachments.close()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("GET", {"if-none-match": '"other"'}, 200),
        ("GET", {"if-match": "*"}, 200),
        ("GET", {"range": "bytes=0-1,5-6"}, 206),
        ("GET", {"range": "bytes=0-1", "if-range": '"other"'}, 200),
        ("GET", {"range": "bytes=5-1"}, 200),
        ("GET", {"range": "BYTES=0-4"}, 206),
        ("GET", {"range": f"bytes=5-{10**18}"}, 206),
        ("GET", {"range": "bytes=999999-"}, 416),
    ],
)
def test_the_service_sends_what_a_proxy_might_send_differently(
    tmp_path: Path, method: str, headers: dict[str, str], status: int
) -> None:
    """Conditions, several ranges, ranges that do not count, and HEAD."""
    with open_storage(tmp_path / "attachments", sendfile="/_attach") as storage:
        storage.init()
        handle = storage.add(NAME, CONTENT)
        download = open_download(storage, handle, DownloadRequest(method, headers))
        download.close()
    assert (status, False) == (download.status, "X-Accel-Redirect" in download.headers)


def test_a_small_attachment_in_memory_is_sent_at_once(tmp_path: Path) -> None:
    """A proxy would need longer to open it."""
    with open_storage(tmp_path / "attachments", sendfile="/_attach") as storage:
        storage.init()
        download = open_download(storage, storage.add("a", b"a"), DownloadRequest("GET", {}))
        assert b"a" == b"".join(download)


def test_apache_gets_the_path_of_the_file(tmp_path: Path) -> None:
    """Its bytes as they are, since Apache decodes nothing, through each framework."""
    with open_storage(tmp_path / "ä", sendfile="x-sendfile") as storage:
        storage.init()
        handle = storage.add(NAME, CONTENT)
        expected = os.fsencode(f"{tmp_path}/ä{handle}")
        download = open_download(storage, handle, DownloadRequest("GET", {}))
        assert expected.decode("latin-1") == download.headers["X-Sendfile"]
        answer = asyncio.run(ask(storage, handle))
    raw = dict(answer.headers.raw)
    assert (b"", expected) == (answer.content, raw[b"x-sendfile"])


def test_nginx_gets_the_signed_address_on_a_server() -> None:
    """With the path encoded once more, since nginx decodes it; it ends soon."""
    with s3_storage(
        "bucket", endpoint="http://s3.internal:8333", sendfile="/_attach", **KEYS
    ) as storage:
        place, _, query = target_header(storage, HANDLE)["X-Accel-Redirect"].partition("?")
        path, _, _ = storage.download_link(HANDLE).url.partition("?")
    assert path == unquote(place).replace("/_attach/", "http://")
    assert "X-Amz-Expires=300" in query
    assert "X-Amz-Signature=" in query


def test_no_other_storage_hands_over(tmp_path: Path) -> None:
    """Memory, two storages at once, Apache before a server, and any without the setting."""
    address: dict[str, Any] = {"endpoint": "http://s3.internal:8333", **KEYS}
    directory = open_storage(tmp_path / "new", sendfile="/_attach")
    older = open_storage(tmp_path / "old", url="/attach")
    server = s3_storage("bucket", sendfile="/_attach", **address)
    expected = {
        directory: True,
        server: True,
        FallbackStorage(server, s3_storage("older", **address)): True,
        FallbackStorage(directory, older): False,
        FallbackStorage(server, older): False,
        open_storage("memory:", sendfile="/_attach", url="/attach"): False,
        s3_storage("bucket", sendfile="x-sendfile", **address): False,
        s3_storage("bucket", **address): False,
        older: False,
    }
    assert expected == {storage: can_hand_over(storage) for storage in expected}


@pytest.mark.parametrize(
    "given", ["/", "_attach", "/a/../b", "/a//b", "/a?b", "X-Sendfile", "x-accel-redirect", 1]
)
def test_a_location_is_a_path(given: object) -> None:
    """One that not every request is below."""
    with pytest.raises(Error) as caught:
        open_storage("memory:", sendfile=given)
    assert (Kind.CONFIGURATION, "attach_sendfile") == (caught.value.kind, caught.value.setting)
