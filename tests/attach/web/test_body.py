"""The body of a request: its limits, and what is made of its Content-Length."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from attach.web.sent import Sent
from attach.web.virtual_time import VirtualTime
from rex.attach.http.body_headers import ENCODED
from rex.attach.web.body import STOPPED_SENDING, WENT_AWAY, Body
from rex.core import Error, Kind

if TYPE_CHECKING:
    from starlette.requests import Request


def read(
    request: Request, *, max_size: int | None = None, stall_seconds: float = 60
) -> list[bytes]:
    """Read a body to its end."""

    async def reading() -> list[bytes]:
        body = Body(request, max_size=max_size, stall_seconds=stall_seconds)
        return [chunk async for chunk in body]

    return asyncio.run(reading())


def refused(request: Request, **limits: Any) -> Error:
    """Give the error that reading a body ends with."""
    with pytest.raises(Error) as caught:
        read(request, **limits)
    return caught.value


def test_chunks_come_as_they_were_sent() -> None:
    """None is joined to another, and empty messages are passed over."""
    sent = Sent([b"a", b"", b"bc"])
    assert [b"a", b"bc"] == read(sent.request({"Content-Length": "3"}))


def test_a_body_without_anything_is_empty() -> None:
    """With or without a Content-Length."""
    assert [] == read(Sent([]).request())
    assert [] == read(Sent([]).request({"Content-Length": "0"}))


def test_a_body_as_large_as_the_limit_is_read() -> None:
    """The limit is the largest size that is allowed."""
    assert [b"ab", b"cd"] == read(Sent([b"ab", b"cd"]).request(), max_size=4)


def test_a_body_over_the_limit_is_cut_at_the_limit() -> None:
    """Where nothing announces the size, an endless client is read no further."""
    sent = Sent(itertools.repeat(b"ab"))
    assert Kind.TOO_LARGE is refused(sent.request(), max_size=4).kind
    assert 3 == sent.read


def test_an_announced_size_over_the_limit_is_refused_unread() -> None:
    """Nothing is received, so a client that waits for 100 Continue need not send it."""
    sent = Sent([b"abcde"])
    assert Kind.TOO_LARGE is refused(sent.request({"Content-Length": "5"}), max_size=4).kind
    assert 0 == sent.read


@pytest.mark.parametrize(
    "length",
    ["-1", "+1", "", "1_0", "0x1", "1.0", "1, 1", "1 1", "abc", "\xb2", "9" * 20, "9" * 5000],
)
def test_a_content_length_that_is_no_number_is_refused_unread(length: str) -> None:
    """RFC 9110, section 8.6: nothing but digits, and not more than anybody could send."""
    sent = Sent([b"a"])
    error = refused(sent.request({"Content-Length": length}))
    assert (Kind.ILL_FORMED, 0) == (error.kind, sent.read)
    assert len(str(error)) < 1000


def test_a_content_length_given_twice_is_refused() -> None:
    """Whoever stands before us may have believed the other one (RFC 9112, section 6.3)."""
    request = Sent([b"a"]).raw_request([("content-length", "1"), ("content-length", "2")])
    assert Kind.ILL_FORMED is refused(request).kind


@pytest.mark.parametrize("announced", ["0", "3", "5", "1000"])
def test_a_body_that_is_not_as_long_as_announced_is_refused(announced: str) -> None:
    """Both shorter and longer."""
    request = Sent([b"ab", b"cd"]).request({"Content-Length": announced})
    assert Kind.ILL_FORMED is refused(request).kind


def test_a_longer_body_than_announced_is_read_no_further() -> None:
    """An endless one is found out at the first byte too many."""
    sent = Sent(itertools.repeat(b"ab"))
    assert Kind.ILL_FORMED is refused(sent.request({"Content-Length": "3"})).kind
    assert 2 == sent.read


def test_a_client_that_stops_sending_is_cut() -> None:
    """And the error can be told from a storage that does not answer."""
    error = refused(Sent([b"a"], "silence").request(), stall_seconds=0.01)
    assert (STOPPED_SENDING, Kind.UNAVAILABLE) == (error.code, error.kind)


def test_a_client_that_sends_nothing_again_and_again_is_cut() -> None:
    """A message with nothing in it is no sign of life."""
    request = Sent([b"a"]).request()

    async def nothing() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": True}

    request._receive = nothing
    assert STOPPED_SENDING == refused(request, stall_seconds=0.01).code


def dripped(chunk: bytes, number: int, every_seconds: float) -> int:
    """Read a body that comes in equal chunks, over virtual time; give its size."""
    sent = Sent([chunk] * number)
    request = sent.request()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(every_seconds)
        return await sent.receive()

    async def reading() -> int:
        request._receive = receive
        body = Body(request, max_size=None, stall_seconds=30)
        return sum([len(chunk) async for chunk in body])

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(reading())


@pytest.mark.parametrize(("size", "every_seconds"), [(1, 29), (1, 0.1), (511, 14.9), (1023, 15.1)])
def test_a_client_that_drips_is_cut(size: int, every_seconds: float) -> None:
    """Less than 1 KiB in each window of 30 seconds is as good as nothing."""
    with pytest.raises(Error) as caught:
        dripped(bytes(size), 1000, every_seconds)
    assert STOPPED_SENDING == caught.value.code


@pytest.mark.parametrize(("size", "every_seconds"), [(1024, 29), (36, 1), (512, 14.9)])
def test_a_slow_client_is_not_cut(size: int, every_seconds: float) -> None:
    """However long it takes altogether."""
    assert 1000 * size == dripped(bytes(size), 1000, every_seconds)


def test_a_short_body_may_take_its_time() -> None:
    """Its end is no stall."""
    assert 3 == dripped(b"a", 3, 7)


def test_a_body_of_unknown_length_is_refused_behind_wsgi() -> None:
    """An adapter may hand over nothing of it, which is not to be stored."""
    request = Sent([]).request({"Transfer-Encoding": "chunked"})
    request.scope["wsgi_environ"] = {}
    assert Kind.ILL_FORMED is refused(request).kind


def test_a_client_that_goes_away_ends_the_body_with_an_error() -> None:
    """What came is not taken for the whole, even if it is as long as announced."""
    for headers in ({}, {"Content-Length": "1"}):
        error = refused(Sent([b"a"], "disconnect").request(headers))
        assert (WENT_AWAY, Kind.UNAVAILABLE) == (error.code, error.kind)


ENCODINGS = ["gzip", "GZIP", "identity, br", "x", "gzip, identity", "deflate;q=1", "aws-chunked"]


@pytest.mark.parametrize("coding", ENCODINGS)
def test_a_body_in_a_coding_is_refused(coding: str) -> None:
    """Its bytes would be kept, and what they are would be forgotten (RFC 9110, section 8.4)."""
    sent = Sent([b"abc"])
    error = refused(sent.request({"Content-Encoding": coding}))
    assert (Kind.UNSUPPORTED, ENCODED) == (error.kind, error.code)
    assert 0 == sent.read
    lines = [("content-encoding", "identity"), ("content-encoding", coding)]
    assert ENCODED == refused(Sent([b"abc"]).raw_request(lines)).code


@pytest.mark.parametrize("coding", ["identity", "IDENTITY", " identity , ", ""])
def test_a_body_in_no_coding_is_read(coding: str) -> None:
    """``identity`` means no coding (RFC 9110, section 12.5.3)."""
    assert [b"abc"] == read(Sent([b"abc"]).request({"Content-Encoding": coding}))


@pytest.mark.parametrize("value", ["bytes 0-2/10", "bytes */10", "junk", ""])
def test_a_body_that_is_a_part_is_refused(value: str) -> None:
    """It would be taken for the whole (RFC 9110, section 14.5)."""
    error = refused(Sent([b"abc"]).request({"Content-Range": value}))
    assert (Kind.ILL_FORMED, True) == (error.kind, "content-range" in str(error))


def digest(algorithm: str, content: bytes) -> str:
    """Write a digest as RFC 9530 does."""
    found = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(found).decode()}:"


DIGESTS = [digest("sha-256", b"abcd"), digest("sha-512", b"abcd")]


@pytest.mark.parametrize("header", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize(
    "value",
    [
        *DIGESTS,
        ", ".join(DIGESTS),
        f"{DIGESTS[0]};x=y",
        f"md5=:AAAA:, unixsum=30637, x,{DIGESTS[0]}",
        "md5=:AAAA:",
        "",
    ],
)
def test_a_body_with_its_digest_is_read(header: str, value: str) -> None:
    """An algorithm that is not known is ignored (RFC 9530, section 2)."""
    assert [b"ab", b"cd"] == read(Sent([b"ab", b"cd"]).request({header: value}))


@pytest.mark.parametrize("header", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize(
    "value",
    [
        digest("sha-256", b"abcx"),
        digest("sha-512", b""),
        f"{DIGESTS[0]}, {digest('sha-512', b'abc')}",
        "sha-256=:AAAA:",
        "sha-256=::",
        "sha-256",
        "sha-256=?1",
        DIGESTS[0].replace(":", '"'),
        DIGESTS[0].replace("=:", "=:!"),
    ],
)
def test_a_body_with_another_digest_is_refused(header: str, value: str) -> None:
    """It was damaged on its way, or the digest was."""
    assert Kind.ILL_FORMED is refused(Sent([b"ab", b"cd"]).request({header: value})).kind


def test_of_two_digests_both_must_fit() -> None:
    """Also where they stand in two lines."""
    other = digest("sha-256", b"other")
    for lines in ([DIGESTS[0], other], [other, DIGESTS[0]]):
        request = Sent([b"abcd"]).raw_request([("content-digest", line) for line in lines])
        assert Kind.ILL_FORMED is refused(request).kind
