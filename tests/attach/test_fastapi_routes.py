"""The routes of attachments in an application on FastAPI: dependencies, descriptions, settings."""

# No postponed annotations here: FastAPI resolves those of local functions only if they are values.

import contextlib
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from rex.attach import Storage, StoredUpload, open_storage
from rex.attach.fastapi import Attachments
from rex.attach.web import owners_only
from rex.core import Error, Kind

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client of newer versions needs another httpx
    from fastapi.testclient import TestClient

ANN = {"X-User": "ann"}
BOB = {"X-User": "bob"}
NEEDED = Depends(lambda: "a dependency")
URL = "/attach"
UNKNOWN = "/attach/2026/11/29/2a223231-c35e-40db-adf8-9771afcef89c/a.txt"


def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    """Return the user of a request; refuse a visitor."""
    if x_user is None:
        raise HTTPException(401, "Who is it?", {"WWW-Authenticate": "Test"})
    return x_user


def allow(user: Any, action: str, handle: str | None) -> bool:
    """Allow everything."""
    return bool((user, action, handle))


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Yield an empty storage."""
    with open_storage("memory:", url=URL) as storage:
        yield storage


@pytest.fixture
def plain() -> Iterator[Storage]:
    """Yield an empty storage that does not know the address of the service."""
    with open_storage("memory:") as storage:
        yield storage


def client_of(app: FastAPI, headers: dict[str, str] = ANN) -> Any:
    """Return a client, which runs the lifespan in a ``with`` statement."""
    return TestClient(app, headers=headers)


def store(client: Any, name: str = "a.txt", prefix: str = "/attach") -> str:
    """Store an attachment; return its path."""
    stored = client.post(f"{prefix}/?name={name}", content=b"text")
    place: str = stored.raise_for_status().headers["Location"]
    return place


def test_without_a_rule_users_keep_files_of_their_own(storage: Storage) -> None:
    """Other users and visitors reach none of them, and no user may list."""
    app = FastAPI()
    Attachments(app, storage, user=current_user)
    with client_of(app) as ann:
        place = store(ann)
        assert "text" == ann.get(place).text
        assert 200 == ann.get(f"{place}?link").status_code
        for method in ("GET", "HEAD", "DELETE"):
            assert 403 == ann.request(method, place, headers=BOB).status_code
        assert 403 == ann.get(f"{place}?link", headers=BOB).status_code
        assert 403 == ann.get("/attach/").status_code
        assert 204 == ann.delete(place).status_code


def test_the_rule_for_owners_denies_visitors_and_users_without_identity(storage: Storage) -> None:
    """It is for every framework."""
    rule = owners_only(storage)
    visitor = type("Visitor", (), {"is_authenticated": False, "id": "1"})()
    owned = storage.reserve("a.txt", owner="ann")
    for user in (None, visitor, object(), ""):
        assert not rule(user, "upload", None)
        assert not rule(user, "download", owned)
    assert rule("ann", "upload", None)
    assert rule("ann", "remove", owned)
    assert not rule("bob", "remove", owned)
    assert not rule("ann", "list", None)
    assert not rule("ann", "download", storage.reserve("a.txt"))


def test_a_visitor_is_refused_as_by_the_application(storage: Storage) -> None:
    """With the words and headers of the dependency, by the application's own handler."""
    app = FastAPI()
    Attachments(app, storage, user=current_user)

    @app.exception_handler(HTTPException)
    async def page(_: Request, error: HTTPException) -> PlainTextResponse:
        return PlainTextResponse(f"page: {error.detail}", error.status_code, error.headers)

    with client_of(app, {}) as visitor:
        for path in ("/attach/", "/attach", UNKNOWN, "/attach/unknown", "/attach/tus/"):
            answer = visitor.get(path)
            assert (401, "page: Who is it?") == (answer.status_code, answer.text)
            assert "Test" == answer.headers["WWW-Authenticate"]


