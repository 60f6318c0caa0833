"""The description of the service: it is right, and what is generated from it breaks nothing."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from attach.harnesses import S3Harness
from rex.attach import open_storage
from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule
from rex.attach.web.app import Options
from rex.attach.web.openapi import describe
from rex.attach.web.routes import SECTIONS
from rex.core import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

KEY = "0123456789abcdef"
OPTIONS = Options(events_key=Secret(KEY))
EXAMPLES = 20
"""Of each request; each is made of two storages."""

for _part in ("application/offset+octet-stream", "application/partial-upload"):
    schemathesis.serializer.alias(_part, "application/octet-stream")


@pytest.fixture
def storages(seaweedfs: SeaweedFS) -> Iterator[list[Storage]]:
    """Give a storage with links of the service, and one with links of a server."""
    memory = open_storage("memory:", url="http://here/attach")
    with memory, S3Harness(seaweedfs).storage() as s3:
        yield [memory, s3]


def everything() -> Any:
    """Describe all routes, whatever a storage has."""
    return describe("", [route for routes in SECTIONS.values() for route in routes])


def operations() -> list[tuple[str, str]]:
    """Return the methods and paths of all routes, whatever a storage has."""
    return [(method, path) for path, item in everything()["paths"].items() for method in item]


@pytest.mark.long
def test_nothing_generated_is_a_server_error(
    storages: list[Storage], report_figure: Callable[[str], None]
) -> None:
    """Requests generated from the description, half of them about what is there."""
    access = Access(access_rule("public", None))
    services = [(storage, attachments(storage, access, OPTIONS)) for storage in storages]
    schema: Any = schemathesis.openapi.from_dict(everything())
    statuses: collections.Counter[int] = collections.Counter()
    failed = []
    turns = itertools.count()

    def ask(case: Any) -> None:
        is_there = "id" in (case.path_parameters or ()) and next(turns) % 2
        for storage, app in services:
            if is_there:
                case.path_parameters.update(_there(storage, case.path))
            answer = case.call(app=app, headers={"Authorization": f"Bearer {KEY}"})
            statuses[answer.status_code] += 1
            if answer.status_code >= 500:
                failed.append((case.as_curl_command(), answer.status_code, answer.content))

    for found in schema.get_all_operations():
        generated = hypothesis.given(case=found.ok().as_strategy())(ask)
        settings(
            max_examples=EXAMPLES,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(generated)()
    assert [] == failed
    report_figure(f"generated requests: {statuses.total()}, no server error")
    assert statuses.total() >= 1000


def _there(storage: Storage, path: str) -> dict[str, str]:
    """Give the parts of a handle of something that is there."""
    if path.startswith(("/tus", "/uploads")):
        handle = storage.uploads.create("a.txt", size=100).handle
    else:
        handle = storage.add("a.txt", b"content")
    return dict(zip(("year", "month", "day", "id", "name"), handle[1:].split("/"), strict=True))


def test_what_is_described_is_there() -> None:
    """No method that is described is answered with 405, and no path with "nothing here"."""
    storage = open_storage("memory:", url="http://here/attach")
    handle = storage.add("a.txt", b"")
    upload = storage.uploads.create("a.txt", size=1).handle
    begun = storage.uploads.create("a.txt", size=1).handle
    complete = storage.uploads.create("a.txt", size=0).handle
    app = attachments(storage, Access(access_rule("public", None)), OPTIONS)

    async def live() -> list[str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            absent = []
            for method, path in operations():
                there = upload if path.startswith("/tus") else handle
                if path.startswith("/uploads"):
                    there = begun
                if (method, there) == ("get", upload):  # it has to be complete
                    there = complete
                url = path.replace("/{year}/{month}/{day}/{id}/{name}", there)
                answer = await client.request(
                    method, url.format(upload_id="x", part="1", token="x")
                )
                if answer.status_code in (404, 405):
                    absent.append(f"{method} {path}: {answer.status_code}")
            return absent

    # What has been removed is not there any more.
    assert [] == [line for line in asyncio.run(live()) if not line.startswith("delete")]


def test_the_description_is_served_and_holds_no_secret(
    seaweedfs: SeaweedFS, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what the service signs with nor what it is asked with, and no more in the logs."""
    harness = S3Harness(seaweedfs)
    with harness.storage() as storage, contextlib.ExitStack() as stack:
        stack.enter_context(caplog.at_level(logging.DEBUG))
        access = Access(access_rule("bearer", Secret("canary-key-of-a-bearer")))
        app = attachments(storage, access)

        async def live() -> httpx.Response:
            transport = httpx.ASGITransport(app, root_path="/attach")
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.get("/attach/openapi.json")

        served = asyncio.run(live())
    assert (200, [{"url": "/attach"}]) == (served.status_code, served.json()["servers"])
    for secret in ("canary-key-of-a-bearer", seaweedfs.secret_key, seaweedfs.access_key):
        assert secret not in served.text
        assert secret not in caplog.text
