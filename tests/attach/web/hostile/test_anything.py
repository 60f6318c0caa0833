"""Random bytes wherever there can be some: an answer that is no 5xx, or a close, and no hang."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attach.web.hostile.raw import KEY, Connection, form, request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

pytestmark = pytest.mark.long

RANDOM = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WORDS = st.sampled_from(
    [
        *(b"..", b"/", b"//", b"\\", b"%2e", b"%2f", b"%00", b"%ff", b"%", b"?", b"#", b";", b":"),
        *(b"attach", b"links", b"health", b"{kept}", b"link", b"name=", b"limit=", b"day=", b"&"),
    ]
)
BYTES = st.binary(max_size=30)
TARGETS = st.lists(WORDS | BYTES, max_size=8).map(b"".join)
NAMES = st.sampled_from(
    [
        *("Range", "If-Range", "If-None-Match", "If-Match", "If-Modified-Since", "Origin", "Host"),
        *("Content-Type", "Content-Length", "Transfer-Encoding", "Expect", "Accept", "Connection"),
        *("Authorization", "Sec-Fetch-Site", "X-Forwarded-For", "Upgrade", "TE"),
    ]
)
VALUES = st.lists(
    st.sampled_from(
        [b"bytes=", b"0-1", b",", b'"', b"W/", b"*", b"-", b"9" * 30, b"chunked", b"close"]
    )
    | BYTES,
    max_size=6,
).map(b"".join)
PARTS = st.lists(
    st.sampled_from(
        [
            *(b"--edge", b"--edge--", b"\r\n", b"\n", b"\r", b":", b";", b'"', b"\\", b"=", b"\0"),
            *(b"Content-Disposition: form-data", b'; name="f"', b'; filename="', b"Content-Type: "),
        ]
    )
    | BYTES,
    max_size=30,
).map(b"".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def survives(everywhere: Everywhere, data: bytes) -> None:
    """Send it, leave, and find that the services are there and have what they had."""
    for service in everywhere.services:
        with Connection(service.port) as connection:
            connection.send(data.replace(b"{kept}", everywhere.kept(service).encode()))
            connection.end()
            answer = connection.rest()
        assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), answer
        everywhere.clean(service)


@RANDOM
@given(target=TARGETS)
def test_any_target(everywhere: Everywhere, target: bytes) -> None:
    """In the first line of a request."""
    survives(everywhere, request("GET", b"/attach/" + target))
    survives(everywhere, request("GET", target))


@RANDOM
@given(headers=st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_any_headers(everywhere: Everywhere, headers: list[tuple[str, bytes]]) -> None:
    """Those that are known, with anything in them."""
    lines = [name.encode() + b": " + value for name, value in headers]
    survives(everywhere, request("GET", "/attach{kept}", *lines))


@RANDOM
@given(body=PARTS)
def test_any_form(everywhere: Everywhere, body: bytes) -> None:
    """As a whole body, and as what is in a part."""
    typed = "Content-Type: multipart/form-data; boundary=edge"
    survives(everywhere, request("POST", "/attach/", typed, body=body))
    survives(everywhere, request("POST", "/attach/", typed, body=form(body)))


@RANDOM
@given(members=st.dictionaries(st.sampled_from(["size", "content_type", "method", "x"]), JSON))
def test_any_members(everywhere: Everywhere, members: dict[str, object]) -> None:
    """Of a request for a link."""
    body = json.dumps({"name": "a", **members}).encode()
    for answer in everywhere.each(request("POST", "/attach/links", body=body)):
        assert answer
        assert answer.status in (201, 400, 413)


@RANDOM
@given(data=st.binary(max_size=200))
def test_any_bytes(everywhere: Everywhere, data: bytes) -> None:
    """In place of a request, and in the middle of one."""
    survives(everywhere, data)
    survives(
        everywhere, f"POST /attach/?name=a HTTP/1.1\r\nAuthorization: {KEY}\r\n".encode() + data
    )
