"""The values of a storage as the types of an application on FastAPI, with its documentation."""

# No postponed annotations here: FastAPI resolves those of local functions only if they are values.

import asyncio
import datetime
import json
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from rex.attach import Info, PresignedLink, Storage, open_storage
from rex.attach.storage.resumable import Upload

URL = "https://example.org/attach"


class Document(BaseModel):
    """A row of an application, with attachments in it."""

    title: str
    file: Info
    others: list[Info] = []
    link: PresignedLink
    upload: Upload | None = None


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Give a storage with an attachment."""
    with open_storage("memory:", url=URL) as storage:
        storage.add("Größe.txt", "text")
        yield storage


@pytest.fixture
def app(storage: Storage) -> FastAPI:
    """Make an application whose endpoints return what the storage returns."""
    app = FastAPI()
    [handle] = storage
    Used = Annotated[Storage, Depends(lambda: storage)]  # noqa: N806 - a type

    @app.get("/info")
    def info(storage: Used) -> Info:
        return storage.info(handle)

    @app.get("/infos")
    async def infos(storage: Used) -> list[Info]:
        return [await storage.aio.info(each) async for each in storage.aio]

    @app.get("/link")
    def link(storage: Used) -> PresignedLink:
        return storage.download_link(handle)

    @app.get("/form")
    async def form(storage: Used) -> PresignedLink:
        return await storage.aio.upload_link(storage.reserve("b.txt"), max_size=10)

    @app.get("/upload")
    def upload(storage: Used) -> Upload:
        return storage.uploads.create("b.txt", size=3)

    @app.post("/document")
    def document(storage: Used, known: Info) -> Document:
        return Document(title="t", file=known, others=[known], link=storage.download_link(handle))

    return app


def ask(app: FastAPI, path: str, content: object = None) -> Any:
    """Send a request; return what is in the JSON of the response."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            method = "GET" if content is None else "POST"
            return await client.request(method, path, json=content)

    response = asyncio.run(send())
    assert 200 == response.status_code, response.text
    is_json = response.headers["Content-Type"] == "application/json"
    return response.json() if is_json else response.text


def test_metadata_is_an_object(app: FastAPI, storage: Storage) -> None:
    """Its time in UTC; the same as `as_dict`, also in a list."""
    [handle] = storage
    expected = storage.info(handle).as_dict()
    assert {"handle", "name", "size", "content_type", "modified", "etag", "digest"} < {*expected}
    assert str(expected["modified"]).endswith("Z")
    assert expected == ask(app, "/info")
    assert [expected] == ask(app, "/infos")
    assert storage.info(handle).modified == datetime.datetime.fromisoformat(
        str(expected["modified"])
    )


@pytest.mark.parametrize(("path", "method"), [("/link", "GET"), ("/form", "POST")])
def test_a_link_is_an_object(app: FastAPI, path: str, method: str) -> None:
    """With all that a client needs, and its expiry in UTC."""
    link = ask(app, path)
    assert ["method", "url", "headers", "fields", "expires_at", "receipt"] == [*link]
    assert method == link["method"]
    assert link["url"].startswith(URL)
    assert ("key" in link["fields"]) == (method == "POST")
    assert link["expires_at"].endswith("Z")


def test_a_resumable_upload_is_an_object(app: FastAPI) -> None:
    """For a client that shows how far it is."""
    upload = ask(app, "/upload")
    assert (0, 3, "text/plain", False) == tuple(
        upload[name] for name in ("offset", "size", "content_type", "partial")
    )
    assert upload["expires_at"].endswith("Z")


def test_a_model_has_them_as_fields(app: FastAPI) -> None:
    """They are read from JSON, too."""
    info = ask(app, "/info")
    document = ask(app, "/document", info)
    assert (info, [info], None) == (document["file"], document["others"], document["upload"])
    assert document["link"]["url"].startswith(URL)
    with pytest.raises(AssertionError, match="datetime_from_date_parsing"):
        ask(app, "/document", {**info, "modified": "yesterday"})


def test_the_documentation_of_the_application_is_alive(app: FastAPI) -> None:
    """Each of the types has its schema; `/docs` and the description answer."""
    schemas = app.openapi()["components"]["schemas"]
    for name in ("Info", "PresignedLink", "Upload"):
        assert "object" == schemas[name]["type"]
    times = [schemas["Info"]["properties"]["modified"], schemas["PresignedLink"]["properties"]]
    assert ["date-time", "date-time"] == [times[0]["format"], times[1]["expires_at"]["format"]]
    assert "#/components/schemas/Info" in json.dumps(app.openapi()["paths"]["/infos"])
    assert "swagger" in ask(app, "/docs")
    assert app.openapi() == ask(app, "/openapi.json")
