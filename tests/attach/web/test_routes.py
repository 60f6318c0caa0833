"""The table of routes: what is derived from it, and which routes a storage has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse, Response

from attach.harnesses import S3Harness
from attach.web.test_app import ANYBODY, FOLDER, FRIEND, ask
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule
from rex.attach.web.app import Options
from rex.attach.web.attachments import Attachments
from rex.attach.web.openapi import answer
from rex.attach.web.routes import SECTIONS
from rex.attach.web.section import Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

ATTACHMENT = f"{FOLDER}/a.txt"
MULTIPART = {
    *("/s3/multipart", "/s3/multipart/{upload_id}", "/s3/multipart/{upload_id}/batch"),
    *("/s3/multipart/{upload_id}/complete", "/s3/multipart/{upload_id}/{part}"),
}
SIGNED = {"/signed/{token}/", "/signed/{year}/{month}/{day}/{id}/{name}"}


async def count(_: Attachments, request: Request) -> Response:
    """Count the attachments."""
    return PlainTextResponse(f"{request.method} 3")


async def mystery(_: Attachments, __: Request) -> Response:  # noqa: D103 - what is tested
    return Response()


def missing_descriptions(routes: Iterable[Route]) -> list[str]:
    """Return the routes without a description of themselves or of an answer."""
    return [
        f"{route.methods} {route.path}"
        for route in routes
        if not (route.summary and route.answers)
        or not all(each["description"] for each in route.answers.values())
    ]


def paths(storage: Storage) -> set[str]:
    """Return the paths that the service over a storage describes."""
    return {*ask(attachments(storage, ANYBODY), "GET", "/openapi.json").json()["paths"]}


def test_every_route_has_a_description() -> None:
    """In its handler's documentation; each answer has one too."""
    assert [] == missing_descriptions(each for routes in SECTIONS.values() for each in routes)
    silent = Route("GET", "/mystery", mystery, None, answer(200, "Anything"))
    assert ["GET /mystery"] == missing_descriptions([silent])


def test_a_route_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dispatch, access, 405, CORS and the description follow, wherever in the table it is."""
    entry = Route("GET", "/count", count, "list", answer(200, "The number"))
    monkeypatch.setitem(SECTIONS, Attachments, (*SECTIONS[Attachments], entry))
    app = attachments(MemoryStorage(), Access(access_rule("public", None), origins=[FRIEND]))
    assert "GET 3" == ask(app, "GET", "/count").text
    refused = ask(app, "PUT", "/count")
    assert (405, "GET") == (refused.status_code, refused.headers["Allow"])
    preflight = ask(app, "OPTIONS", "/count", headers={"Origin": FRIEND})
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"].split(", ")
    described = ask(app, "GET", "/openapi.json").json()["paths"]["/count"]["get"]
    assert "Count the attachments" == described["summary"]
    stranger = attachments(MemoryStorage(), Access(access_rule("none", None)))
    for method in ("GET", "PUT"):
        assert 403 == ask(stranger, method, "/count").status_code


def test_the_description_has_the_routes_of_the_storage(seaweedfs: SeaweedFS) -> None:
    """Those of links and of multipart uploads only where the storage has them."""
    links = {"/links", "/s3/params"}
    bare = paths(MemoryStorage())
    assert not bare & (links | SIGNED | MULTIPART)
    assert bare | links | SIGNED == paths(MemoryStorage(url="http://here"))
    with S3Harness(seaweedfs).storage() as s3:
        assert bare | links | MULTIPART == paths(s3)


def test_the_description_has_the_variants_of_a_download() -> None:
    """A link and a redirect, where the storage has links and the option is set."""
    handle = "/{year}/{month}/{day}/{id}/{name}"
    for url, redirect, expected in (
        (None, True, set()),
        ("http://here", False, {"link"}),
        ("http://here", True, {"link", "307"}),
    ):
        app = attachments(MemoryStorage(url=url), ANYBODY, Options(redirect=redirect))
        described = ask(app, "GET", "/openapi.json").json()["paths"]
        for path in (handle, f"/tus{handle}"):
            names = {each["name"] for each in described[path]["get"]["parameters"]}
            assert expected == (names | {*described[path]["get"]["responses"]}) & {"link", "307"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/links", 422, "no-links"),
        ("GET", "/links", 422, "no-links"),
        ("GET", "/s3/params?filename=a", 422, "no-links"),
        ("GET", f"{ATTACHMENT}?link", 422, "no-links"),
        ("GET", f"/tus{ATTACHMENT}?link", 422, "no-links"),
        ("GET", "/s3/multipart/x", 422, "no-multipart"),
        ("GET", "/s3/multipart/x/", 422, "no-multipart"),
        ("GET", f"/signed{ATTACHMENT}?token=a.b", 403, "no-links"),
        ("POST", f"/sign{ATTACHMENT}?token=a.b", 403, "no-multipart"),
        ("PATCH", f"/sign{ATTACHMENT}", 405, "method-not-allowed"),
        ("GET", "/s3/nothing", 404, "not-found"),
    ],
)
def test_a_missing_route_has_the_code_of_the_missing_ability(
    method: str, path: str, status: int, code: str
) -> None:
    """After the access rule; a path that no storage has is not found."""
    found = ask(attachments(MemoryStorage(), ANYBODY), method, path)
    assert (status, code) == (found.status_code, found.json()["type"])
    if "/sign" not in path:
        stranger = attachments(MemoryStorage(), Access(access_rule("none", None)))
        assert 403 == ask(stranger, method, path).status_code


def test_a_download_is_served_while_an_older_storage_has_no_links() -> None:
    """A redirect is made once all attachments have links."""
    older, newer = MemoryStorage(), MemoryStorage(url="http://here")
    with FallbackStorage(newer, older) as storage:
        app = attachments(storage, ANYBODY, Options(redirect=True))
        for holder in (older, newer):
            assert b"data" == ask(app, "GET", holder.add("a.txt", b"data")).content
        older_app = attachments(newer, ANYBODY, Options(redirect=True))
        assert 307 == ask(older_app, "GET", newer.add("a.txt", b"data")).status_code
