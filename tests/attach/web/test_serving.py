"""Attachments served: what is sent, what is asked of the storage, and how a stream ends."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email
import email.utils
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.requests import Request

from attach.at_once import LACKING, READS_AT_ONCE
from attach.counting import CountingRelay
from attach.web.virtual_time import VirtualTime
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.conformance.samples import MIB, sample
from rex.attach.content.content import READ_SIZE
from rex.attach.content.media_type import INLINE_TYPES
from rex.attach.content.reader import Body
from rex.attach.http.download import Presentation
from rex.attach.web.download import serve
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.conformance import Harness
    from rex.attach.content.reader import Body
    from rex.attach.info import Metadata
    from rex.attach_demo.seaweedfs import SeaweedFS

DATA = sample(3 * MIB + 5)
LEFT_OUT = LACKING
FOREVER = 1000
"""Seconds that no test takes."""


class Operation(MemoryStorage):
    """A storage that tells what was asked of it, and whose streams may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 0
        self.starts: list[int] = []
        self.chunks = 0
        self.opened = 0
        self.fails_at: int | None = None

    def _head(self, key: str) -> Metadata:
        self.heads += 1
        return super()._head(key)

    def _get(self, key: str, start: int, end: int | None) -> Body:
        self.starts.append(start)
        body = super()._get(key, start, end)
        return body._replace(chunks=WatchedChunks(self, body.chunks))


class WatchedChunks:
    """The chunks of a watched storage."""

    def __init__(self, storage: Operation, chunks: Iterator[bytes]) -> None:
        self._storage = storage
        self._chunks = chunks
        self._is_open = True
        storage.opened += 1

    def __iter__(self) -> WatchedChunks:
        return self

    def __next__(self) -> bytes:
        if self._storage.chunks == self._storage.fails_at:
            raise Error("The disk is gone", kind=Kind.CORRUPT)
        chunk = next(self._chunks)
        self._storage.chunks += 1
        return chunk

    def close(self) -> None:
        """Count it once."""
        self._storage.opened -= self._is_open
        self._is_open = False


def ask(
    storage: Storage,
    handle: str,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    method: str = "GET",
    **options: Any,
) -> httpx.Response:
    """Make one request for an attachment."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await serve(Request(scope, receive), storage, handle, **options)
        await response(scope, receive, send)

    async def live() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            client.headers.clear()
            return await client.request(method, "/", headers=headers)

    return asyncio.run(live())


def raw(
    storage: Storage, handle: str, headers: dict[str, str] | None = None, *, method: str = "GET"
) -> dict[str, str]:
    """Return the headers of an answer, whose content need not be in the coding that they name."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def live() -> None:
        lines = [(name.lower().encode(), line.encode()) for name, line in (headers or {}).items()]
        scope = {"type": "http", "method": method, "path": "/", "headers": lines}
        request = Request({**scope, "query_string": b""})
        await (await serve(request, storage, handle))(scope, receive, send)

    asyncio.run(live())
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def stream(
    storage: Storage,
    handle: str,
    send: Callable[[Any], Awaitable[None]],
    receive: Callable[[], Awaitable[Any]] | None = None,
    *,
    stall_seconds: float = FOREVER,
) -> None:
    """Have an attachment sent to a client of one's own making."""

    async def waits() -> Any:
        await asyncio.Event().wait()

    async def live() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        request = Request(scope)
        response = await serve(request, storage, handle, stall_seconds=stall_seconds)
        await asyncio.wait_for(response(scope, receive or waits, send), PATIENCE)

    asyncio.run(live())


