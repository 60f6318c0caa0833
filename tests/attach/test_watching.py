"""What the verbs tell: spans and metrics, by the SDK of OpenTelemetry itself, and log lines."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import programs
from attach.s3_storage import s3_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.info import Metadata
    from rex.attach_demo.seaweedfs import SeaweedFS

GONE = "/2026/11/23/5f5e1d5e-8c5c-4a26-9d0e-1f7b0a4b6c11/scan.png"
FORGED = "/2026/11/23/\nINFO:rex.attach:added, 1 bytes: /forged"
CANARY = "canary-attach-secret-of-forty-characters"


class Told:
    """What OpenTelemetry has been told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in that order."""
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """Their names, without what all begin with."""
        return [span.name.removeprefix("rex.attach.") for span in self.spans]

    @property
    def verbs(self) -> dict[tuple[object, ...], int]:
        """How often each verb had each outcome."""
        return {
            (point.attributes["rex.attach.operation"], point.attributes["rex.attach.outcome"]): (
                point.count
            )
            for point in self._points("rex.attach.operation.duration")
        }

    @property
    def bytes(self) -> dict[object, int]:
        """How many bytes went in each direction."""
        points = self._points("rex.attach.io")
        return {point.attributes["rex.attach.direction"]: point.value for point in points}

    @property
    def text(self) -> str:
        """All of it."""
        found = self._reader.get_metrics_data()
        spans = "".join(span.to_json() for span in self.spans)
        return spans + ("" if found is None else found.to_json())

    def _points(self, name: str) -> list[Any]:
        found = self._reader.get_metrics_data()
        return [
            point
            for resource in ([] if found is None else found.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def seconds(self) -> list[HistogramDataPoint]:
        """Give the durations."""
        return self._points("rex.attach.operation.duration")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Set up OpenTelemetry, as an application does, and take it back."""
    told = Told()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", told.tracers)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", told.meters)
    yield told
    told.tracers.shutdown()
    told.meters.shutdown()


class Failing(MemoryStorage):
    """A storage that fails in the ways that a server can."""

    failure: Exception = OSError()

    def _head(self, _: str) -> Metadata:
        raise self.failure


def attributes(span: ReadableSpan) -> dict[str, object]:
    """Give the attributes of a span."""
    return dict(span.attributes or {})


def test_each_verb_is_a_span(told: Told) -> None:
    """It tells the handle, the size and the kind of the storage, once whatever it is called."""
    storage = MemoryStorage(url="https://example.org/attach")
    handle = storage.add("scan.png", b"content")
    other = storage.reserve("b.txt")
    storage.put(other, b"")
    with storage.open(handle):
        assert storage.read_cached(handle) is None
    storage.info(handle)
    storage.stat(handle)
    assert handle in storage
    assert 2 == len([*storage])
    storage.upload_link(handle)
    storage.download_link(handle)
    storage.check()
    storage.remove(handle)
    assert [
        *("add", "put", "open", "info", "info", "info", "list"),
        *("upload_link", "download_link", "check", "remove"),
    ] == told.names
    assert {
        "rex.attach.storage": "MemoryStorage",
        "rex.attach.handle": handle,
        "rex.attach.size": 7,
        "rex.attach.outcome": "ok",
    } == attributes(told.spans[0])
    assert all(span.status.status_code is StatusCode.UNSET for span in told.spans)
    assert all(span.parent is None for span in told.spans)
    scope = told.spans[0].instrumentation_scope
    assert scope is not None
    assert "rex.attach" == scope.name


def test_uploads_in_pieces_are_spans(told: Told) -> None:
    """What arrives is counted once, also where it is joined afterwards."""
    uploads = MemoryStorage().uploads
    first, second = (uploads.create("p", size=3, partial=True).handle for _ in range(2))
    uploads.append(first, 0, b"abc")
    uploads.append(second, 0, b"def")
    joined = uploads.join("whole.txt", [first, second])
    uploads.remove(uploads.create("c").handle)
    appends = ["uploads.append"] * 2
    creates = ["uploads.create"] * 2
    assert [*creates, *appends, "uploads.join", "uploads.create", "uploads.remove"] == told.names
    span = told.spans[4]
    assert (joined, 6) == (
        attributes(span)["rex.attach.handle"],
        attributes(span)["rex.attach.size"],
    )
    assert {"in": 6} == told.bytes


