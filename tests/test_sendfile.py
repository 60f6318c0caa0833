"""Downloads that nginx and Caddy send or fetch, with the blocks of docs/how-to/delivery.md.

The oracle is the service on the same storage, which sends the same downloads alone.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import httpx
import pytest

import proxies
from proxies import NEEDED, SETUPS, Deployment, deployed
from rex.attach import open_storage
from rex.attach.web import Access, attachments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

LEFT_OUT = proxies.LEFT_OUT
HERE = [
    name
    for name in ("nginx sendfile", "caddy sendfile", "nginx fetch")
    if NEEDED[SETUPS[name].program]
]
SIZE = 300_000
"""Of an attachment that is not sent from memory."""
CONTENT = bytes(range(256)) * (SIZE // 256) + b"end"
NAMES = (
    "a.txt",
    "ü %41?#;&+.bin",
    "index.html",
    "photo.png",
    "film.mp4",
    "a..b",
    "...",
    "q'\"\\.js",
    f"{'あ' * 83}.png",
    f"{'%' * 250}.txt",
)
PAGE = "https://page.example"
"""The origin of a page that may use the service."""
COMPARED = (
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "etag",
    "last-modified",
    "referrer-policy",
    "vary",
    "x-content-type-options",
)


@contextmanager
def delivering(
    name: str, directory: Path, request: pytest.FixtureRequest, changes: Mapping[str, str]
) -> Iterator[Deployment]:
    """Run a proxy before the service on a directory, or on S3."""
    settings: dict[str, object] = {"attach_origins": PAGE}
    if name == "nginx fetch":
        server = request.getfixturevalue("seaweedfs")
        host = server.endpoint.removeprefix("http://")
        escaped = {r"s3\.internal:8333": re.escape(host), "s3.internal:8333": host}
        changes = {**changes, **escaped}
        settings |= {**server.settings(), "attach_dir": "", "attach_s3_prefix": directory.name}
    with deployed(name, directory, changes, attach_sendfile="/_attach", **settings) as deployment:
        yield deployment


@pytest.fixture(scope="module", params=HERE)
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Run each proxy before the service."""
    directory = tmp_path_factory.mktemp("deployed")
    with delivering(request.param, directory, request, {}) as deployment:
        yield deployment


@pytest.fixture
def storage(deployment: Deployment, request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Open the storage of the service."""
    with opened(deployment, request) as storage:
        yield storage


def opened(deployment: Deployment, request: pytest.FixtureRequest) -> Storage:
    """Open the storage of the service: a directory, or a prefix of the bucket."""
    if deployment.name != "nginx fetch":
        return open_storage(deployment.directory / "attachments", url="/attach")
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    url = f"s3://{server.bucket}/{deployment.directory.name}?endpoint={server.endpoint}"
    return open_storage(url, access_key=server.access_key, secret_key=server.secret_key)


@pytest.fixture
def client(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Return a client of the proxy."""
    proxies.resolve_here(monkeypatch)
    headers = {"Accept-Encoding": "identity"}
    with httpx.Client(verify=False, base_url=deployment.url, headers=headers) as client:  # noqa: S501
        yield client


def requests(etag: str, modified: str) -> list[dict[str, Any]]:
    """Return requests, some of whose conditions and ranges do not hold."""
    early, late = "Thu, 01 Jan 2015 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    chosen: list[dict[str, str]] = [
        {},
        *({"Origin": origin} for origin in (PAGE, "https://other.example")),
        *({"If-None-Match": tag} for tag in (etag, '"other"', f"W/{etag}")),
        *({"If-Match": tag} for tag in (etag, '"other"', "*")),
        *({"If-Modified-Since": date} for date in (early, modified, late)),
        *({"If-Unmodified-Since": date} for date in (early, modified)),
        {"If-None-Match": '"other"', "If-Modified-Since": modified},
    ]
    ranges = ("0-0", "5-", "-7", "9-99999999", f"{SIZE * 2}-", "0-4,8-9", "0-9,5-", "9-5", "5-,")
    chosen += [{"Range": f"bytes={given}"} for given in ranges]
    # Programs differ in what they make of capitals, blanks and large numbers.
    odd = ("BYTES=0-4", "bytes= 0-4", "bytes=\t0-4", f"bytes=5-{10**20}", f"bytes=-{10**20}")
    chosen += [{"Range": given} for given in odd]
    chosen += [{"Range": "bytes=5-9", "If-None-Match": tag} for tag in (etag, '"other"')]
    chosen += [
        {"Range": f"bytes={given}", "If-Range": value}
        for given in ("5-", "0-4,8-9")
        for value in (etag, f"W/{etag}", '"other"', modified, early)
    ]
    heads = [{"method": "HEAD", "headers": headers} for headers in chosen[::6]]
    return [{"method": "GET", "headers": headers} for headers in chosen] + heads