@pytest.mark.parametrize("size", [0, 1, 65_536, MIB, 3 * MIB + 5])
def test_an_attachment_is_served_whole(storage: Storage, size: int) -> None:
    """With all that is known of it, and nothing that lets a browser run it."""
    handle = storage.add("ü.html", DATA[:size], content_type="text/html")
    answer = ask(storage, handle)
    info = storage.info(handle)
    assert (200, DATA[:size]) == (answer.status_code, answer.content)
    assert {
        "content-type": "text/html",
        "content-length": str(size),
        "content-disposition": "attachment; filename=\"_.html\"; filename*=UTF-8''%C3%BC.html",
        "etag": info.etag,
        "last-modified": email.utils.format_datetime(
            info.modified.astimezone(datetime.UTC), usegmt=True
        ),
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "vary": "Authorization, Cookie",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    } == dict(answer.headers)


def test_head_tells_the_same_without_a_body(storage: Storage) -> None:
    """All headers of the GET; a range is for GET alone (RFC 9110, section 14.2)."""
    handle = storage.add("a.png", DATA)
    whole = ask(storage, handle)
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=9999999-"}):
        looked_at = ask(storage, handle, headers, method="HEAD")
        assert (200, b"") == (looked_at.status_code, looked_at.content)
        assert whole.headers == looked_at.headers


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(DATA)),
        ("bytes=1000-2000", 1000, 2001),
        (f"bytes={MIB - 1}-{MIB}", MIB - 1, MIB + 1),
        (f"bytes={2 * MIB + 3}-", 2 * MIB + 3, len(DATA)),
        (f"bytes=5-{2 * MIB + 9}", 5, 2 * MIB + 10),
        (f"bytes={len(DATA) - 1}-{len(DATA) + 1000}", len(DATA) - 1, len(DATA)),
        ("bytes=-3", len(DATA) - 3, len(DATA)),
        ("bytes=-99999999", 0, len(DATA)),
        ("bytes=7-8, 99999999-", 7, 9),
    ],
)
def test_one_range_is_served(storage: Storage, header: str, start: int, stop: int) -> None:
    """A 206 with those bytes, and where they stand (RFC 9110, section 15.3.7.1)."""
    handle = storage.add("a.bin", DATA)
    answer = ask(storage, handle, {"Range": header})
    assert (206, DATA[start:stop]) == (answer.status_code, answer.content)
    assert f"bytes {start}-{stop - 1}/{len(DATA)}" == answer.headers["Content-Range"]
    assert str(stop - start) == answer.headers["Content-Length"]
    assert "application/octet-stream" == answer.headers["Content-Type"]


def test_several_ranges_are_served_in_their_order(storage: Storage) -> None:
    """As multipart/byteranges (RFC 9110, section 15.3.7.2), each part with its place."""
    handle = storage.add("a.txt", DATA)
    spans = [(2 * MIB, 3 * MIB), (0, 10), (len(DATA) - 5, len(DATA)), (500, 501)]
    header = "bytes=" + ", ".join(f"{start}-{stop - 1}" for start, stop in spans)
    answer = ask(storage, handle, {"Range": header})
    assert 206 == answer.status_code
    assert "Content-Range" not in answer.headers
    assert str(len(answer.content)) == answer.headers["Content-Length"]
    boundary = answer.headers["Content-Type"].removeprefix("multipart/byteranges; boundary=")
    before, *parts, end = answer.content.split(f"\r\n--{boundary}".encode())
    assert (b"", b"--\r\n") == (before, end)
    for part, (start, stop) in zip(parts, spans, strict=True):
        head, _, body = part.partition(b"\r\n\r\n")
        described = email.message_from_bytes(head.lstrip())
        assert "text/plain" == described["Content-Type"]
        assert f"bytes {start}-{stop - 1}/{len(DATA)}" == described["Content-Range"]
        assert DATA[start:stop] == body


@pytest.mark.parametrize("size", [0, 10])
@pytest.mark.parametrize(
    "first", [10, 1000, 2**63 - 1, 10**400], ids=["end", "past", "far", "huge"]
)
def test_a_range_past_the_end_is_not_satisfiable(storage: Storage, size: int, first: int) -> None:
    """416 with the size, as a problem (RFC 9110, section 15.5.17)."""
    handle = storage.add("a.bin", DATA[:size])
    for header in (f"bytes={first}-", f"bytes={first}-,{first + 1}-"):
        answer = ask(storage, handle, {"Range": header})
        if len(header) > 600:  # longer than a range that is looked at
            assert (200, DATA[:size]) == (answer.status_code, answer.content)
            continue
        assert (416, f"bytes */{size}") == (answer.status_code, answer.headers["Content-Range"])
        assert "range-not-satisfiable" == answer.json()["kind"]
        assert "nosniff" == answer.headers["X-Content-Type-Options"]