def test_a_link_needs_no_user(storage: Storage) -> None:
    """Its token is the access right."""
    app = FastAPI()
    Attachments(app, storage, user=current_user)
    with client_of(app) as ann:
        link = ann.get(f"{store(ann)}?link").json()["url"]
        asked = {"name": "b.txt", "content_type": "text/plain"}
        made = ann.post("/attach/links", json=asked).raise_for_status().json()["link"]
    with client_of(app, {}) as visitor:
        assert "text" == visitor.get(link).text
        sent = visitor.put(made["url"], content=b"sent", headers=made["headers"])
        assert 201 == sent.status_code
        assert 2 == len([*storage])


def test_a_rule_has_dependencies(storage: Storage) -> None:
    """One of them is the user, which also owns uploads; each is resolved once in a request."""
    calls = []

    async def tenant(x_tenant: Annotated[str, Header()]) -> AsyncIterator[str]:
        calls.append(f"open {x_tenant}")
        yield x_tenant
        calls.append(f"close {x_tenant}")

    async def rule(
        user: Annotated[str, Depends(current_user)],
        action: str,
        handle: str | None,
        request: Request,
        tenant: Annotated[str, Depends(tenant)],
    ) -> bool:
        calls.append(f"{user} {action} {handle is not None} {request.method} {tenant}")
        return tenant == "here"

    app = FastAPI()
    Attachments(app, storage, rule)
    with client_of(app, {**ANN, "X-Tenant": "here"}) as ann:
        place = store(ann)
        assert ["ann upload False POST here", "ann upload True POST here"] == calls[1:-1]
        assert ["open here", "close here"] == [calls[0], calls[-1]]
        assert "text" == ann.get(place).text
        assert 403 == ann.get(place, headers={"X-Tenant": "there"}).status_code
        del ann.headers["X-Tenant"]
        missing = ann.get(place)
        assert (422, "x-tenant") == (missing.status_code, missing.json()["detail"][0]["loc"][-1])
    [handle] = storage
    assert storage.is_owned_by(handle, "ann")


def test_a_plain_rule_with_dependencies_may_block(storage: Storage) -> None:
    """It runs in a worker thread, and its default is the dependency."""
    import threading

    threads = []

    def rule(user: Any, action: str, secret: str = Depends(current_user)) -> bool:
        threads.append(threading.current_thread())
        return (user, action, secret) == (None, "list", "ann")

    app = FastAPI()
    Attachments(app, storage, rule)
    with client_of(app) as ann:
        assert 200 == ann.get("/attach/").status_code
        assert 403 == ann.get(UNKNOWN).status_code
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    "rule",
    [
        lambda user: user,
        lambda user, other, handle, secret=NEEDED: (user, other, handle, secret),
    ],
)
def test_a_rule_with_other_parameters_is_refused_at_once(
    storage: Storage, rule: Callable[..., bool]
) -> None:
    """Where the application is made, not at the first request."""
    with pytest.raises(Error) as raised:
        Attachments(FastAPI(), storage, rule)
    assert (Kind.CONFIGURATION, "attach_access") == (raised.value.kind, raised.value.setting)


@pytest.mark.parametrize("prefix", ["", "/", "attach", "/attach/"])
def test_a_prefix_is_a_path(storage: Storage, prefix: str) -> None:
    """It begins with a slash and does not end with one."""
    with pytest.raises(Error) as raised:
        Attachments(FastAPI(), storage, prefix=prefix)
    assert Kind.CONFIGURATION is raised.value.kind


def test_overrides_count_for_the_user_and_the_storage(storage: Storage) -> None:
    """Tests of an application replace both; the storage of the application is not even checked."""
    app = FastAPI()
    attachments = Attachments(app, open_storage("/proc/missing/directory"), user=current_user)
    app.dependency_overrides[current_user] = lambda: "eve"
    app.dependency_overrides[attachments.storage] = lambda: storage
    with client_of(app, {}) as client:
        place = store(client)
        assert "text" == client.get(place).text
        assert "text" == client.get(client.get(f"{place}?link").json()["url"]).text
    [handle] = storage
    assert storage.is_owned_by(handle, "eve")


