"""Hostile messages: where a request begins and ends, its method, its version, its headers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from attach.web.hostile.conftest import KEPT
from attach.web.hostile.raw import KEY, Connection, file_part, form, request, written
from attach.web.sent import Sent
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.content import Content
from rex.attach.web.upload import upload

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

pytestmark = pytest.mark.long

TARGET = "/attach/?name=a"
CHUNKED = "Transfer-Encoding: chunked"
BODY = b"3\r\nabc\r\n0\r\n\r\n"

AUTHORIZED = f"Authorization: Bearer {KEY}"
GET = "GET /attach{kept} HTTP/1.1"
HOST = "Host: here"
CLOSE = "Connection: close"

UNSTORED = {
    "a negative length": (["Content-Length: -1"], b"abc", 400),
    "a signed length": (["Content-Length: +3"], b"abc", 400),
    "a hexadecimal length": (["Content-Length: 0x3"], b"abc", 400),
    "an empty length": (["Content-Length:"], b"abc", 400),
    "two lengths in one": (["Content-Length: 3, 4"], b"abc", 400),
    "digits of another script": (["Content-Length: ٣"], b"abc", 400),
    "two lengths": (["Content-Length: 3", "Content-Length: 4"], b"abcd", 400),
    "a length of 23 digits": (["Content-Length: " + "9" * 23], b"abc", 400),
    "a length of 63 bits": (["Content-Length: 9223372036854775807"], b"abc", 413),
    "a length of 2 MB": (["Content-Length: 2000000"], b"abc", 413),
    "an unknown coding": (["Transfer-Encoding: gzip"], b"abc", 400),
    "a coding that is not undone": (["Transfer-Encoding: gzip, chunked"], BODY, 400),
    "a coding after chunked": (["Transfer-Encoding: chunked, gzip"], BODY, 400),
    "chunked twice": (["Transfer-Encoding: chunked, chunked"], BODY, 400),
    "chunked and identity": ([CHUNKED, "Transfer-Encoding: identity"], BODY, 400),
    "identity and chunked": (["Transfer-Encoding: identity", CHUNKED], BODY, 400),
    "nearly chunked": (["Transfer-Encoding: xchunked"], BODY, 400),
    "chunked behind a control": (["Transfer-Encoding: \x0bchunked"], BODY, 400),
    "a blank before the colon": (["Transfer-Encoding : chunked"], BODY, 400),
    "a chunk of no size": ([CHUNKED], b"zz\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk of negative size": ([CHUNKED], b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk of prefixed size": ([CHUNKED], b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk of 72 bits": ([CHUNKED], b"f" * 18 + b"\r\nabc", 400),
    "a chunk that is longer": ([CHUNKED], b"2\r\nabc\r\n0\r\n\r\n", 400),
    "chunks with bare LF": ([CHUNKED], b"3\nabc\n0\n\n", 400),
    "an extension with LF": ([CHUNKED], b"3;\nxx\r\nabc\r\n0\r\n\r\n", 400),
    "an extension of 100 KB": ([CHUNKED], b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n", 400),
    "20000 trailers": ([CHUNKED], b"3\r\nabc\r\n0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n", 400),
}
UNENDED = {
    "a length that does not come": ("Content-Length: 10", b"abc"),
    "a chunk of 64 bits": (CHUNKED, b"f" * 16 + b"\r\nabc"),
    "half a chunk": (CHUNKED, b"3\r\nab"),
    "no last chunk": (CHUNKED, b"3\r\nabc\r\n"),
}


@pytest.mark.parametrize("what", UNSTORED)
def test_a_body_without_a_clear_end_is_not_stored(everywhere: Everywhere, what: str) -> None:
    """It is refused; and the connection is not used for another request."""
    headers, body, status = UNSTORED[what]
    data = request("POST", TARGET, *headers, "Connection: keep-alive", body=body)
    answer = everywhere.answer(data)
    assert status == answer.status
    assert "close" == answer.headers.get("connection") or status == 413


def test_a_body_that_does_not_end_is_given_up(everywhere: Everywhere) -> None:
    """After the time of a stall, in which all of them are sent; it is not stored either."""

    def give_up(what: str) -> tuple[int, str | None]:
        line, body = UNENDED[what]
        answer = everywhere.answer(
            request("POST", TARGET, line, "Connection: keep-alive", body=body)
        )
        return answer.status, answer.headers.get("connection")

    with ThreadPoolExecutor(len(UNENDED)) as pool:
        answers = dict(zip(UNENDED, pool.map(give_up, UNENDED), strict=True))
    assert dict.fromkeys(UNENDED, (408, "close")) == answers


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: 3", "Content-Length: 3"], b"abc"),
        ([CHUNKED], BODY),
        (["Transfer-Encoding:\tCHUNKED"], BODY),
        ([CHUNKED], b"3;a=b\r\nabc\r\n0\r\n\r\n"),
        ([CHUNKED], b"3\r\nabc\r\n0\r\nAuthorization: x\r\nX-A: b\r\n\r\n"),
        (["Expect: 100-continue", "Content-Length: 3"], b"abc"),
        (["Content-Length: 30", CHUNKED], BODY),
        ([CHUNKED, "Content-Length: 3"], BODY),
    ],
)
def test_an_unusual_body_is_read_as_it_is_meant(
    everywhere: Everywhere, headers: list[str], body: bytes
) -> None:
    """As RFC 9112, section 6, says."""
    assert ["a"] == everywhere.stored(request("POST", TARGET, *headers, body=body))


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 300", CHUNKED],
        [CHUNKED, "Content-Length: 5"],
        [CHUNKED, "Transfer-Encoding: identity"],
        ["Transfer-Encoding: identity", CHUNKED, "Content-Length: 5"],
        ["Transfer-Encoding: xchunked", "Content-Length: 5"],
        ["Transfer-Encoding : chunked", "Content-Length: 5"],
        ["X: y\nTransfer-Encoding: chunked", "Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 0", "Content-Length: 5"],
    ],
)
def test_no_request_is_smuggled_in_another(everywhere: Everywhere, headers: list[str]) -> None:
    """What may be read in two ways is answered once, and then the connection is closed."""
    hidden = request("DELETE", "/attach{kept}")
    data = request(
        "POST", "/attach/?x=y", *headers, "Connection: keep-alive", body=b"0\r\n\r\n" + hidden
    )
    for service in everywhere.services:
        with Connection(service.port) as connection:
            connection.send(data.replace(b"{kept}", everywhere.kept(service).encode()))
            answer = connection.answer()
            assert answer
            assert 400 == answer.status
            assert b"" == connection.rest()


def test_many_small_chunks_are_bearable(everywhere: Everywhere) -> None:
    """As bytes and as a form, each byte in a chunk of its own."""
    body = b"1\r\na\r\n" * 2000 + b"0\r\n\r\n"
    assert ["a"] == everywhere.stored(request("POST", TARGET, CHUNKED, body=body))
    files = form(file_part('name="f"; filename="a"', b"a" * 2000))
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in files) + b"0\r\n\r\n"
    typed = "Content-Type: multipart/form-data; boundary=edge"
    assert ["a"] == everywhere.stored(request("POST", "/attach/", CHUNKED, typed, body=body))


def test_small_chunks_reach_the_storage_together() -> None:
    """Each costs it a turn of a thread."""
    sizes: list[int] = []

    class Watching(MemoryStorage):
        def _put(self, key: str, content: Content, content_type: str) -> None:
            chunks = [bytes(chunk) for chunk in content]
            sizes.extend(map(len, chunks))
            super()._put(key, Content(b"".join(chunks)), content_type)

    sent = Sent([b"x"] * 1000 + [b"x" * 600] * 2 + [b"x"])
    asyncio.run(upload(sent.request(query="name=a"), Watching(), max_size=None))
    assert 2201 == sum(sizes)
    assert len(sizes) < 50


METHODS = ["TRACE", "CONNECT", "get", "Get", "X" * 5000, "M-SEARCH", "PROPFIND"]
METHODS += ["PUT", "PATCH", "LINK", "0", "__call__", "PRI", "GETX", "$HOME", "*"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[:20])
def test_other_methods_are_not_allowed(everywhere: Everywhere, method: str) -> None:
    """They are told which are, and nothing of the request comes back."""
    for path, allow in (("/", "GET, HEAD, OPTIONS, POST"), ("{kept}", "DELETE, GET, HEAD")):
        lines = ("X-Echo: canary-echo", "Cookie: canary-echo")
        answer = everywhere.answer(request(method, f"/attach{path}", *lines))
        assert (405, allow) == (answer.status, answer.headers["allow"])
        assert b"canary-echo" not in answer.body
    answer = everywhere.answer(request(method, "/health"))
    assert (405, "GET, HEAD") == (answer.status, answer.headers["allow"])


@pytest.mark.parametrize("method", ["", "G\0T", "G T", "GET\t", "HEAD ", "É", "GET\r\n", "(GET)"])
def test_what_is_no_method_is_refused(everywhere: Everywhere, method: str) -> None:
    """By its first line alone."""
    assert 400 == everywhere.status(request(method, "/attach{kept}"))


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Http-Method-Override: DELETE"],
        ["X-Method-Override: DELETE", "X-HTTP-Method: DELETE"],
        ["X-Original-Url: /attach/", "X-Rewrite-Url: /health"],
        ["Upgrade: websocket", "Connection: Upgrade, close", "Sec-WebSocket-Version: 13"],
        ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
        ["Accept: \x80", "Accept-Encoding: gzip, br, zip;q=9e9", "TE: trailers"],
        ["Cookie: " + "a=b; " * 10_000],
        ["X-A: " + "a" * 100_000],
        [b"X-A: \xff\xfe"],
        [f"X-{number}: a" for number in range(90)],
        ["X-A:", "X-A: ", "X-A:\t"],
        ["Content-Length: 0"],
    ],
    ids=lambda given: ascii(given)[:40],
)
def test_headers_that_mean_nothing_here_change_nothing(
    everywhere: Everywhere, headers: list[str | bytes]
) -> None:
    """What is asked for is given."""
    answer = everywhere.answer(request("GET", "/attach{kept}", *headers))
    assert (200, KEPT) == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([GET, HOST, "X-A : b"], 400),
        ([GET, HOST, "X-A: b\r\n c"], 400),
        ([GET, HOST, "nothing"], 400),
        ([GET, HOST, ": b"], 400),
        ([GET, HOST, "X-A: a\0b"], 400),
        ([GET, HOST, "X-A: a\rb"], 400),
        ([GET, HOST, b"X-\xff: a"], 400),
        ([GET, HOST, *[f"X-{number}: a" for number in range(200)]], 431),
        ([GET, HOST, *[f"X-{number}: a" for number in range(10_000)]], 431),
        ([GET], 400),
        ([GET, "Host:"], 400),
        ([GET, "Host: "], 400),
        ([GET, HOST, "Host: evil.example"], 400),
        ([GET, HOST, HOST], 400),
        ([GET, "Host: a b"], 400),
        ([GET, "Host: user@here"], 400),
        ([GET, "Host: here/attach"], 400),
        ([GET, 'Host: "><script>'], 400),
        ([GET, b"Host: \xff\xfe"], 400),
        (["GET /attach{kept} HTTP/1.0", HOST, HOST], 400),
        (["GET /attach{kept} HTTP/1.2", HOST], 400),
        (["GET /attach{kept} HTTP/2.0", HOST], 400),
        (["GET /attach{kept} http/1.1", HOST], 400),
        (["GET /attach{kept} HTTP/1.1 x", HOST], 400),
        (["GET /attach{kept} HTTP/99999999999999999999", HOST], 400),
        (["GET /attach{kept}", HOST], 400),
        ([" " + GET, HOST], 400),
        (["\t" + GET, HOST], 400),
    ],
    ids=lambda given: ascii(given)[:50],
)
def test_an_ill_formed_head_is_refused(
    everywhere: Everywhere, lines: list[str | bytes], status: int
) -> None:
    """Also one with no host, or with two (RFC 9112, section 3.2)."""
    answer = everywhere.answer(written([*lines, AUTHORIZED, CLOSE]))
    assert status == answer.status


def test_other_ways_to_write_a_request_are_understood(everywhere: Everywhere) -> None:
    """Older and sloppy clients get what they ask for."""
    old = written(["GET /attach{kept} HTTP/1.0", AUTHORIZED])
    without_name = written(["GET /attach{kept} HTTP/1.0", "Host:", AUTHORIZED])
    long_name = written([GET, "Host: " + "a" * 50_000, AUTHORIZED, CLOSE])
    ends = written([GET, HOST, AUTHORIZED, CLOSE]).replace(b"\r\n", b"\n")
    begins = b"\r\n\r\n" + written([GET, HOST, AUTHORIZED, CLOSE])
    for data in (old, without_name, long_name, ends, begins):
        assert KEPT == everywhere.answer(data).body


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 10_000,
        bytes(range(256)) * 10,
        bytes.fromhex("16030100050100000100"),  # the start of a TLS handshake
        b"\x05\x01\x00\r\n\r\n",  # and of SOCKS
        b"EHLO here\r\n\r\n",
        b"GET /attach{kept}\r\n\r\n",  # HTTP/0.9
    ],
)
def test_what_is_no_request_is_refused(everywhere: Everywhere, data: bytes) -> None:
    """Another protocol, or none."""
    assert 400 == everywhere.status(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET",
        b"GET /attach/\r\n",
        b"GET /attach/ HTTP/1.1\r\nHost: here\r\nX-A",
        request("POST", TARGET, "Content-Length: 10", body=b"abc"),
        request("POST", TARGET, CHUNKED, body=b"3\r\nab"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
    ],
)
def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    everywhere: Everywhere, data: bytes
) -> None:
    """Whatever it was about to send."""
    for service in everywhere.services:
        with Connection(service.port) as connection:
            connection.send(data)
            connection.end()
            assert b"HTTP/1.1 2" not in connection.rest()


def test_headers_without_end_are_refused(everywhere: Everywhere) -> None:
    """They are not held in memory until they end."""
    for service in everywhere.services:
        with Connection(service.port) as connection:
            connection.send(f"{GET}\r\nX-A: ".encode() + b"a" * 10_000_000)
            answer = connection.answer()
            assert answer is None or answer.status == 431
            assert b"" == connection.rest()


def test_requests_in_a_row_are_answered_in_a_row(everywhere: Everywhere) -> None:
    """Sent at once, without waiting for the answers."""
    row = ["/attach{kept}", "/attach/..%2fx", "/health", "/attach{kept}"]
    last = request("DELETE", "/attach/none", "X-Last: yes")
    data = b"".join(request("GET", one, "Connection: keep-alive") for one in row) + last
    for service in everywhere.services:
        with Connection(service.port) as connection:
            connection.send(data.replace(b"{kept}", everywhere.kept(service).encode()))
            answers = [connection.answer() for _ in range(5)]
            assert [200, 404, 200, 200, 404] == [one and one.status for one in answers]
            assert b"" == connection.rest()