@pytest.mark.parametrize("header", ["bytes=5-4", "bytes=x", "lines=1-2", "bytes=0-5,3-9", "junk"])
def test_a_range_that_is_none_gives_the_whole(storage: Storage, header: str) -> None:
    """A 200, as if it were not there."""
    handle = storage.add("a.bin", DATA)
    answer = ask(storage, handle, {"Range": header})
    assert (200, DATA) == (answer.status_code, answer.content)


def test_ranges_in_several_lines_are_ignored() -> None:
    """There is one `Range` at most, so two lines are ill-formed."""
    storage = MemoryStorage()
    handle = storage.add("a.bin", DATA)
    answer = ask(storage, handle, [("Range", "bytes=0-1"), ("Range", "bytes=5-6")])
    assert 200 == answer.status_code


def test_a_stale_range_is_answered_with_the_whole(storage: Storage) -> None:
    """`If-Range` with another tag or date gives a 200, with the right one a 206."""
    handle = storage.add("a.bin", DATA)
    known = ask(storage, handle, method="HEAD").headers
    for value in ('"stale"', f"W/{known['etag']}", "Mon, 23 Nov 2020 10:00:00 GMT", "junk"):
        answer = ask(storage, handle, {"Range": "bytes=5-9", "If-Range": value})
        assert (200, DATA) == (answer.status_code, answer.content)
        unsatisfiable = ask(storage, handle, {"Range": "bytes=99999999-", "If-Range": value})
        assert (200, DATA) == (unsatisfiable.status_code, unsatisfiable.content)
    for value in (known["etag"], known["last-modified"]):
        answer = ask(storage, handle, {"Range": "bytes=5-9", "If-Range": value})
        assert (206, DATA[5:10]) == (answer.status_code, answer.content)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(storage: Storage, method: str) -> None:
    """304 without content, but with the tag and how long to keep it (section 15.4.5)."""
    handle = storage.add("a.bin", DATA)
    known = ask(storage, handle, method="HEAD").headers
    for headers in (
        {"If-None-Match": known["etag"]},
        {"If-None-Match": f'"x", W/{known["etag"]}', "Range": "bytes=0-1"},
        {"If-None-Match": "*"},
        {"If-Modified-Since": known["last-modified"]},
    ):
        answer = ask(storage, handle, headers, method=method)
        assert (304, b"") == (answer.status_code, answer.content)
        assert known["etag"] == answer.headers["ETag"]
        assert known["cache-control"] == answer.headers["Cache-Control"]
        assert not {"content-length", "content-type", "content-range"} & set(answer.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_failed_precondition_is_told(storage: Storage, method: str) -> None:
    """412, whatever else is asked."""
    handle = storage.add("a.bin", DATA)
    etag = storage.info(handle).etag
    for headers in (
        {"If-Match": '"x"'},
        {"If-Match": '"x"', "If-None-Match": etag, "Range": "bytes=0-1"},
        {"If-Unmodified-Since": "Mon, 23 Nov 2020 10:00:00 GMT"},
    ):
        assert 412 == ask(storage, handle, headers, method=method).status_code


if READS_AT_ONCE:

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("size", [0, 1, 50_000])
    def test_what_is_in_memory_is_answered_no_differently(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, size: int
    ) -> None:
        """Whether a small file is sent at once or streamed, nobody can tell by the answer."""
        monkeypatch.setattr("secrets.token_hex", lambda size: "b" * 2 * size)  # the boundary
        with LocalStorage(tmp_path) as storage:
            handle = storage.add("a.png", DATA[:size])
            assert storage.read_cached(handle) is not None
            etag = storage.info(handle).etag
            for headers in (
                {},
                {"Range": "bytes=10-20"},
                {"Range": "bytes=30000-40000, 0-10, -5"},
                {"Range": "bytes=99999-"},
                {"Range": "bytes=0-5,3-9"},
                {"Range": "bytes=0-0", "If-Range": '"stale"'},
                {"If-None-Match": etag},
                {"If-Match": '"other"'},
                {"If-Modified-Since": "Mon, 23 Nov 2020 10:00:00 GMT"},
            ):
                at_once = ask(storage, handle, headers, method=method)
                with monkeypatch.context() as patch:
                    patch.setattr(storage, "_get_cached", lambda _: None)
                    streamed = ask(storage, handle, headers, method=method)
                assert streamed.status_code == at_once.status_code
                assert streamed.headers == at_once.headers
                assert streamed.content == at_once.content


def test_conditions_in_several_lines_count_as_one() -> None:
    """A list may be spread over lines (RFC 9110, section 5.3)."""
    storage = MemoryStorage()
    handle = storage.add("a.bin", DATA)
    lines = [("If-None-Match", '"x"'), ("If-None-Match", storage.info(handle).etag)]
    assert 304 == ask(storage, handle, lines).status_code


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("HEAD", {"Range": "bytes=5-9"}, 200),
        ("HEAD", {"If-None-Match": "*"}, 304),
        ("GET", {"If-None-Match": "*"}, 304),
        ("GET", {"If-Match": '"x"'}, 412),
        ("GET", {"Range": "bytes=-0"}, 416),
    ],
)
def test_what_has_no_content_is_not_opened(
    method: str, headers: dict[str, str], status: int
) -> None:
    """The storage is asked for the info, once, and for no bytes."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    assert status == ask(storage, handle, headers, method=method).status_code
    assert (1, []) == (storage.heads, storage.starts)


def test_past_the_end_no_byte_is_read() -> None:
    """A start is tried at once, and nothing is taken from what is opened."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    assert 416 == ask(storage, handle, {"Range": f"bytes={len(DATA)}-"}).status_code
    assert (0, 0) == (storage.chunks, storage.opened)


