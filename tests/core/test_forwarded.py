"""Forwarded headers: a trusted proxy restores the request, and nobody else changes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from rex.core.forwarded import Forwarded, trusted_proxies

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

PROXY = "10.0.0.1"
STRANGER = "203.0.113.7"
CLIENT = "198.51.100.1"
TRUSTED = "10.0.0.0/8, 2001:db8::/32, 127.0.0.1"


class Seen(NamedTuple):
    """What the application sees of a request."""

    client: str
    scheme: str
    host: str
    root: str
    path: str
    raw: str


DIRECT = Seen(PROXY, "http", "upstream:8000", "", "/attach/a b", "/attach/a%20b")
"""A request without forwarded headers."""


def send(
    *headers: tuple[str, str],
    peer: str = PROXY,
    root: str = "",
    path: str = DIRECT.path,
    hosts: tuple[str, ...] = (DIRECT.host,),
    trusted: str = TRUSTED,
) -> tuple[Seen | None, int]:
    """Return what the application sees of a request, and the status of the response."""
    seen: list[Scope] = []
    statuses: list[int] = []

    async def app(scope: Scope, _: Receive, answer: Send) -> None:
        seen.append(scope)
        await answer({"type": "http.response.start", "status": 200, "headers": []})
        await answer({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answer(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else ())

    given = [("host", host) for host in hosts] + list(headers)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "client": (peer, "1"),
        "scheme": "http",
        "root_path": "",
        "path": path,
        "raw_path": path.replace(" ", "%20").encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given],
    }
    middleware = Forwarded(app, trusted_proxies.read(trusted), root)
    asyncio.run(middleware(scope, receive, answer))
    if not seen:
        return None, statuses[0]
    (found,) = seen
    host = " ".join(value.decode() for name, value in found["headers"] if name == b"host")
    restored = Seen(
        found["client"][0],
        found["scheme"],
        host,
        found["root_path"],
        found["path"],
        found["raw_path"].decode(),
    )
    return restored, statuses[0]


def restore(*headers: tuple[str, str], **options: Any) -> Seen:
    """Return what the application sees of a request: see `send`."""
    seen, _ = send(*headers, **options)
    assert seen is not None
    return seen


ALL = (
    ("X-Forwarded-For", CLIENT),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "example.org"),
    ("X-Forwarded-Prefix", "/files"),
)


def test_a_trusted_proxy_restores_the_request() -> None:
    """The client, the scheme, the host, and the prefix that the proxy removed."""
    path, raw = "/files/attach/a b", "/files/attach/a%20b"
    assert (Seen(CLIENT, "https", "example.org", "/files", path, raw), 200) == send(*ALL)


@pytest.mark.parametrize("peer", [STRANGER, "", "localhost", "10.0.0.1.example.org"])
def test_what_a_stranger_sends_is_ignored(peer: str) -> None:
    """Also on a Unix socket, unless that is trusted."""
    assert DIRECT._replace(client=peer) == restore(*ALL, peer=peer)


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "2001:db8::1", "127.0.0.1"])
def test_the_addresses_of_a_proxy_are_compared_as_addresses(peer: str) -> None:
    """However they are written."""
    seen = restore(*ALL, peer=peer)
    assert CLIENT == seen.client


def test_the_clients_of_a_unix_socket_are_trusted_if_that_is_said() -> None:
    """And then those of a port are not."""
    seen = restore(*ALL, peer="", trusted="unix")
    assert ("example.org", CLIENT) == (seen.host, seen.client)
    assert DIRECT == restore(*ALL, trusted="unix")


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([f"127.0.0.1, {CLIENT}"], CLIENT),
        (["127.0.0.1", CLIENT], CLIENT),
        ([f"{STRANGER}, {CLIENT}, 10.9.9.9"], CLIENT),
        ([f"{STRANGER}, {CLIENT}", "10.9.9.9"], CLIENT),
        ([f"{CLIENT}:4711"], CLIENT),
        (["[2001:db9::1]:4711"], "2001:db9::1"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([f"{CLIENT}, unknown"], PROXY),
        ([f"{CLIENT}, <script>, 10.0.0.2"], "10.0.0.2"),
        (["unix:"], PROXY),
        ([" , ,"], PROXY),
        (["10.0.0.2%eth0"], PROXY),
        ([", ".join([CLIENT] * 10_000)], CLIENT),
    ],
    ids=range(13),
)
def test_the_client_is_the_last_address_that_is_not_a_proxy(lines: list[str], client: str) -> None:
    """Whatever the client itself wrote in front of that."""
    seen = restore(*[("X-Forwarded-For", line) for line in lines])
    assert client == seen.client


@pytest.mark.parametrize(
    ("header", "lines", "hops", "expected"),
    [
        ("Proto", ["https"], 1, "https"),
        ("Proto", ["HTTPS"], 1, "https"),
        ("Proto", ["http", "https"], 1, "https"),
        ("Proto", ["https, http"], 1, "http"),
        ("Proto", ["https, http"], 2, "https"),
        ("Proto", ["http, https, http"], 2, "https"),
        ("Proto", ["https"], 2, "https"),
        ("Proto", ["javascript"], 1, "http"),
        ("Proto", ["wss"], 1, "http"),
        ("Host", ["evil.example", "example.org"], 1, "example.org"),
        ("Host", ["evil.example, example.org, inner"], 2, "example.org"),
        ("Host", [""], 1, "upstream:8000"),
    ],
)
def test_scheme_and_host_are_those_of_the_first_proxy(
    header: str, lines: list[str], hops: int, expected: str
) -> None:
    """What a client sent before its first trusted proxy does not count."""
    chain = ", ".join([CLIENT, "10.0.0.2"][:hops])
    seen = restore(("X-Forwarded-For", chain), *[(f"X-Forwarded-{header}", line) for line in lines])
    assert expected == (seen.scheme if header == "Proto" else seen.host)


def test_a_request_with_several_hosts_keeps_them() -> None:
    """So that it is refused, as without a proxy."""
    seen = restore(*ALL, hosts=("a.example", "b.example"))
    assert "a.example b.example" == seen.host


@pytest.mark.parametrize(
    ("prefixes", "hops", "root"),
    [
        (["/a"], 1, "/a"),
        (["/a/"], 1, "/a"),
        (["/evil", "/a"], 1, "/a"),
        (["/a, /b"], 2, "/a/b"),
        (["/evil, /a, /b"], 2, "/a/b"),
        (["/"], 1, ""),
        (["/%C3%BC"], 1, "/ü"),
    ],
)
def test_the_prefixes_of_trusted_proxies_are_joined(
    prefixes: list[str], hops: int, root: str
) -> None:
    """Each has removed its own from the path."""
    chain = ", ".join([CLIENT, "10.0.0.2"][:hops])
    seen = restore(
        ("X-Forwarded-For", chain), *[("X-Forwarded-Prefix", prefix) for prefix in prefixes]
    )
    assert (root, f"{root}/attach/a b") == (seen.root, seen.path)


@pytest.mark.parametrize("prefix", ["a", "//evil.example", "/..", "/a?b", "/a#b", "/a\\b", "/%2e."])
def test_an_ill_formed_prefix_is_refused(prefix: str) -> None:
    """It would come before every address that the service gives."""
    assert (None, 400) == send(("X-Forwarded-Prefix", prefix))
    assert 200 == send(("X-Forwarded-Prefix", prefix), peer=STRANGER)[1]


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/files", "/attach/x", ("/files", "/files/attach/x")),
        ("/files", "/files/attach/x", ("/files", "/files/attach/x")),
        ("/files", "/files", ("/files", "/files")),
        ("/files", "/filesystem", ("/files", "/files/filesystem")),
        ("/%C3%BC", "/attach", ("/ü", "/ü/attach")),
        ("/files", "*", ("", "*")),
        ("", "/files/attach", ("", "/files/attach")),
    ],
)
def test_the_root_path_may_be_removed_or_not(
    root: str, path: str, expected: tuple[str, str]
) -> None:
    """By the proxy, from the path of a request."""
    seen = restore(path=path, root=root)
    assert expected == (seen.root, seen.path)


def test_a_prefix_replaces_the_root_path() -> None:
    """The proxy knows better."""
    seen = restore(("X-Forwarded-Prefix", "/other"), root="/files")
    assert ("/other", "/other/attach/a b") == (seen.root, seen.path)


@pytest.mark.parametrize("listed", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1;::1"])
def test_proxies_are_addresses_and_networks(listed: str) -> None:
    """A name would have to be looked up, and an asterisk would trust everybody."""
    with pytest.raises(ValueError, match=r".*"):
        trusted_proxies.read(listed)