def test_security_scopes_reach_the_user(storage: Storage) -> None:
    """``Security`` is a dependency as well; the documentation shows how to log in."""
    oauth2 = OAuth2PasswordBearer(tokenUrl="token", scopes={"attach": "attachments"})

    def scoped(scopes: SecurityScopes, token: Annotated[str, Depends(oauth2)]) -> str:
        return f"{token} {scopes.scope_str}"

    app = FastAPI()
    Attachments(app, storage, user=Security(scoped, scopes=["attach"]))
    with client_of(app, {"Authorization": "Bearer ann"}) as ann:
        store(ann)
    [handle] = storage
    assert storage.is_owned_by(handle, "ann attach")
    operations = app.openapi()["paths"]["/attach/"]
    assert [{"OAuth2PasswordBearer": ["attach"]}] == operations["post"]["security"]
    assert "security" not in app.openapi()["paths"]["/attach/signed/{token}/"]["post"]


def test_a_router_is_included_with_dependencies_and_prefixes(plain: Storage) -> None:
    """Dependencies of the application, of routers and of their inclusion run, each once."""
    ran: list[str] = []

    def note(name: str) -> Any:
        async def dependency() -> None:
            ran.append(name)

        return Depends(dependency)

    app = FastAPI(dependencies=[note("app")])
    attachments = Attachments(None, plain, allow)
    attachments.install(app)
    inner = APIRouter(prefix="/files", dependencies=[note("inner")])
    inner.include_router(attachments.router, dependencies=[note("attachments")])
    app.include_router(inner, prefix="/orgs/{org}", dependencies=[note("outer")])
    with client_of(app) as client:
        place = store(client, "a%2Fb%20%C3%A4.txt", "/orgs/x%20y/files/attach")
        assert ["app", "outer", "inner", "attachments"] == ran
        assert place.startswith("/orgs/x%20y/files/attach/2026")
        assert place.endswith("/b%20%C3%A4.txt")
        assert "text" == client.get(place).text
        assert 404 == client.get(place.replace("b%20", "a%2Fb%20")).status_code
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "0"}
        begun = client.post("/orgs/x%20y/files/attach/tus/", headers=tus)
        assert begun.headers["Location"].startswith("/orgs/x%20y/files/attach/tus/2026")
    assert "/orgs/{org}/files/attach/tus/" in app.openapi()["paths"]


@pytest.mark.parametrize("sent", ["/api/attach", "/attach"])
def test_a_proxy_may_remove_its_prefix_or_not(plain: Storage, sent: str) -> None:
    """The addresses in responses are those of clients."""
    app = FastAPI()
    Attachments(app, plain, allow)
    with TestClient(app, root_path="/api") as client:
        place = store(client, prefix=sent)
        assert place.startswith("/api/attach/2026")
        assert "text" == client.get(place.removeprefix("/api")).text
        assert "text" == client.get(place).text


def test_the_service_answers_everything_below_the_prefix(storage: Storage) -> None:
    """As if it were mounted: 404, 405 with Allow, no redirect to a slash; nothing beside it."""
    app = FastAPI()
    Attachments(app, storage, allow)
    with client_of(app) as client:
        answer = client.put("/attach/", follow_redirects=False)
        assert (405, "GET, HEAD, OPTIONS, POST") == (answer.status_code, answer.headers["Allow"])
        for path in ("/attach/unknown", "/attach/a/b/c", UNKNOWN):
            missing = client.get(path)
            assert (404, "not-found") == (missing.status_code, missing.json()["type"])
        assert 200 == client.get("/attach", follow_redirects=False).status_code
        assert 201 == client.post("/attach?name=a", content=b"", follow_redirects=False).status_code
        assert 404 == client.get("/attached").status_code
        tus = client.options("/attach/tus/", headers={"Tus-Resumable": "1.0.0"})
        assert (204, "1.0.0") == (tus.status_code, tus.headers["Tus-Version"])


def test_pages_of_other_sites_are_the_service_s_or_the_application_s(storage: Storage) -> None:
    """A preflight request needs no user; the application may have its own middleware."""
    preflight = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    app = FastAPI()
    Attachments(app, storage, user=current_user, origins=["https://other.example"])
    with client_of(app, {}) as visitor:
        answer = visitor.options("/attach/", headers=preflight)
        assert 204 == answer.status_code
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        refused = visitor.post("/attach/", headers={**ANN, "Origin": "https://evil.example"})
        assert (403, "cross-origin") == (refused.status_code, refused.json()["type"])
    app = FastAPI()
    Attachments(app, storage, user=current_user)
    origins = ["https://other.example"]
    app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["POST"])
    with client_of(app, {}) as visitor:
        assert 200 == visitor.options("/attach/", headers=preflight).status_code


