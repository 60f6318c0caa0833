"""Endpoints of an application on FastAPI that store and serve attachments themselves."""

# No postponed annotations here: FastAPI resolves those of local functions only if they are values.

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Form, Header, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from attach.web.virtual_time import VirtualTime
from rex.attach import Info, Storage, open_storage
from rex.attach.fastapi import FORM_BODY, AttachmentResponse, Attachments, Files, Handle
from rex.core import Error, Kind

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client of newer versions needs another httpx
    from fastapi.testclient import TestClient

MIB = 1024 * 1024
UNKNOWN = "/2026/11/29/2a223231-c35e-40db-adf8-9771afcef89c/a.txt"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """Yield a storage in a directory, which has service links."""
    with open_storage(tmp_path / "attachments", url="/attach") as storage:
        storage.init()
        yield storage


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    """Return the user of a request, or None."""
    return x_user


@pytest.fixture
def app(storage: Storage) -> FastAPI:
    """Make an application with endpoints of its own."""
    app = FastAPI()
    attachments = Attachments(app, storage, user=current_user)
    Streamed = Annotated[list[Info], Depends(attachments.upload(max_size=10))]  # noqa: N806 - a type
    Whole = Annotated[Files, Depends(attachments.upload())]  # noqa: N806 - a type
    Used = Annotated[Storage, Depends(attachments.storage)]  # noqa: N806 - a type

    @app.post("/documents", openapi_extra=FORM_BODY)
    async def documents(files: Streamed) -> list[Info]:
        return files

    @app.post("/titled")
    def titled(files: Whole) -> dict[str, Any]:
        return {"names": [file.name for file in files], **files.fields}

    @app.post("/mistaken")
    def mistaken(files: Whole, title: Annotated[str, Form()]) -> str:
        return f"{files}{title}"

    @app.api_route("/files{handle:path}", methods=["GET", "HEAD"], include_in_schema=False)
    def file(handle: Handle, storage: Used, *, inline: bool = True, link: bool = False) -> Response:
        return AttachmentResponse(storage, handle, inline=inline, redirect=link)

    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[Any]:
    """Yield a client of the application."""
    with TestClient(app) as client:
        yield client


def test_the_files_of_a_form_are_stored_for_the_user(client: Any, storage: Storage) -> None:
    """The endpoint gets their metadata, in the order of the form."""
    sent = [("a", ("ä.txt", b"one")), ("b", ("b.bin", b"", "image/png"))]
    files = client.post("/documents", files=sent, headers={"X-User": "ann"}).json()
    assert [("ä.txt", 3, "text/plain"), ("b.bin", 0, "image/png")] == [
        (file["name"], file["size"], file["content_type"]) for file in files
    ]
    for file in files:
        assert storage.info(file["handle"]).as_dict() == file
        assert storage.is_owned_by(file["handle"], "ann")


def test_the_body_may_be_a_file(client: Any, storage: Storage) -> None:
    """With its name in the query; without a user, it has no owner."""
    (file,) = client.post("/documents?name=a.txt", content=b"text").json()
    assert b"text" == storage.open(file["handle"]).read()
    assert not storage.is_owned_by(file["handle"], "ann")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"files": [("a", ("a", b"one")), ("b", ("b", b"more than ten"))]}, 413),
        ({"files": {"a": ("", b"")}}, 400),
        ({"data": {"title": "t"}}, 400),
        ({"content": b"{}", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
    ],
)
def test_a_form_that_is_refused_leaves_nothing(
    client: Any, storage: Storage, sent: dict[str, Any], status: int
) -> None:
    """A problem document says why."""
    answer = client.post("/documents", **sent)
    assert (status, "application/problem+json") == (
        answer.status_code,
        answer.headers["Content-Type"],
    )
    assert [] == [*storage]