def test_uploads_in_parts_are_spans(told: Told, s3: S3Storage) -> None:
    """Each step that goes through us, and each permission."""
    multipart = s3.multipart
    handle = s3.reserve("a.bin")
    upload = multipart.create(handle)
    link = multipart.link(handle, upload, 1)
    etag = requests.put(link.url, data=b"small", timeout=programs.PATIENCE).headers["ETag"]
    assert 1 == len([*multipart.parts(handle, upload)])
    multipart.parts_link(handle, upload)
    multipart.complete_link(handle, upload)
    multipart.abort_link(handle, upload)
    multipart.create_link(handle)
    multipart.complete(handle, upload, [(1, etag)])
    multipart.abort(handle := s3.reserve("b.bin"), multipart.create(handle))
    steps = ["create", "link", "parts", "parts_link", "complete_link", "abort_link", "create_link"]
    steps += ["complete", "create", "abort"]
    assert [f"multipart.{step}" for step in steps] == told.names
    assert upload not in told.text


FAILURES: dict[str, Callable[[Storage], object]] = {
    "not-found": lambda storage: storage.open(GONE),
    "ill-formed": lambda storage: storage.info(FORGED),
    "exists": lambda storage: storage.put(storage.add("a", b""), b"other"),
    "too-large": lambda storage: storage.add("a", b"more than eight"),
    "corrupt": lambda storage: storage.add("a", b"content", digest="0" * 64),
    "unsupported": lambda storage: storage.download_link(GONE),
}


@pytest.mark.parametrize("outcome", FAILURES)
def test_a_failure_is_told_by_its_kind(told: Told, outcome: str) -> None:
    """As `error.type`; that something is not there may be all that was asked, and is no error."""
    with pytest.raises(Error):
        FAILURES[outcome](MemoryStorage(max_size=8))
    span = told.spans[-1]
    found = attributes(span)
    assert (outcome, outcome) == (found["error.type"], found["rex.attach.outcome"])
    wanted = StatusCode.UNSET if outcome == "not-found" else StatusCode.ERROR
    assert (wanted, None, ()) == (span.status.status_code, span.status.description, span.events)
    assert "forged" not in told.text
    verb = span.name.removeprefix("rex.attach.")
    assert 1 == told.verbs[(verb, outcome)]


def test_the_callers_own_exception_is_an_interruption(told: Told) -> None:
    """Nothing is wrong with the storage then; but what it cannot explain itself is a fault."""
    for failure in (ZeroDivisionError(), Error("The client is gone", kind=Kind.UNAVAILABLE)):
        with pytest.raises(type(failure)):
            MemoryStorage().add("a.txt", iter_and_fail(b"abc", failure))
    storage = Failing()
    storage.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        storage.info(GONE)
    assert {("add", "interrupted"): 2, ("info", "internal"): 1} == told.verbs


def test_durations_are_seconds_without_handles(told: Told) -> None:
    """There are as many series as verbs and outcomes, and small buckets for what is fast."""
    storage = MemoryStorage()
    for _ in range(3):
        storage.info(storage.add("a.txt", b"content"))
    assert {("add", "ok"): 3, ("info", "ok"): 3} == told.verbs
    for point in told.seconds():
        assert {"rex.attach.operation", "rex.attach.outcome"} == set(point.attributes or {})
        assert 0 < point.sum < programs.PATIENCE
        assert (0.0001, 120) == (point.explicit_bounds[0], point.explicit_bounds[-1])


def test_bytes_are_counted_as_they_are_stored_and_read(told: Told, local: LocalStorage) -> None:
    """Also what came before it failed, what of a file was read, and what was in memory."""
    handle = local.add("a.bin", bytes(1000))
    with pytest.raises(ZeroDivisionError):
        local.add("a.bin", iter_and_fail(bytes(10), ZeroDivisionError()))
    assert {"in": 1010} == told.bytes
    with local.open(handle) as reader:
        reader.stream.read_full(300)
        assert "out" not in told.bytes
    assert 300 == told.bytes["out"]
    reader = local.open(handle)
    reader.read()
    del reader
    assert 1300 == told.bytes["out"]

    async def read() -> None:
        async with await local.aio.open(handle) as stream:
            await stream.read(200)

    asyncio.run(read())
    assert 1500 == told.bytes["out"]
    cached = local.read_cached(handle)
    assert 1500 + (0 if cached is None else 1000) == told.bytes["out"]
    assert (told.verbs.get(("read_cached", "ok")) == 1) == (cached is not None)


def iter_and_fail(content: bytes, failure: Exception) -> Iterator[bytes]:
    """Give some content and fail."""
    yield content
    raise failure


def test_a_storage_of_two_counts_once(told: Told) -> None:
    """Whichever of the two has it."""
    old = MemoryStorage()
    handle = old.add("old.txt", b"old")
    storage = FallbackStorage(MemoryStorage(), old)
    before = len(told.spans)
    storage.add("new.txt", b"new")
    storage.open(handle).close()
    storage.info(handle)
    assert 2 == len([*storage])
    storage.check()
    storage.remove(handle)
    kinds = {attributes(span)["rex.attach.storage"] for span in told.spans[before:]}
    assert {"FallbackStorage"} == kinds
    assert ["add", "open", "info", "list", "check", "remove"] == told.names[before:]