def test_the_lifespan_is_composed_with_that_of_the_application(tmp_path: Path) -> None:
    """The storage is checked when the application starts; a wrong one prevents the start."""
    ran = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        ran.append("start")
        yield {"known": "to requests"}
        ran.append("end")

    directory = tmp_path / "attachments"
    with open_storage(directory) as storage:
        app = FastAPI(lifespan=lifespan)
        Attachments(app, storage, allow)

        @app.get("/state")
        async def state(request: Request) -> str:
            return str(request.state.known)

        for _ in range(2):
            with client_of(app) as client:
                assert directory.exists()
                assert "to requests" == client.get("/state").json()
                store(client)
    assert ["start", "end"] * 2 == ran
    with open_storage(tmp_path / "missing/directory") as storage:
        app = FastAPI()
        Attachments(app, storage, allow)
        with pytest.raises(Error) as raised, client_of(app):
            pass
        assert Kind.CONFIGURATION is raised.value.kind


def test_two_storages_in_one_application(storage: Storage) -> None:
    """Each has its own prefix, user and rule; both are described."""
    app = FastAPI()
    with open_storage("memory:") as other:
        Attachments(app, storage, user=current_user)
        Attachments(app, other, allow, prefix="/public/files")
        with client_of(app) as client:
            mine, public = store(client), store(client, prefix="/public/files")
            assert public.startswith("/public/files/")
            client.headers.clear()
            assert (401, 200) == (client.get(mine).status_code, client.get(public).status_code)
            crossed = public.replace("/public/files", "/attach")
            assert 404 == client.get(mine.replace("/attach", "/public/files")).status_code
            assert 403 == client.get(crossed, headers=ANN).status_code
        assert [1, 1] == [len([*storage]), len([*other])]
    paths = app.openapi()["paths"]
    assert {"/attach/", "/public/files/"} < paths.keys()


# FastAPI builds its routes at the first request and hides this warning of Pydantic meanwhile by
# `warnings.catch_warnings`, which is not safe in threads.
@pytest.mark.filterwarnings("ignore:The 'alias' attribute with value")
def test_two_applications_in_one_process_in_threads(storage: Storage) -> None:
    """Each thread has its own client and event loop; they share a storage."""
    apps = [FastAPI(), FastAPI()]
    for app in apps:
        Attachments(app, storage, user=current_user)

    def live(number: int) -> str:
        with client_of(apps[number % 2], {"X-User": str(number)}) as client:
            place = store(client, f"{number}.txt")
            text: str = client.get(place).text
            return text

    with ThreadPoolExecutor(8) as threads:
        assert ["text"] * 16 == [*threads.map(live, range(16))]
    owners = [
        number for handle in storage for number in range(16) if owned(storage, handle, number)
    ]
    assert [*range(16)] == sorted(owners)


def owned(storage: Storage, handle: str, number: int) -> bool:
    """Check whether a user stored an attachment."""
    return storage.is_owned_by(handle, str(number))


def test_the_application_describes_the_operations(storage: Storage) -> None:
    """Those that exist for the storage, as the service describes them, without references to it."""
    app = FastAPI()
    Attachments(app, storage, user=current_user)
    with client_of(app) as client:
        described = client.get("/openapi.json").json()
        served = client.get("/attach/openapi.json").json()
        assert "swagger" in client.get("/docs").text
    expected = {
        (f"/attach{path}", method) for path, item in served["paths"].items() for method in item
    }
    found = {(path, method) for path, item in described["paths"].items() for method in item}
    assert expected == found
    assert ("/attach/s3/multipart", "post") not in found
    assert "/attach/" + "{year}/{month}/{day}/{id}/{name}" in described["paths"]
    upload = described["paths"]["/attach/"]["post"]
    assert {"201", "303", "default"} == upload["responses"].keys()
    declared = {"Upload-Complete", "Upload-Length"}
    assert {"x-user", "name", "next"} | declared == {each["name"] for each in upload["parameters"]}
    assert "multipart/form-data" in upload["requestBody"]["content"]
    assert ["attachments"] == upload["tags"]
    names = [each["operationId"] for item in described["paths"].values() for each in item.values()]
    assert len(names) == len(set(names))
    assert "#/components/schemas/Link" not in json.dumps(described)