@pytest.mark.parametrize(
    ("header", "start"), [(None, 0), ("bytes=5-9", 5), (f"bytes={2 * MIB + 1}-", 2 * MIB + 1)]
)
def test_content_is_one_request(header: str | None, start: int) -> None:
    """The whole or a range from the middle: opened once, where it begins."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    ask(storage, handle, {} if header is None else {"Range": header})
    assert (0, [start]) == (storage.heads, storage.starts)
    assert storage.opened == 0


def test_a_range_is_one_request_on_s3(seaweedfs: SeaweedFS) -> None:
    """Counted on the way; where the size is needed first, or too late, it is two."""
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    with CountingRelay(seaweedfs.endpoint) as relay:
        url = f"s3://{seaweedfs.bucket}/serving?endpoint={relay.endpoint}"
        with open_storage(url, **keys) as storage:
            handle = storage.add("a.bin", DATA)
            for headers, requests in (
                ({}, ["GET"]),
                ({"Range": f"bytes={MIB}-{MIB + 9}"}, ["GET"]),
                ({"Range": f"bytes={MIB}-", "If-Range": storage.info(handle).etag}, ["GET"]),
                ({"Range": "bytes=-9"}, ["HEAD", "GET"]),
                ({"Range": "bytes=99999999-"}, ["GET", "HEAD"]),
                ({"If-None-Match": "*"}, ["HEAD"]),
            ):
                relay.taken()
                ask(storage, handle, headers)
                assert requests == relay.taken()


@pytest.mark.parametrize(
    ("name", "stored", "inline", "served", "kind"),
    [
        ("a.png", None, True, "image/png", "inline"),
        ("a.png", None, False, "image/png", "attachment"),
        ("a.png", "text/html", True, "text/html", "attachment"),
        ("a.html", "image/png", True, "image/png", "inline"),
        ("a.svg", None, True, "image/svg+xml", "attachment"),
        ("a.txt", "text/plain; charset=latin-1", True, "text/plain; charset=latin-1", "inline"),
        ("a.xml", None, True, "text/xml", "attachment"),
    ],
)
def test_only_harmless_types_are_shown_in_place(
    name: str, stored: str | None, *, inline: bool, served: str, kind: str
) -> None:
    """Judged by the stored type, which is sent as it stands."""
    storage = MemoryStorage()
    handle = storage.add(name, b"<script>", content_type=stored)
    answer = ask(storage, handle, inline=inline)
    assert served == answer.headers["Content-Type"]
    assert f'{kind}; filename="{name}"' == answer.headers["Content-Disposition"]


STRICT = "sandbox; default-src 'none'"
PLAYING = (
    "sandbox allow-same-origin; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"
)


@pytest.mark.parametrize(
    ("stored", "policy"),
    [
        *(
            (kind, PLAYING if kind[:5] in ("audio", "video") else STRICT)
            for kind in sorted(INLINE_TYPES)
        ),
        ("VIDEO/WebM;codecs=vp8,opus", PLAYING),
        ("audio/x-m4a", PLAYING),
        ("video/x-unknown", STRICT),
        ("audio/html", STRICT),
        ("text/html", STRICT),
        ("image/svg+xml", STRICT),
        ("application/octet-stream", STRICT),
        ("text/html; video/mp4", STRICT),
    ],
)
def test_what_is_played_has_a_policy_with_which_it_plays(stored: str, policy: str) -> None:
    """In whole, in part and unchanged; a refusal is never played."""
    storage = MemoryStorage()
    handle = storage.add("a", b"0123456789", content_type=stored)
    etag = storage.info(handle).etag
    for headers in (
        {},
        {"Range": "bytes=0-1"},
        {"Range": "bytes=0-1,5-6"},
        {"If-None-Match": etag},
    ):
        assert policy == ask(storage, handle, headers).headers["Content-Security-Policy"]
    for headers in ({"Range": "bytes=99-"}, {"If-Match": '"x"'}):
        assert STRICT == ask(storage, handle, headers).headers["Content-Security-Policy"]


def test_an_answer_to_a_rule_is_asked_for_again_each_time() -> None:
    """Every kind of answer: the rule may refuse the next time, and another user."""
    storage = MemoryStorage()
    handle = storage.add("a.png", b"0123456789")
    etag = storage.info(handle).etag
    for headers in (
        {},
        {"Range": "bytes=0-1"},
        {"Range": "bytes=0-1,5-6"},
        {"If-None-Match": etag},
    ):
        for presentation in (None, Presentation("inline")):
            answer = ask(storage, handle, headers, presentation=presentation)
            assert "private, no-cache" == answer.headers["Cache-Control"]
            assert "Authorization, Cookie" == answer.headers["Vary"]
            assert etag == answer.headers["ETag"]
    for headers in ({"Range": "bytes=99-"}, {"If-Match": '"x"'}):
        assert "no-store" == ask(storage, handle, headers).headers["Cache-Control"]


@pytest.mark.parametrize("left", [3600.0, 0.5, -10.0])
def test_an_answer_to_a_link_is_kept_until_the_link_ends(
    monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    """And no longer; the address is the permission, so the answer is the same for every client."""
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    storage = MemoryStorage()
    handle = storage.add("a.png", b"0123456789")
    presentation = Presentation("inline", None, 1_000_000.0 + left)
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        answer = ask(storage, handle, headers, presentation=presentation)
        expected = f"private, max-age={max(0, int(left))}, immutable"
        assert expected == answer.headers["Cache-Control"]
        assert "Vary" not in answer.headers


@pytest.mark.parametrize("stored", ["gzip", "br, gzip", "x-unknown"])
def test_a_coding_that_others_have_stored_is_told(stored: str) -> None:
    """As their server tells it, so that a browser sees the same here and there."""
    storage = MemoryStorage()
    handle = storage.add("a.txt", DATA[:1000])
    metadata, data = storage._objects[handle[1:]]
    storage._objects[handle[1:]] = metadata._replace(content_encoding=stored), data
    for method in ("GET", "HEAD"):
        assert stored == raw(storage, handle, method=method)["content-encoding"]
    part = raw(storage, handle, {"Range": "bytes=0-9"})
    assert (stored, "bytes 0-9/1000") == (part["content-encoding"], part["content-range"])
    # Around several parts, it would be taken for the coding of what is around them.
    several = raw(storage, handle, {"Range": "bytes=0-9, 50-59"})
    assert (stored, "1000", None) == (
        several["content-encoding"],
        several["content-length"],
        several.get("content-range"),
    )
    assert "content-encoding" not in raw(storage, handle, {"If-None-Match": "*"})


@pytest.mark.parametrize("stored", ["image/png\r\nSet-Cookie: a=b", "", "html", "image/\u0142"])
def test_a_stored_type_that_is_none_is_not_sent(stored: str) -> None:
    """Somebody else may have put it there; it becomes octets, to be downloaded."""
    storage = MemoryStorage()
    handle = storage.add("a.png", b"data")
    metadata, data = storage._objects[handle[1:]]
    storage._objects[handle[1:]] = metadata._replace(content_type=stored), data
    answer = ask(storage, handle)
    assert "application/octet-stream" == answer.headers["Content-Type"]
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "Set-Cookie" not in answer.headers


def test_a_date_in_the_future_is_not_told() -> None:
    """The clock of a server may be ahead of ours (RFC 9110, section 8.8.2.1)."""
    storage = MemoryStorage()
    handle = storage.add("a.png", b"data")
    metadata, data = storage._objects[handle[1:]]
    future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    storage._objects[handle[1:]] = metadata._replace(modified=future), data
    told = email.utils.parsedate_to_datetime(ask(storage, handle).headers["Last-Modified"])
    assert told <= datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-9"}, {"If-None-Match": "*"}], ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_errors_come_before_the_answer(
    storage: Storage, method: str, headers: dict[str, str]
) -> None:
    """As the error they are, for the application to answer."""
    with pytest.raises(Error) as caught:
        ask(storage, storage.reserve("a.txt"), headers, method=method)
    assert Kind.NOT_FOUND is caught.value.kind
    with pytest.raises(Error) as caught:
        ask(storage, "/../../etc/passwd", headers, method=method)
    assert Kind.ILL_FORMED is caught.value.kind


def is_complete(messages: list[Any]) -> bool:
    """Tell whether what was sent is a whole answer."""
    return bool(messages) and messages[-1].get("more_body") is False


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_client_that_takes_nothing_is_cut(taken: int) -> None:
    """After the time given; nothing stays open, and the answer does not look complete."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    messages: list[Any] = []

    async def send(message: Any) -> None:
        if len(messages) == taken:
            await asyncio.Event().wait()
        messages.append(message)

    stream(storage, handle, send, stall_seconds=0.05)
    assert taken == len(messages)
    assert not is_complete(messages)
    assert storage.opened == 0