def seen(response: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Return what must be the same: the boundary of several ranges is random.

    nginx does not repeat Accept-Ranges with a range.
    """
    headers = {name: response.headers[name] for name in COMPARED if name in response.headers}
    if response.status_code == 206:
        headers.pop("accept-ranges", None)
    kind, _, boundary = headers.get("content-type", "").partition("boundary=")
    if boundary:
        headers["content-type"] = kind
    body = response.content.replace(boundary.encode(), b"") if boundary else response.content
    return response.status_code, headers, body


async def alone(storage: Storage, path: str, asked: list[dict[str, Any]]) -> list[Any]:
    """Return what a service sends that sends everything itself."""
    access = Access(lambda *_: True, origins=[PAGE])
    transport = httpx.ASGITransport(attachments(storage, access))
    async with httpx.AsyncClient(transport=transport, base_url="http://alone") as client:
        return [seen(await client.request(url=path, **request)) for request in asked]


def test_each_response_is_that_of_the_service_alone(client: httpx.Client, storage: Storage) -> None:
    """Status, headers and bytes: of whole files, ranges, conditions and HEAD."""
    path = quote(storage.add("a.txt", CONTENT))
    known = client.head(path).headers
    asked = requests(known["etag"], known["last-modified"])
    expected = asyncio.run(alone(storage, path, asked))
    for request, response in zip(asked, expected, strict=True):
        assert response == seen(client.request(url=path, **request)), request


@pytest.mark.parametrize("content", [CONTENT, b"", b"small"], ids=["large", "empty", "small"])
def test_each_name_and_type_is_that_of_the_service_alone(
    client: httpx.Client, storage: Storage, content: bytes
) -> None:
    """Also of names that paths and headers encode; scripts have another type than their own."""
    for name in NAMES:
        path = quote(storage.add(name, content))
        (expected,) = asyncio.run(alone(storage, path, [{"method": "GET"}]))
        assert expected == seen(client.get(path)), name


def test_the_proxy_and_not_the_service_sends_the_bytes(
    deployment: Deployment, client: httpx.Client, storage: Storage
) -> None:
    """The service alone answers without them, and says where they are."""
    assert deployment.served is not None
    handle = storage.add("ü.bin", CONTENT)
    url = f"{deployment.served.url}/attach{quote(handle)}"
    for headers in ({}, {"Range": "bytes=5-"}):
        answer = httpx.get(url, headers=headers)
        assert (200, b"") == (answer.status_code, answer.content)
        place = answer.headers["X-Accel-Redirect"].partition("?")[0]
        assert place.startswith("/_attach/")
        assert unquote(unquote(place)).endswith(handle)
    for path in (quote(handle), f"/tus{quote(handle)}"):
        answer = client.get(path)
        assert (200, CONTENT) == (answer.status_code, answer.content)
        assert "X-Accel-Redirect" not in answer.headers


def test_a_service_link_is_cached_until_it_expires(
    deployment: Deployment, client: httpx.Client, storage: Storage
) -> None:
    """And has a name and a type of its own; on S3, links lead to the server."""
    if deployment.name == "nginx fetch":
        return
    link = storage.download_link(storage.add("a.png", CONTENT), filename="b.png", inline=True)
    client.base_url = httpx.URL(deployment.origin)
    answer = client.get(link.url)
    assert (200, CONTENT) == (answer.status_code, answer.content)
    assert 'inline; filename="b.png"' == answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"].endswith("immutable")
    assert "X-Accel-Redirect" not in answer.headers
    refused = client.get(link.url.replace("a.png", "c.png"))
    assert (403, "no-store") == (refused.status_code, refused.headers["Cache-Control"])


PATHS = (
    "/_attach{handle}",
    "//_attach{handle}",
    "/_attach/{handle}",
    "/%5Fattach{handle}",
    "/attach/../_attach{handle}",
    "/attach/..%2f_attach{handle}",
    "/attach/%2e%2e/_attach{handle}",
    "/attach/%2e%2e%2f_attach{handle}",
    "/_attach/.rex-attach",
    "/_attach/%2e%2e/attachments{handle}",
    "/_attach/{host}/{bucket}{handle}",
    "/_attach/{host}:80/",
    "/attach/_attach{handle}",
    "/attach{handle}/../../../../../../../_attach{handle}",
    "/_ATTACH{handle}",
)


def test_neither_path_nor_header_leads_to_the_files(
    deployment: Deployment, client: httpx.Client, storage: Storage
) -> None:
    """The location answers the service only, and never a client; Caddy's other paths are empty."""
    handle = quote(storage.add("a.bin", CONTENT))
    tricks: list[dict[str, str]] = [
        {},
        {"X-Accel-Redirect": f"/_attach{handle}"},
        {"X-Sendfile": f"{deployment.directory}/attachments{handle}"},
        {"X-Sendfile-Type": "X-Accel-Redirect", "X-Accel-Mapping": "/=/_attach/"},
        {"Range": "bytes=0-4"},
    ]
    values = {"handle": handle, "host": "127.0.0.1:8333", "bucket": "attachments"}
    if deployment.name == "nginx fetch":
        values["host"] = urlsplit(storage.download_link(unquote(handle)).url).netloc
    for path, headers in itertools.product(PATHS, tricks):
        answer = _raw(client, deployment, path.format(**values), headers)
        is_empty = (200, b"") == (answer.status_code, answer.content)
        assert is_empty or answer.status_code in (400, 403, 404), (path, answer.headers)
        assert CONTENT[:5] not in answer.content


def _raw(
    client: httpx.Client, deployment: Deployment, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    """Send a path as it is written, which httpx would normalise."""
    return client.get(deployment.origin, headers=headers, extensions={"target": path.encode()})


def test_access_is_decided_before_the_proxy_sends(client: httpx.Client, storage: Storage) -> None:
    """A removed attachment is not found, whatever a client sends with the request."""
    handle = quote(storage.add("a.bin", CONTENT))
    storage.remove(unquote(handle))
    other = quote(storage.add("b.bin", CONTENT))
    for headers in ({}, {"X-Accel-Redirect": f"/_attach{other}"}, {"If-Range": "*"}):
        answer = client.get(handle, headers=headers)
        assert (404, "not-found") == (answer.status_code, answer.json()["type"])


@pytest.mark.parametrize("name", [name for name in HERE if name == "nginx fetch"])
def test_an_error_of_the_server_is_not_shown(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses a link with another host than was signed; clients get 502 of nginx."""
    proxies.resolve_here(monkeypatch)
    changes = {"proxy_set_header Host s3.internal:8333": "proxy_set_header Host other.example"}
    with delivering(name, tmp_path, request, changes) as deployment:
        with opened(deployment, request) as storage:
            path = quote(storage.add("a.png", CONTENT))
        answer = httpx.get(f"{deployment.url}{path}", verify=False)  # noqa: S501
        assert 502 == answer.status_code
        assert "nginx" in answer.text
        assert "Signature" not in answer.text
