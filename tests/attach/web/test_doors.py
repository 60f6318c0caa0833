"""Every door of the service: the permission and the host are checked before a body is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from attach.web.test_openapi import operations
from rex.attach import open_storage
from rex.attach.web import Access, attachments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp

SERVICE = "http://here/attach"
OPEN_DOORS = {("get", "/openapi.json"), ("head", "/openapi.json")}
"""What needs no permission: the description, which holds nothing of the storage."""
FORM = ("content-type", "multipart/form-data; boundary=b")


class Answer(NamedTuple):
    """An answer, and how often the service had asked for the body before it."""

    status: int
    body: bytes
    reads: int


def ask(
    app: ASGIApp, method: str, target: str, headers: Sequence[tuple[str, str]] = (FORM,)
) -> Answer:
    """Send a request whose body has not come yet; return the answer."""
    url = httpx.URL(f"{SERVICE}{target}")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method.upper(),
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "root_path": "/attach",
        "query_string": url.query,
        "headers": [
            (name.encode(), value.encode())
            for name, value in (
                ("host", "here"),
                ("content-length", "1000000"),
                ("tus-resumable", "1.0.0"),
                *headers,
            )
        ],
    }
    sent: list[Any] = []
    reads = 0

    async def receive() -> Any:
        nonlocal reads
        reads += not sent
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]  # a coroutine
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], body, reads)


def filled(path: str, handle: str) -> str:
    """Put a handle and unknown ids into a path of the description."""
    path = path.replace("/{year}/{month}/{day}/{id}/{name}", handle)
    return path.format(upload_id="x", part="1", token="x.y")


@pytest.mark.parametrize(("method", "path"), sorted({*operations()} - OPEN_DOORS))
def test_a_client_without_permission_is_refused_before_its_body_is_read(
    method: str, path: str
) -> None:
    """By the rule, or for a wrong token; the description lists every door, also a new one."""
    storage = open_storage("memory:", url=SERVICE)
    service = attachments(storage, Access(lambda *_: False))
    answer = ask(service, method, filled(path, storage.reserve("a.txt")))
    assert (0, True) == (answer.reads, answer.status in (401, 403, 404, 204)), answer
    assert answer.status != 204 or method == "options"  # the abilities of tus are public


@pytest.mark.parametrize(("method", "path"), operations())
def test_a_request_for_another_host_is_misdirected_at_every_door(method: str, path: str) -> None:
    """Although the rule allows everything (RFC 9110, section 15.5.20)."""
    storage = open_storage("memory:", url=SERVICE)
    service = attachments(storage, Access(lambda *_: True, hosts=["example.org"]))
    answer = ask(service, method, filled(path, storage.add("a.txt", b"content")))
    assert (421, 0) == (answer.status, answer.reads)
    assert b"content" not in answer.body


def test_a_right_link_is_for_its_host_too() -> None:
    """A page that has a link, and its own name bound to this machine, cannot use that name."""
    storage = open_storage("memory:", url=SERVICE)
    service = attachments(storage, Access(lambda *_: False, hosts=["example.org"]))
    url = storage.download_link(storage.add("a.txt", b"content")).url
    assert 421 == ask(service, "GET", url.removeprefix(SERVICE), ()).status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("example.org", 200),
        ("EXAMPLE.org:8000", 200),
        ("example.org.", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("example.org.evil.example", 421),
        ("sub.example.org", 421),
        ("127.0.0.1", 421),
        ("", 421),
    ],
)
def test_names_of_hosts_are_compared_without_port_and_case(host: str, status: int) -> None:
    """RFC 3986, section 3.2.2."""
    access = Access(lambda *_: True, hosts=["Example.org", "[::1]"])
    service = attachments(open_storage("memory:"), access)

    async def live() -> httpx.Response:
        transport = httpx.ASGITransport(service)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get("/", headers={"Host": host})

    answer = asyncio.run(live())
    assert status == answer.status_code
    assert status == 200 or "attach_hosts" in answer.json()["detail"]