@pytest.mark.parametrize(("seconds", "expected"), [(29, True), (31, False)])
def test_a_slow_client_is_not_cut(seconds: float, expected: bool) -> None:  # noqa: FBT001 - an expectation
    """It takes 128 KiB in each 30 seconds, however long that takes altogether."""
    storage = Operation()
    handle = storage.add("a.bin", sample(10 * MIB))
    messages: list[Any] = []

    async def send(message: Any) -> None:
        await asyncio.sleep(seconds * len(message.get("body", b"")) / (128 * 1024))
        messages.append(message)

    async def live() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        response = await serve(Request(scope), storage, handle, stall_seconds=30)
        await response(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]  # it waits

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(live())
    assert expected is is_complete(messages)


def test_a_client_that_leaves_ends_the_stream() -> None:
    """Also while it is waited for; nothing stays open."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    messages: list[Any] = []
    left = asyncio.Event()

    async def send(message: Any) -> None:
        messages.append(message)
        if len(messages) == 3:
            left.set()
            await asyncio.Event().wait()

    async def receive() -> Any:
        if not messages:
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    stream(storage, handle, send, receive)
    assert 3 == len(messages)
    assert not is_complete(messages)
    assert storage.opened == 0


def test_a_client_that_cannot_be_sent_to_ends_the_stream() -> None:
    """Some servers say so by an `OSError` of `send` (ASGI, version 2.4)."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    stream(storage, handle, send)
    assert storage.opened == 0