def test_a_storage_with_a_server_has_its_routes(tmp_path: Path) -> None:
    """S3 has uploads in parts; what a storage has not, is answered as the service does."""
    with open_storage("s3://bucket", access_key="a", secret_key="b" * 20) as storage:
        app = FastAPI()
        Attachments(app, storage, allow)
        assert "/attach/s3/multipart" in app.openapi()["paths"]
    with open_storage(tmp_path) as storage:
        app = FastAPI()
        Attachments(app, storage, allow)
        answer = client_of(app).post("/attach/s3/multipart", json={"filename": "a"})
        assert (422, "no-multipart") == (answer.status_code, answer.json()["type"])


def test_an_error_of_an_endpoint_is_a_problem_document(storage: Storage) -> None:
    """A client gets the status of its kind; a handler of the application counts instead."""
    app = FastAPI()
    Attachments(app, storage, allow)

    async def info(handle: str) -> Any:
        return storage.info(handle)

    app.get("/info{handle:path}")(info)
    answer = client_of(app).get("/info" + UNKNOWN.removeprefix("/attach"))
    assert (404, "not-found") == (answer.status_code, answer.json()["kind"])

    async def own(_: Request, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("own", 418)

    app = FastAPI(exception_handlers={Error: own})
    Attachments(app, storage, allow)
    app.get("/info{handle:path}")(info)
    assert "own" == client_of(app).get("/info/x").text


def test_the_environment_describes_the_storage_and_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hooks are given in the code, and so is who may do what."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DIR": "attachments",
        "URL": URL,
        "MAX_SIZE": "5",
        "ORIGINS": "https://other.example",
        "HOSTS": "testserver",
        "REDIRECT": "1",
        "ACCESS": "public",
    }.items():
        monkeypatch.setenv(f"ATTACH_{name}", value)
    stored: list[StoredUpload] = []
    app = FastAPI()
    Attachments.from_environment(app, user=current_user, on_stored=stored.append)
    for _ in range(2):  # the storage is closed at the end, and opened again
        with client_of(app) as ann:
            place = store(ann)
            assert 307 == ann.get(place, follow_redirects=False).status_code
            assert "text" == ann.get(place).text
            assert 413 == ann.post("/attach/?name=a", content=b"123456").status_code
            assert 421 == ann.get(place, headers={"Host": "other"}).status_code
            page = {"Origin": "https://other.example"}
            allowed = ann.get(place, headers=page, follow_redirects=False)
            assert "https://other.example" == allowed.headers["Access-Control-Allow-Origin"]
            del ann.headers["X-User"]
            assert 401 == ann.get(place).status_code
    assert ["ann", "ann"] == [upload.owner for upload in stored]


def test_an_s3_server_notifies_with_the_key(seaweedfs: Any) -> None:
    """The route of events exists where a key is given; it needs no user."""
    settings = {
        name.removeprefix("attach_s3_"): value for name, value in seaweedfs.settings().items()
    }
    with open_storage(f"s3://{settings.pop('bucket')}/fastapi", **settings) as storage:
        app = FastAPI()
        Attachments(app, storage, user=current_user, events_key="k" * 32)
        assert "/attach/events" in app.openapi()["paths"]
        with client_of(app, {}) as server:
            assert 401 == server.post("/attach/events", json={}).status_code
            key = {"Authorization": f"Bearer {'k' * 32}"}
            assert (
                200 == server.post("/attach/events", json={"Records": []}, headers=key).status_code
            )


def test_httpx_reaches_the_application_without_a_thread(storage: Storage) -> None:
    """As asynchronous tests of an application do."""
    import asyncio

    app = FastAPI()
    Attachments(app, storage, allow)

    async def live() -> str:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            stored = await client.post("/attach/?name=a.txt", content=b"text")
            return (await client.get(stored.headers["Location"])).text

    assert "text" == asyncio.run(live())
