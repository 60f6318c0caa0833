"""Uploads on every kind of storage: all that a request brings is stored, or nothing is."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from attach.web.sent import Sent
from programs import PATIENCE
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.content import Content
from rex.attach.storage.workers import AHEAD_SIZE
from rex.attach.web.body import STOPPED_SENDING, WENT_AWAY
from rex.attach.web.upload import Uploaded, upload
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

    from rex.attach.conformance import Harness
    from rex.attach.storage import Storage

MIB = 1024 * 1024
FORM = {"Content-Type": "multipart/form-data; boundary=frontier"}
HEAD = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
ONE = HEAD + b"abc\r\n"
LAST = b"--frontier--\r\n"


@pytest.fixture(params=["memory", "local", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    """Give each kind of storage."""
    if request.param == "s3":
        return S3Harness(request.getfixturevalue("seaweedfs"))
    return MemoryHarness() if request.param == "memory" else LocalHarness()


@pytest.fixture
def storage(harness: Harness) -> Iterator[Storage]:
    """Give a storage with nothing in it; see afterwards that nothing but attachments is."""
    with harness.storage() as storage:
        yield storage
        assert [] == harness.garbage(storage)


def app(storage: Storage, max_size: int | None = None) -> Starlette:
    """Make the smallest service."""

    async def post(request: Request) -> Response:
        try:
            stored = await upload(request, storage, max_size=max_size)
        except Error as failure:
            return JSONResponse({"kind": failure.kind.value}, 400)
        return JSONResponse([dataclasses.asdict(one) for one in stored])

    return Starlette(routes=[Route("/", post, methods=["POST"])])


def post(storage: Storage, url: str = "/", *, max_size: int | None = None, **request: Any) -> Any:
    """Send a request to the service; give its answer."""

    async def posting() -> Any:
        transport = httpx.ASGITransport(app(storage, max_size))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.post(url, **request)).json()

    return asyncio.run(posting())


def refused(storage: Storage, request: Request, **limits: Any) -> Error:
    """Give the error that an upload ends with."""

    async def uploading() -> None:
        await upload(request, storage, **{"max_size": None, **limits})

    with pytest.raises(Error) as caught:
        asyncio.run(uploading())
    return caught.value


def test_a_raw_body_is_stored_under_the_name_in_the_query(storage: Storage) -> None:
    """The answer tells what the storage tells."""
    [told] = post(storage, "/?name=gr%C3%B6%C3%9Fe%20+.txt", content=b"abc")
    info = storage.info(told["handle"])
    expected = Uploaded(info.handle, "größe.txt", 3, "text/plain")
    assert dataclasses.replace(expected, name=info.name) == Uploaded(**told)
    assert "größe  .txt" == info.name
    assert ("text/plain", b"abc") == (info.content_type, storage.open(info.handle).read())


def test_the_files_of_a_form_are_stored_in_order(storage: Storage) -> None:
    """Large ones, empty ones, and fields between them; each answer is what the storage tells."""
    sent = [("a.txt", b"abc"), ("中文.bin", bytes(9 * MIB)), ("c", b"")]
    files = [("file", (name, content)) for name, content in sent]
    told = post(storage, files=files, data={"title": "x"})
    infos = [storage.info(one["handle"]) for one in told]
    assert ["a.txt", "中文.bin", "c"] == [info.name for info in infos]
    assert [content for _, content in sent] == [storage.open(i.handle).read() for i in infos]
    shared = [Uploaded(info.handle, info.name, info.size, info.content_type) for info in infos]
    assert shared == [Uploaded(**one) for one in told]
    assert sorted(info.handle for info in infos) == [*storage]


def test_an_empty_raw_body_is_an_empty_file(storage: Storage) -> None:
    """Nothing is not the same as no file."""
    [told] = post(storage, "/?name=a.txt")
    assert (0, b"") == (told["size"], storage.open(told["handle"]).read())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "image/png"),
        ({"Content-Type": "application/octet-stream"}, "image/png"),
        ({"Content-Type": "Application/Octet-Stream; x=y"}, "image/png"),
        ({"Content-Type": " text/html; charset=utf-8 "}, "text/html; charset=utf-8"),
    ],
)
def test_the_name_decides_where_the_type_says_nothing(given: dict[str, str], expected: str) -> None:
    """``application/octet-stream`` is what clients send that do not know."""
    storage = MemoryStorage()
    [told] = post(storage, "/?name=a.png", content=b"x", headers=given)
    assert (expected, expected) == (
        told["content_type"],
        storage.info(told["handle"]).content_type,
    )


def test_the_name_decides_where_a_form_says_nothing() -> None:
    """Nor does it matter that a client sends nonsense."""
    for sent in ("application/octet-stream", "junk"):
        [told] = post(MemoryStorage(), files={"file": ("a.png", b"x", sent)})
        assert "image/png" == told["content_type"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=../../x.txt", "x.txt"),
        ("name=a%00b%0D%0AX-Evil:%201.txt", "abX-Evil_ 1.txt"),
        ("name=%FFa.txt", "\ufffda.txt"),
        ("name=", "attachment"),
        ("other=1&name=a.txt&more", "a.txt"),
    ],
)
def test_a_hostile_name_is_made_harmless(query: str, expected: str) -> None:
    """By the rule that holds for every name."""
    [told] = post(MemoryStorage(), f"/?{query}", content=b"x")
    assert expected == told["name"]


def test_a_hostile_name_in_a_form_is_made_harmless() -> None:
    """NUL, line breaks and paths."""
    body = ONE.replace(b"a.bin", b"../a\x00\nX%0D%0A: b.txt") + LAST
    [told] = post(MemoryStorage(), content=body, headers=FORM)
    assert "aX_ b.txt" == told["name"]


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([], b""),
        ([], b"name=a&name=b"),
        ([("content-type", "application/x-www-form-urlencoded")], b""),
        ([("content-type", "multipart/mixed; boundary=x")], b"name=a"),
        ([("content-type", "multipart/form-data")], b"name=a"),
        ([("content-type", "junk")], b"name=a"),
        ([("content-type", "text/plain"), ("content-type", "text/html")], b"name=a"),
        ([("content-length", "-1")], b"name=a"),
        ([("content-length", "-1"), ("content-type", FORM["Content-Type"])], b""),
        ([("content-length", "2")], b"name=a"),
        ([("content-length", "4")], b"name=a"),
    ],
)
def test_a_request_that_is_no_upload_is_refused(
    storage: Storage, headers: list[tuple[str, str]], query: bytes
) -> None:
    """And nothing is stored."""
    error = refused(storage, Sent([b"abc"]).raw_request(headers, query))
    assert Kind.ILL_FORMED is error.kind
    assert [] == [*storage]


CURL = {"Content-Type": "application/x-www-form-urlencoded"}
"""What ``curl --data-binary`` sends unasked."""


def test_a_refused_form_of_curl_says_what_to_send() -> None:
    """Without a name, nobody can tell what it is."""
    answer = refused(MemoryStorage(), Sent([b"a=b"]).request(CURL))
    assert "multipart/form-data" in str(answer)
    assert "?name=" in str(answer)


def test_with_a_name_the_type_of_curl_says_nothing() -> None:
    """The name decides, as if no type were there."""
    storage = MemoryStorage()
    (stored,) = asyncio.run(
        upload(Sent([b"a=b"]).request(CURL, "name=a.png"), storage, max_size=None)
    )
    assert ("image/png", 3) == (stored.content_type, stored.size)


@pytest.mark.parametrize(
    "chunks",
    [
        [ONE, ONE],
        [ONE, ONE[:-5]],
        [ONE, HEAD, bytes(9 * MIB)],
        [ONE, HEAD.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed\r\n\r\n"), LAST],
        [ONE, b"--frontier\r\njunk\r\n\r\n", LAST],
        [ONE, LAST, bytes(MIB)],
        [LAST],
        [b"--frontier\r\nContent-Disposition: form-data; name=x\r\n\r\nfield\r\n", LAST],
    ],
)
def test_of_a_form_that_turns_out_wrong_nothing_is_left(
    storage: Storage, chunks: list[bytes]
) -> None:
    """What was stored of it before is removed again; other attachments are not."""
    kept = storage.add("kept.txt", b"kept")
    assert Kind.ILL_FORMED is refused(storage, Sent(chunks).request(FORM)).kind
    assert [kept] == [*storage]


def test_of_5000_files_nothing_is_left(storage: Storage) -> None:
    """They come one by one, so that a hundred have been stored before the limit."""
    request = Sent(itertools.repeat(ONE, 5000)).request(FORM)
    assert Kind.TOO_LARGE is refused(storage, request).kind
    assert [] == [*storage]


def test_each_file_may_be_as_large_as_the_limit_says(storage: Storage) -> None:
    """In a raw body and in a form alike, and no larger."""
    three = {"file": ("a.bin", b"abc")}
    assert 3 == post(storage, "/?name=a", content=b"abc", max_size=3)[0]["size"]
    assert 2 == len(post(storage, files=[*three.items()] * 2, max_size=3))
    before = [*storage]
    small = ("file", ("a.bin", b"ab"))
    assert {"kind": "too-large"} == post(storage, "/?name=a", content=b"abc", max_size=2)
    assert {"kind": "too-large"} == post(storage, files=[small, *three.items()], max_size=2)
    assert before == [*storage]


def test_the_limit_of_the_storage_holds_too(harness: Harness) -> None:
    """Whatever the caller of `upload` allows."""
    with harness.storage(max_size=2) as storage:
        files = [("file", ("a", b"ab")), ("file", ("b", b"abc"))]
        assert {"kind": "too-large"} == post(storage, files=files)
        assert [] == [*storage] == harness.garbage(storage)


@pytest.mark.parametrize("chunks", [[], [ONE], [ONE, HEAD, b"abc"], [ONE, HEAD, bytes(9 * MIB)]])
@pytest.mark.parametrize("then", ["disconnect", "silence"])
def test_of_a_client_that_stops_in_the_middle_nothing_is_left(
    storage: Storage, chunks: list[bytes], then: Any
) -> None:
    """Whether it goes away or falls silent, in a form and in a raw body."""
    code = WENT_AWAY if then == "disconnect" else STOPPED_SENDING
    form = Sent(chunks, then).request(FORM)
    raw = Sent(chunks, then).request(query="name=a.bin")
    assert code == refused(storage, form, stall_seconds=0.05).code
    assert code == refused(storage, raw, stall_seconds=0.05).code
    assert [] == [*storage]


def test_of_a_cancelled_upload_nothing_is_left(storage: Storage) -> None:
    """As a server does that is told to stop."""

    async def cancelling() -> None:
        sent = Sent([ONE, ONE, HEAD, b"abc"], "silence")
        task = asyncio.create_task(upload(sent.request(FORM), storage, max_size=None))
        await sent.is_waiting.wait()
        assert 2 == len([*storage])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelling())
    assert [] == [*storage]


class SlowToRemove(MemoryStorage):
    """A storage that removes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_remove = threading.Event()
        self.is_removing = threading.Semaphore(0)
        self.has_removed = threading.Semaphore(0)

    def _delete(self, key: str) -> None:
        self.is_removing.release()
        assert self.may_remove.wait(PATIENCE)
        super()._delete(key)
        self.has_removed.release()


