"""The service behind nginx and Caddy, with the blocks of docs/how-to/proxy.md."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from tusclient.client import TusClient

import proxies
from programs import PATIENCE
from proxies import HERE, LEFT_OUT, NAME, Deployment, block, deployed
from served import HOST, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["LEFT_OUT"]

MIB = 1024 * 1024
LARGE = 200
"""In MiB."""
CLIENT = "127.0.0.2"
"""An address of this machine from which no proxy comes."""
TUS = {"Tus-Resumable": "1.0.0"}
FORGED = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=192.0.2.1;host=evil.example",
}


@pytest.fixture(scope="module", params=HERE)
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Run the service behind each proxy."""
    with deployed(request.param, tmp_path_factory.mktemp("deployed")) as deployment:
        yield deployment


@pytest.fixture
def client(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Return a client that sends Origin as a page of the service, and nothing else of a browser."""
    proxies.resolve_here(monkeypatch)
    transport = httpx.HTTPTransport(verify=False, local_address=CLIENT)
    headers = {"Origin": deployment.origin}
    with httpx.Client(transport=transport, headers=headers, timeout=PATIENCE) as client:
        yield client


def test_every_address_leads_to_what_it_names(deployment: Deployment, client: httpx.Client) -> None:
    """Attachments, pages of a list, links, and uploads of tus."""
    url, origin = deployment.url, deployment.origin
    client.base_url = httpx.URL(origin)
    root = url.removeprefix(origin)
    stored = client.post(f"{url}/", params={"name": "ü%.txt"}, content=b"a")
    assert 201 == stored.status_code, stored.text
    assert stored.headers["Location"].startswith(f"{root}/20")
    assert b"a" == client.get(stored.headers["Location"]).content
    client.post(f"{url}/", files={"file": ("b.txt", b"b")}).raise_for_status()
    listed = client.get(f"{url}/", params={"limit": 1}).json()
    (other,) = client.get(listed["next"]).json()["attachments"][:1]
    first = listed["attachments"][0]
    assert {"a", "b"} == {client.get(each["url"]).text for each in (first, other)}
    assert [{"url": root}] == client.get(f"{url}/openapi.json").json()["servers"]
    if deployment.setup.has_url or deployment.setup.has_path:
        place = url if deployment.setup.has_url else root
        link = client.get(f"{stored.headers['Location']}?link").json()["url"]
        assert (True, b"a") == (link.startswith(f"{place}/signed/"), client.get(link).content)
    parts = []
    for content in (b"c", b"d"):
        headers = {**TUS, "Upload-Length": "1", "Upload-Concat": "partial"}
        made = client.post(f"{url}/tus/", headers=headers)
        assert made.headers["Location"].startswith(f"{root}/tus/20")
        headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        client.patch(made.headers["Location"], headers=headers, content=content).raise_for_status()
        parts.append(f"{origin}{made.headers['Location']}")
    joined = client.post(
        f"{url}/tus/", headers={**TUS, "Upload-Concat": f"final;{' '.join(parts)}"}
    )
    assert b"cd" == client.get(joined.headers["Content-Location"]).content
    assert 204 == client.delete(stored.headers["Location"]).status_code


def test_pages_of_other_sites_are_refused(deployment: Deployment, client: httpx.Client) -> None:
    """Also with headers by which they would be pages of the service."""
    origin = "http://evil.example"
    answer = client.post(
        f"{deployment.url}/?name=a", headers={**FORGED, "Origin": origin}, content=b""
    )
    assert (403, "cross-origin") == (answer.status_code, answer.json()["type"])
    assert f"the page is from {origin}, the service is " in answer.json()["detail"]


def test_what_a_client_forges_has_no_effect(deployment: Deployment, client: httpx.Client) -> None:
    """Neither on the addresses that it gets, nor on the address in the log."""
    marker = "forged-by-a-client"
    answer = client.post(f"{deployment.url}/?name={marker}", headers=FORGED, content=b"x")
    assert 201 == answer.status_code
    root = deployment.url.removeprefix(deployment.origin)
    assert answer.headers["Location"].startswith(f"{root}/20")
    client.get(f"{deployment.url}/{marker}", headers=FORGED)
    (line,) = deployment.wait_for_log(f'/{marker}"')
    expected = HOST if deployment.setup.has_url else CLIENT
    assert expected == line.partition("access: ")[2].partition(" ")[0]


def test_a_body_without_a_length_passes(deployment: Deployment, client: httpx.Client) -> None:
    """In chunks, as a program sends what it does not know yet."""
    answer = client.post(f"{deployment.url}/?name=a", content=iter([b"a", b"b"]))
    assert b"ab" == client.get(f"{deployment.origin}{answer.headers['Location']}").content


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a file of 200 MiB, each MiB of it different."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    with path.open("wb") as file:
        for number in range(LARGE):
            file.write(number.to_bytes(4, "little") * (MIB // 4))
    yield path
    path.unlink()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_tuspy_uploads_a_large_file(
    deployment: Deployment, client: httpx.Client, large: Path, report_figure: Callable[[str], None]
) -> None:
    """And downloads it; the proxy keeps nothing on its disk, and little in its memory."""
    with large.open("rb") as stream:
        uploader = TusClient(f"{deployment.url}/tus/").uploader(
            file_stream=stream, metadata={"filename": "large.bin"}, verify_tls_cert=False
        )
        uploader.upload()
    digest = hashlib.sha256()
    with client.stream("GET", str(uploader.url), headers=TUS) as answer:
        for piece in answer.iter_bytes():
            digest.update(piece)
    assert hashlib.sha256(large.read_bytes()).hexdigest() == digest.hexdigest()
    memory = deployment.peak_memory()
    report_figure(
        f"tuspy, {deployment.name}: {LARGE} MiB in and out, "
        f"{deployment.written() / MIB:.1f} MiB of the proxy's disk, "
        f"{memory / MIB:.0f} MiB of its memory"
    )
    assert memory < 100 * MIB
    if not deployment.setup.has_url:
        assert [] == deployment.spooled()
        assert deployment.written() < MIB


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in HERE if name == "nginx"])
def test_what_nginx_keeps_on_its_disk_is_seen(
    name: str, tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the line that forbids it."""
    proxies.resolve_here(monkeypatch)
    changes = {"proxy_request_buffering off": "proxy_request_buffering on"}
    with deployed(name, tmp_path, changes) as deployment, large.open("rb") as stream:
        url = f"{deployment.url}/?name=a"
        answer = httpx.post(url, content=stream, verify=False, timeout=PATIENCE)  # noqa: S501
        assert (201, 1) == (answer.status_code, len(deployment.spooled()))


@pytest.mark.parametrize("name", [name for name in HERE if name == "nginx alone"])
def test_without_attach_url_the_refusal_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the client and, once, to the operator."""
    proxies.resolve_here(monkeypatch)
    with deployed(name, tmp_path, attach_url="") as deployment:
        headers = {"Origin": deployment.origin}
        for _ in range(3):
            answer = httpx.post(f"{deployment.url}/?name=a", headers=headers, content=b"")
            assert 403 == answer.status_code
        advice = f"set attach_url to {deployment.url} or let the proxy send Host"
        assert advice in answer.json()["detail"]
        assert deployment.served is not None
        assert 1 == deployment.served.log.read_text().count(advice)


@pytest.mark.parametrize("name", [name for name in HERE if name == "nginx"])
def test_hosts_are_checked_behind_a_proxy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name that the client asked the proxy for."""
    proxies.resolve_here(monkeypatch)
    with deployed(name, tmp_path, attach_hosts=NAME) as deployment:
        for host, status in ((NAME, 200), ("evil.example", 421)):
            answer = httpx.get(f"{deployment.url}/", headers={"Host": host}, verify=False)  # noqa: S501
            assert status == answer.status_code


def test_hosts_are_those_that_a_trusted_proxy_forwards(tmp_path: Path) -> None:
    """And not those that another client does."""
    settings = {"attach_dir": tmp_path / "attachments", "attach_hosts": NAME}
    with rex_serving(tmp_path, *proxies.TRUSTED, **settings) as served:
        for peer, host, status in (
            (HOST, NAME, 200),
            (HOST, f"{NAME}:8443", 200),
            (HOST, "evil.example", 421),
            (CLIENT, NAME, 421),
        ):
            transport = httpx.HTTPTransport(local_address=peer)
            with httpx.Client(transport=transport) as client:
                answer = client.get(f"{served.url}/attach/", headers={"X-Forwarded-Host": host})
                assert status == answer.status_code, (peer, host)


def test_the_block_for_traefik_is_well_formed() -> None:
    """And its names lead to each other; it is not run."""
    http = yaml.safe_load(block("traefik"))["http"]
    service = http["services"][http["routers"]["attach"]["service"]]["loadBalancer"]
    assert service["serversTransport"] in http["serversTransports"]
    assert [{"url": "http://127.0.0.1:8000"}] == service["servers"]