@pytest.mark.parametrize("name", ["a.bin", "a.zip"])
@pytest.mark.parametrize("size", [1000, 3 * MIB + 5])
def test_what_is_damaged_is_never_sent_whole(harness: Harness, name: str, size: int) -> None:
    """What is small is not sent at all; of the rest, the last bytes are not, but a part is."""
    with harness.storage() as storage:
        handle = storage.add(name, DATA[:size])
        assert harness.damage(storage, handle)
        got = bytearray()
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)
            got.extend(message.get("body", b""))

        with pytest.raises(Error, match="Attachment is damaged") as caught:
            stream(storage, handle, send)
        assert caught.value.kind is Kind.CORRUPT
        assert len(got) < size
        assert all(message.get("more_body", True) for message in messages)
        if size > MIB:
            answer = ask(storage, handle, {"Range": "bytes=500-799"})
            assert (206, DATA[500:800]) == (answer.status_code, answer.content)


@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_a_failure_in_mid_stream_cuts_the_answer(fails_at: int) -> None:
    """It comes out, for the server to log and to cut the connection."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    storage.fails_at = fails_at
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    with pytest.raises(Error, match="The disk is gone"):
        stream(storage, handle, send)
    assert fails_at * READ_SIZE == sum(len(message.get("body", b"")) for message in messages)
    assert not is_complete(messages)
    assert storage.opened == 0


def test_what_cannot_be_answered_with_is_closed() -> None:
    """A tag that no header can hold is a mistake of the storage, found when it is open."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)
    metadata, data = storage._objects[handle[1:]]
    storage._objects[handle[1:]] = metadata._replace(etag='"\u0142"'), data
    with pytest.raises(UnicodeEncodeError):
        ask(storage, handle)
    assert ([0], 0) == (storage.starts, storage.opened)