def test_nothing_is_left_of_an_upload_cancelled_twice() -> None:
    """The second time while more is being removed than there are threads to do it."""
    storage = SlowToRemove()

    async def cancelling() -> None:
        sent = Sent([*[ONE] * 80, HEAD], "silence")
        task = asyncio.create_task(upload(sent.request(FORM), storage, max_size=None))
        await sent.is_waiting.wait()
        task.cancel()
        await asyncio.to_thread(storage.is_removing.acquire, timeout=PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        storage.may_remove.set()
        for _ in range(80):
            assert await asyncio.to_thread(storage.has_removed.acquire, timeout=PATIENCE)

    asyncio.run(cancelling())
    assert [] == [*storage]


class Keeps(MemoryStorage):
    """A storage that does not let go."""

    def _delete(self, key: str) -> None:
        raise Error("Not now", key, kind=Kind.UNAVAILABLE)


def test_what_could_not_be_taken_back_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The client is told what was wrong with the upload all the same."""
    storage = Keeps()
    assert Kind.ILL_FORMED is refused(storage, Sent([ONE, ONE, HEAD]).request(FORM)).kind
    assert 2 == len([*storage])
    assert all(handle[1:] in caplog.text for handle in storage)


@pytest.mark.parametrize("is_form", [False, True])
def test_of_a_large_body_a_few_mib_are_held(is_form: bool) -> None:  # noqa: FBT001 - as pytest gives it
    """64 MiB pass from a generator into a directory."""

    async def body() -> AsyncIterator[bytes]:
        if is_form:
            yield HEAD
        for number in range(1024):
            yield number.to_bytes(8, "big") * (MIB // 16 // 8)
        if is_form:
            yield b"\r\n" + LAST

    with LocalHarness().storage() as storage:
        post(storage, "/?name=warm.bin", content=b"warm")
        tracemalloc.start()
        try:
            headers = FORM if is_form else {}
            [told] = post(storage, "/?name=a.bin", content=body(), headers=headers)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 64 * MIB == told["size"]
        assert 4 * MIB > peak


def test_small_chunks_are_stored_together_and_few_are_read_ahead() -> None:
    """A storage that takes its time is not overrun."""
    size, number = 10_000, 1000
    stored: list[int] = []
    outstanding: list[int] = []
    sent = Sent(itertools.repeat(b"x" * size, number))

    class Watching(MemoryStorage):
        def _put(self, key: str, content: Content, content_type: str) -> None:
            super()._put(key, Content(self._watched(content)), content_type)

        def _watched(self, content: Content) -> Iterator[bytes | memoryview]:
            for chunk in content:
                stored.append(len(chunk))
                outstanding.append(sent.read * size - sum(stored))
                yield chunk

    asyncio.run(upload(sent.request(query="name=a"), Watching(), max_size=None))
    assert size * number == sum(stored)
    assert len(stored) < number / 20
    assert max(outstanding) <= AHEAD_SIZE + size