def test_metadata_that_cannot_be_read_leaves_nothing(
    client: Any, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets an error, so that none of its files remains."""

    async def fail(_: str) -> Info:
        raise Error("Broken", kind=Kind.UNAVAILABLE)

    monkeypatch.setattr(storage.aio, "info", fail)
    assert 503 == client.post("/documents", files={"a": ("a", b"one")}).status_code
    assert [] == [*storage]


def test_other_fields_of_a_form_come_with_the_files(client: Any) -> None:
    """Before and after them; the last of those with the same name."""
    sent = [("file", ("a.txt", b"one")), ("title", (None, b"old")), ("title", (None, "Größe"))]
    answer = client.post("/titled", files=sent)
    assert {"names": ["a.txt"], "title": "Größe"} == answer.json()


def test_an_endpoint_that_also_declares_form_fields_is_a_mistake(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """FastAPI would read the files first; the log says what to do instead."""
    answer = client.post("/mistaken", files={"a": ("a", b"one")}, data={"title": "t"})
    assert 500 == answer.status_code
    assert "Files.fields" in caplog.text
    assert "Files.fields" not in answer.text


def test_a_form_is_described(app: FastAPI) -> None:
    """So that `/docs` shows a choice of files."""
    operation = app.openapi()["paths"]["/documents"]["post"]
    (schema,) = operation["requestBody"]["content"].values()
    files = schema["schema"]["properties"]["file"]
    assert ("array", "binary") == (files["type"], files["items"]["format"])


def test_an_attachment_is_served_by_the_rules_of_http(client: Any, storage: Storage) -> None:
    """Ranges, conditions, HEAD, and the headers that keep a browser safe."""
    place = "/files" + storage.add("a.txt", b"0123456789")
    whole = client.get(place)
    assert (200, "0123456789") == (whole.status_code, whole.text)
    assert 'inline; filename="a.txt"' == whole.headers["Content-Disposition"]
    assert "nosniff" == whole.headers["X-Content-Type-Options"]
    tag = whole.headers["ETag"]

    def status(**headers: str) -> tuple[int, str]:
        answer = client.get(place, headers={k.replace("_", "-"): v for k, v in headers.items()})
        return answer.status_code, answer.text if answer.is_success else ""

    assert (206, "234") == status(Range="bytes=2-4")
    assert (206, "89") == status(Range="bytes=-2", If_Range=tag)
    assert (200, "0123456789") == status(Range="bytes=2-4", If_Range='"other"')
    assert (304, "") == status(If_None_Match=tag)
    assert (412, "") == status(If_Match='"other"')
    assert (416, "") == status(Range="bytes=10-")
    head = client.head(place)
    assert ("10", "") == (head.headers["Content-Length"], head.text)
    shown = client.get(place, params={"inline": "0"}).headers["Content-Disposition"]
    assert 'attachment; filename="a.txt"' == shown


def test_a_download_is_redirected_to_a_link(client: Any, storage: Storage) -> None:
    """Where the storage has links, and only what exists."""
    place = "/files" + storage.add("a.txt", b"text") + "?link=1"
    answer = client.get(place, follow_redirects=False)
    assert 307 == answer.status_code
    assert "text" == client.get(answer.headers["Location"]).text
    assert 200 == client.head(place, follow_redirects=False).status_code
    assert 404 == client.get(f"/files{UNKNOWN}?link=1", follow_redirects=False).status_code


def test_a_storage_without_links_serves_instead() -> None:
    """Its service has no address."""
    with open_storage("memory:") as storage:
        handle = storage.add("a.txt", b"text")
        app = FastAPI()

        @app.get("/")
        def file() -> Response:
            return AttachmentResponse(storage, handle, redirect=True)

        assert "text" == TestClient(app).get("/").text


@pytest.mark.parametrize("handle", [UNKNOWN, "/etc/passwd", "", "/2026/11/29/x"])
def test_what_is_not_there_is_the_404_of_the_application(storage: Storage, handle: str) -> None:
    """Its own page, if it has one, and also without `Attachments`."""
    app = FastAPI()

    @app.get("/")
    def file() -> Response:
        return AttachmentResponse(storage, handle)

    assert {"detail": "Attachment not found"} == TestClient(app).get("/").json()

    @app.exception_handler(404)
    async def page(_: Request, error: HTTPException) -> HTMLResponse:
        return HTMLResponse(f"<p>{error.detail}", 404)

    app.middleware_stack = None
    assert "<p>Attachment not found" == TestClient(app).get("/").text


def test_a_response_has_headers_and_background_tasks(storage: Storage) -> None:
    """As other responses; those of the attachment are replaced, and cookies are kept apart."""
    handle = storage.add("a.txt", b"text")
    done: list[str] = []
    app = FastAPI()

    @app.get("/")
    def file() -> Response:
        headers = {"Cache-Control": "public", "X-Own": "1"}
        task = BackgroundTask(done.append, handle)
        response = AttachmentResponse(storage, handle, headers=headers, background=task)
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    answer = TestClient(app).get("/")
    assert ("public", "1", "4") == tuple(
        answer.headers[name] for name in ("Cache-Control", "X-Own", "Content-Length")
    )
    assert {"a": "1", "b": "2"} == {**answer.cookies}
    assert [handle] == done


def test_a_client_that_receives_nothing_is_given_up(storage: Storage) -> None:
    """After the time that the response has for it; the reader is closed."""
    handle = storage.add("a.bin", bytes(MIB))
    sent: list[Any] = []

    async def stalled(message: Any) -> None:
        sent.append(message["type"])
        await asyncio.Event().wait()

    async def receive() -> Any:
        return await asyncio.Event().wait()

    async def live() -> float:
        scope = {"type": "http", "method": "GET", "headers": [], "path": "/", "query_string": b""}
        await AttachmentResponse(storage, handle, stall_seconds=7)(scope, receive, stalled)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        assert 7 <= runner.run(live())
    assert ["http.response.start"] == sent


class Document(BaseModel):
    """A model of an application with a handle."""

    file: Handle
    others: list[Handle] = []


def test_a_handle_is_checked_with_the_name_of_its_field(client: Any, app: FastAPI) -> None:
    """In a path, a query and a model; its schema has the pattern."""

    @app.get("/named")
    def named(file: Handle) -> str:
        return file

    @app.post("/document")
    def document(document: Document) -> Document:
        return document

    def wrong(answer: Any) -> tuple[int, list[Any]]:
        (error,) = answer.json()["detail"]
        return answer.status_code, error["loc"]

    assert (422, ["path", "handle"]) == wrong(client.get("/files/etc/passwd"))
    assert (422, ["query", "file"]) == wrong(client.get("/named", params={"file": "x"}))
    others = {"file": UNKNOWN, "others": [UNKNOWN, "../x"]}
    answer = client.post("/document", json=others)
    assert (422, ["body", "others", 1]) == wrong(answer)
    assert UNKNOWN == client.get("/named", params={"file": UNKNOWN}).json()
    schema = app.openapi()["components"]["schemas"]["Document"]["properties"]["file"]
    import re

    assert re.search(schema["pattern"], UNKNOWN)
    assert not re.search(schema["pattern"], "/etc/passwd")