def test_a_stream_that_is_cancelled_closes_what_it_reads() -> None:
    """As when the server stops."""
    storage = Operation()
    handle = storage.add("a.bin", DATA)

    async def live() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        started = asyncio.Event()

        async def send(_: Any) -> None:
            started.set()
            await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        response = await serve(Request(scope), storage, handle, stall_seconds=FOREVER)
        streaming = asyncio.create_task(response(scope, receive, send))
        await started.wait()
        streaming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await streaming
        assert streaming.cancelled()

    asyncio.run(live())
    assert storage.opened == 0


@pytest.mark.parametrize("header", [None, b"bytes=12345-", b"bytes=0-5, 3000000-20000000"])
def test_no_more_is_read_than_the_client_takes(header: bytes | None) -> None:
    """No more than a message and a chunk are ahead of it."""
    storage = Operation()
    handle = storage.add("a.bin", bytes(24 * MIB))
    ahead = []
    taken = 0

    async def live() -> None:
        headers = [] if header is None else [(b"range", header)]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

        async def send(message: Any) -> None:
            nonlocal taken
            ahead.append(storage.chunks * READ_SIZE - taken)
            taken += len(message.get("body", b""))
            assert len(message.get("body", b"")) <= MIB

        async def receive() -> Any:
            await asyncio.Event().wait()

        await (await serve(Request(scope), storage, handle))(scope, receive, send)

    asyncio.run(live())
    assert max(ahead) <= MIB + READ_SIZE
    assert taken > 16 * MIB