def test_spans_belong_to_the_callers(told: Told) -> None:
    """In another thread too, for content that is awaited, and when it is cancelled."""
    storage = MemoryStorage()
    tracer = told.tracers.get_tracer("caller")

    async def content(started: asyncio.Event) -> AsyncIterator[bytes]:
        yield b"abc"
        started.set()
        await asyncio.Event().wait()

    async def call() -> None:
        await storage.aio.open(await storage.aio.add("a.txt", b"content"))
        started = asyncio.Event()
        add = asyncio.create_task(storage.aio.add("b.txt", content(started)))
        await started.wait()
        add.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await add

    with tracer.start_as_current_span("request") as request:
        asyncio.run(call())
        list(storage)
    *spans, caller = told.spans
    assert "request" == caller.name
    assert ["add", "open", "add", "list"] == told.names[:-1]
    for span in spans:
        assert span.parent is not None
        assert request.get_span_context().span_id == span.parent.span_id
    assert {("add", "interrupted"), ("add", "ok"), ("open", "ok"), ("list", "ok")} == set(
        told.verbs
    )


def test_what_reads_the_content_belongs_to_the_verb(told: Told) -> None:
    """But not what happens between the handles of a listing; afterwards all is as before."""
    tracer = told.tracers.get_tracer("caller")

    def content() -> Iterator[bytes]:
        with tracer.start_as_current_span("inner"):
            yield b"abc"

    storage = MemoryStorage()
    storage.add("a.txt", content())
    for _ in storage:
        with tracer.start_as_current_span("between"):
            pass
    inner, add, between, _ = told.spans
    assert add.context is not None
    assert inner.parent is not None
    assert (add.context.span_id, None) == (inner.parent.span_id, between.parent)
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_listings_may_go_from_thread_to_thread_and_end_early(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """As those of `storage.aio` do; whoever has enough has not failed."""
    storage = MemoryStorage()
    for _ in range(3):
        storage.add("a.txt", b"")
    listing = storage.list()
    for _ in range(2):
        thread = threading.Thread(target=next, args=(listing,))
        thread.start()
        thread.join()
    listing.close()  # type: ignore[attr-defined]  # it is a generator
    assert {("add", "ok"): 3, ("list", "ok"): 1} == told.verbs
    assert "" == caplog.text


def test_a_line_tells_what_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO, with fields for those who want no text; reading is told at DEBUG only."""
    caplog.set_level(logging.INFO, "rex.attach")
    storage = MemoryStorage()
    handle = storage.add("scan 1, 2 bytes.png", b"content")
    storage.put(storage.reserve("b"), b"")
    storage.info(handle)
    upload = storage.uploads.create("c.txt", size=3)
    storage.uploads.append(upload.handle, 0, b"ab")
    storage.uploads.append(upload.handle, 2, b"c")
    storage.remove(handle)
    first = caplog.records[0]
    assert re.fullmatch(rf"added, 7 bytes, [0-9.]+ ms: {re.escape(handle)}", first.getMessage())
    fields = ("operation", "handle", "bytes", "outcome")
    assert ("add", handle, 7, "ok") == tuple(getattr(first, name) for name in fields)
    assert 0 < first.__dict__["duration"] < programs.PATIENCE
    assert ["add", "put", "uploads.append", "remove"] == [
        record.__dict__["operation"] for record in caplog.records
    ]
    assert {"INFO"} == {record.levelname for record in caplog.records}
    caplog.clear()
    caplog.set_level(logging.DEBUG, "rex.attach")
    list(storage)
    assert [("DEBUG", "list", None)] == [
        (record.levelname, record.__dict__["operation"], record.__dict__["handle"])
        for record in caplog.records
    ]


@pytest.mark.parametrize(
    ("failure", "level", "outcome"),
    [
        (FileNotFoundError(), "INFO", "not-found"),
        (TimeoutError(), "WARNING", "unavailable"),
        (PermissionError(errno.EACCES, "no"), "WARNING", "denied"),
        (ZeroDivisionError(), "WARNING", "internal"),
        (Error("Busy", kind=Kind.BUSY), "INFO", "busy"),
        (KeyboardInterrupt(), "INFO", "interrupted"),
    ],
)
def test_trouble_of_the_storage_is_a_warning(
    caplog: pytest.LogCaptureFixture, failure: Exception, level: str, outcome: str
) -> None:
    """What the caller may expect is none."""
    caplog.set_level(logging.INFO, "rex.attach")
    storage = Failing()
    storage.failure = failure
    with pytest.raises((Error, ZeroDivisionError, KeyboardInterrupt)):
        storage.info(GONE)
    (record,) = caplog.records
    assert (level, outcome) == (record.levelname, record.__dict__["outcome"])
    assert re.fullmatch(rf"info: {outcome}, [0-9.]+ ms: {GONE}", record.getMessage())


def test_wrong_content_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that a client sends makes one."""
    caplog.set_level(logging.INFO, "rex.attach")
    with pytest.raises(Error):
        MemoryStorage().add("a.txt", b"content", digest="0" * 64)
    (record,) = caplog.records
    assert ("INFO", "corrupt") == (record.levelname, record.__dict__["outcome"])


@pytest.mark.parametrize("name", ["a\nb", "a\r\nFORGED", "a\x1b[31mb", "a\u2028b", "\u202egnp.a"])
def test_a_name_is_one_line(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Handles hold nothing that would break it; what is no handle is not shown."""
    caplog.set_level(logging.DEBUG, "rex.attach")
    storage = MemoryStorage()
    storage.open(storage.add(name, b"")).close()
    with contextlib.suppress(Error):
        storage.remove(f"{GONE}{name}")
    messages = [record.getMessage() for record in caplog.records]
    assert 3 == len(messages)
    assert all(message.isprintable() for message in messages)
    assert messages[2].startswith("remove: ill-formed, ")
    assert "/" not in messages[2]


def test_no_secret_is_told(
    told: Told,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    seaweedfs: SeaweedFS,
    s3: S3Storage,
) -> None:
    """Neither keys nor links, nor what is in an attachment."""
    caplog.set_level(logging.DEBUG)
    local = LocalStorage(str(tmp_path), url="https://example.org/attach", secret=CANARY)
    wrong = s3_storage(
        seaweedfs.bucket,
        endpoint=seaweedfs.endpoint,
        access_key=seaweedfs.access_key,
        secret_key=CANARY,
    )
    hidden = [CANARY, seaweedfs.secret_key, seaweedfs.access_key, seaweedfs.endpoint]
    for storage in (local, s3):
        handle = storage.add("a.txt", b"canary-content")
        links = [storage.download_link(handle), storage.upload_link(handle)]
        hidden += [link.url for link in links]
        fields = {**links[0].fields, **links[1].fields}
        fields.pop("key", None)  # the handle
        hidden += [
            value for value in fields.values() if len(value) > len("application/octet-stream")
        ]
        storage.open(handle).close()
        storage.remove(handle)
    for verb in (lambda: wrong.open(GONE), lambda: wrong.add("a.txt", b""), lambda: [*wrong]):
        with pytest.raises(Error):
            verb()
    text = told.text + "".join(
        f"{record.getMessage()}{record.__dict__}"
        for record in caplog.records
        if record.name == "rex.attach"
    )
    assert "download_link" in text
    for secret in (*hidden, "canary-content", "X-Amz", "token="):
        assert secret not in text


def run(program: str) -> Any:
    """Run a program in a process of its own; give what it prints last, which is JSON."""
    done = programs.run(sys.executable, "-c", program)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


USE = """
import json, sys
def use():
    from rex.attach.backends.memory.storage import MemoryStorage
    from rex.core import Error
    storage = MemoryStorage()
    storage.open(storage.add("a.txt", b"content")).read()
    try:
        storage.remove("/nothing")
    except Error as error:
        return error.kind.value
"""


def test_nobody_who_does_not_watch_is_imported() -> None:
    """Neither OpenTelemetry, Prometheus's client nor logging, however the verbs end."""
    loaded, _ = run(f"{USE}\nuse(); print(json.dumps(sorted(sys.modules)))")
    tops = {name.partition(".")[0] for name in loaded}
    assert set() == {"opentelemetry", "prometheus_client"} & tops


@pytest.mark.parametrize(
    "missing",
    [
        ["opentelemetry", "prometheus_client"],
        ["opentelemetry.trace"],
        ["opentelemetry.metrics"],
    ],
)
def test_nobody_needs_opentelemetry(missing: list[str]) -> None:
    """Where it is not there, or not all of it, the verbs do what they do."""
    blocked = f"""{USE}
for name in {missing}:
    sys.modules[name] = None
sys.modules["opentelemetry.sdk"] = sys
import logging; logging.basicConfig()
print(json.dumps(use()))
"""
    kind, said = run(blocked)
    assert "ill-formed" == kind
    assert 1 == said.count("Cannot use OpenTelemetry")


def test_opentelemetry_may_be_set_up_late() -> None:
    """Once it is, the next verb tells it."""
    names, _ = run(f"""{USE}
use()
from opentelemetry import trace
import opentelemetry.sdk.metrics
use()
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
use()
print(json.dumps([span.name for span in exporter.get_finished_spans()]))
""")
    assert ["rex.attach.add", "rex.attach.open", "rex.attach.remove"] == names
