"""A server's event notifications: who may send them, what they may contain, what follows."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
from queue import Queue
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from attach.web.sent import Sent
from attach.web.test_app import ANYBODY, FOLDER, ask
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.storage.hooks import Hooks
from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule
from rex.attach.web.app import Options
from rex.core import Error, Kind, Secret
from served import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.storage.hooks import StoredUpload

KEY = "the-server's-key:with a colon"
OPTIONS = Options(events_key=Secret(KEY))
BEARER = {"Authorization": f"Bearer {KEY}"}
NAME = "ü b+c%2F&.txt"
"""Every character that a format encodes in its own way."""

Body = dict[str, Any]


def s3_event(bucket: str, key: str, name: str = "ObjectCreated:Put") -> Body:
    """Return the notification of S3 itself: the key is encoded as in a form."""
    thing = {"key": quote_plus(key), "size": 7, "eTag": "d41d8cd9", "sequencer": "0A1B2C"}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventName": name,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": thing},
    }
    return {"Records": [record]}


def event_bridge_event(bucket: str, key: str, name: str = "Object Created") -> Body:
    """Return the event of EventBridge: the key is not encoded."""
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {"key": key, "size": 7, "etag": "d41d8cd9", "sequencer": "617f08299329d189"},
        "reason": "PutObject",
    }
    return {"version": "0", "detail-type": name, "source": "aws.s3", "detail": detail}


def seaweedfs_event(bucket: str, key: str, name: str = "create") -> Body:
    """Return what SeaweedFS's filer sends, whose key is a path."""
    folder, _, file = f"/buckets/{bucket}/{key}".rpartition("/")
    entry = {"name": file, "attributes": {"file_size": 7}}
    message = {"new_entry": entry, "new_parent_path": folder, "signatures": [1583463986]}
    return {"event_type": name, "key": f"{folder}/{file}", "message": message}


def sns(body: object) -> Body:
    """Return the envelope of SNS around a notification."""
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:…", "Message": json.dumps(body)}


FORMATS: dict[str, Callable[[str, str], Body]] = {
    "S3": s3_event,
    "S3, a form": lambda bucket, key: s3_event(bucket, key, "ObjectCreated:Post"),
    "S3, of MinIO": lambda bucket, key: s3_event(bucket, key, "s3:ObjectCreated:Put"),
    "SNS": lambda bucket, key: sns(s3_event(bucket, key)),
    "SNS, of EventBridge": lambda bucket, key: sns(event_bridge_event(bucket, key)),
    "EventBridge": event_bridge_event,
    "SeaweedFS": seaweedfs_event,
    "SeaweedFS, again": lambda bucket, key: seaweedfs_event(bucket, key, "update"),
}


class Told:
    """An application that is told of uploads, and the service over its storage."""

    def __init__(self, storage: S3Storage, options: Options = OPTIONS) -> None:
        self.storage = storage
        self.handles: Queue[str] = Queue()
        self.app = attachments(storage, Access(access_rule("none", None)), options)
        self.be_told()

    def be_told(
        self,
        *,
        complete: Callable[[StoredUpload], None] | None = None,
        stored: Callable[[StoredUpload], None] | None = None,
    ) -> None:
        """Be told by functions; without one, only note the handle."""
        note = stored or (lambda upload: self.handles.put(upload.handle))
        self.storage.hooks = Hooks(on_complete=complete, on_stored=note)

    def key(self, handle: str) -> str:
        """Return the key of an attachment in the bucket."""
        return self.storage.prefix + handle[1:]

    def place(self, handle: str) -> tuple[str, str]:
        """Return the bucket and the key of an attachment."""
        return self.storage.bucket, self.key(handle)

    def send(self, body: object, headers: dict[str, str] | None = None) -> httpx.Response:
        """Send a notification, as bytes or as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return ask(self.app, "POST", "/events", content=content, headers=headers or BEARER)

    def counts(self, body: object) -> tuple[int, int, int]:
        """Send a notification that is answered; return the counts of its answer."""
        answer = self.send(body)
        assert 200 == answer.status_code, answer.text
        found = answer.json()
        assert ["notified", "ignored", "refused"] == list(found)
        return found["notified"], found["ignored"], found["refused"]

    def heard(self) -> list[str]:
        """Return the handles that it was told of since the last call."""
        return [self.handles.get_nowait() for _ in range(self.handles.qsize())]


@pytest.fixture
def told(s3: S3Storage) -> Told:
    """Return an application over a storage behind a prefix."""
    return Told(s3)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_event_tells_the_application_of_an_upload(told: Told, format_: str) -> None:
    """By its handle, in every format, whatever characters the name has."""
    handle = told.storage.add(NAME, b"content", notify=False)
    assert (1, 0, 0) == told.counts(FORMATS[format_](*told.place(handle)))
    assert [handle] == told.heard()


IGNORED: dict[str, Callable[[Told, str], Body]] = {
    "removed on S3": lambda told, handle: s3_event(*told.place(handle), "ObjectRemoved:Delete"),
    "removed on EventBridge": lambda told, handle: event_bridge_event(
        *told.place(handle), "Object Deleted"
    ),
    "deleted on SeaweedFS": lambda told, handle: seaweedfs_event(*told.place(handle), "delete"),
    "renamed on SeaweedFS": lambda told, handle: seaweedfs_event(*told.place(handle), "rename"),
    "another bucket": lambda told, handle: s3_event("other", told.key(handle)),
    "another bucket of SeaweedFS": lambda told, handle: seaweedfs_event("other", told.key(handle)),
    "another prefix": lambda told, handle: s3_event(told.storage.bucket, f"other{handle}"),
    "no prefix": lambda told, handle: s3_event(told.storage.bucket, handle[1:]),
    "an upload in progress": lambda told, handle: s3_event(
        told.storage.bucket, f"{told.storage.prefix}.drafts{handle}/record"
    ),
    "a part": lambda told, _: seaweedfs_event(told.storage.bucket, ".uploads/45e666/0001_a9.part"),
    "dots": lambda told, handle: s3_event(told.storage.bucket, f"x/../{told.key(handle)}"),
    "encoded dots": lambda told, handle: event_bridge_event(
        told.storage.bucket, f"%2e%2e/{told.key(handle)}"
    ),
    "encoded twice": lambda told, handle: s3_event(
        told.storage.bucket, quote_plus(told.key(handle))
    ),
    "NUL": lambda told, handle: s3_event(told.storage.bucket, told.key(handle) + "\0"),
    "a folder": lambda told, handle: {
        **seaweedfs_event(*told.place(handle)),
        "message": {"new_entry": {"is_directory": True}},
    },
    "the end of a subscription": lambda *_: {"Type": "UnsubscribeConfirmation"},
    "a test": lambda told, _: {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Bucket": told.storage.bucket,
    },
    "never uploaded": lambda told, _: s3_event(*told.place(f"{FOLDER}/a.txt")),
}


@pytest.mark.parametrize("what", IGNORED)
def test_what_is_not_a_stored_attachment_is_ignored(told: Told, what: str) -> None:
    """The server is answered 200, so that it does not repeat it."""
    handle = told.storage.add("a.txt", b"content", notify=False)
    assert (0, 1, 0) == told.counts(IGNORED[what](told, handle))
    assert [] == told.heard()


WRONG: list[Any] = [None, True, 0, -1, 10**400, 1e308, "", "\ud800", "a" * 5000, [], [[]], {}]
"""What may be in place of anything, in JSON."""


def mutations(body: Any) -> Iterator[Any]:
    """Yield a body with each value in it replaced by each wrong one."""
    yield from WRONG
    if isinstance(body, dict):
        for name, value in body.items():
            yield {other: body[other] for other in body if other != name}
            yield from ({**body, name: wrong} for wrong in mutations(value))
    if isinstance(body, list):
        yield from ([wrong] for item in body for wrong in mutations(item))


@pytest.mark.parametrize("format_", ["S3", "SNS", "EventBridge", "SeaweedFS"])
def test_wrong_types_are_never_a_server_error(told: Told, format_: str) -> None:
    """In place of any value: ignored, or 400 with a text that says what is expected."""
    place = told.place(told.storage.add("a.txt", b"content", notify=False))
    bodies = list(mutations(FORMATS[format_](*place)))
    if format_ == "SNS":
        bodies += map(sns, mutations(s3_event(*place)))
    statuses = [told.send(body).status_code for body in bodies]
    assert {200, 400} == {*statuses}
    problem = told.send({}).json()
    assert ("ill-formed", True) == (problem["type"], "event notification" in problem["detail"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"Records": ' + b"[" * 100_000,
        b'{"Records": ' + b"1" * 100_000 + b"}",
        b'{"Records": NaN}',
        b'[{"Records": []}]',
        sns("not an object"),
        {"Type": "Notification", "Message": "[" * 100_000},
        {"Type": "Notification", "Message": "1" * 5000},
        {"Type": "SubscriptionConfirmation", "SubscribeURL": ["https://here"]},
        {"Type": "SubscriptionConfirmation"},
        sns(sns({"Records": []})),
    ],
)
def test_a_body_of_no_known_format_is_refused(told: Told, body: object) -> None:
    """With 400, whatever the parser says of it."""
    assert 400 == told.send(body).status_code


def test_a_body_has_a_limit(told: Told) -> None:
    """Of 1 MiB."""
    assert 413 == told.send(b" " * (1024 * 1024 + 1)).status_code


CREDENTIALS: dict[str, tuple[int, str]] = {
    "a bearer token": (200, f"Bearer {KEY}"),
    "in small letters": (200, f"bearer  {KEY}"),
    "a password": (200, "Basic " + base64.b64encode(f"sns:{KEY}".encode()).decode()),
    "nothing": (401, ""),
    "no token": (401, "Bearer"),
    "a prefix of it": (401, f"Bearer {KEY[:-1]}"),
    "more than it": (401, f"Bearer {KEY}s"),
    "a user": (401, "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()),
    "no base64": (401, f"Basic {KEY}"),
    "another scheme": (401, f"Digest {KEY}"),
    "not ASCII": (401, "Bearer \xe9\xff"),
}


@pytest.mark.parametrize("what", CREDENTIALS)
def test_only_the_server_with_the_key_may_notify(told: Told, what: str) -> None:
    """As a bearer token or as a password; else it is told how, before its body is read."""
    status, given = CREDENTIALS[what]
    sent = Sent([b'{"Records": []}'])
    answers: list[tuple[int, Any, int]] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            answers.append((message["status"], headers.get(b"www-authenticate"), sent.read))

    scope = sent.request({"Host": "here", "Authorization": given}).scope

    async def live() -> None:
        await told.app({**scope, "path": "/events"}, sent.receive, send)

    asyncio.run(live())
    ((answered, challenge, read),) = answers
    assert status == answered
    if status == 401:
        assert (b'Basic realm="events"', 0) == (challenge, read)


def test_neither_the_rule_nor_a_page_counts(told: Told) -> None:
    """The access rule of the service denies everything, and a header looks like a page's."""
    headers = {**BEARER, "Origin": "https://other.example", "Sec-Fetch-Site": "cross-site"}
    assert 200 == told.send({"Records": []}, headers).status_code


@pytest.mark.parametrize("access", ["none", "public"])
def test_without_a_key_there_is_no_route(s3: S3Storage, access: str) -> None:
    """Its path is answered as every path that does not exist, and not described."""
    app = attachments(s3, Access(access_rule(access, None)))
    for method in ("POST", "GET", "OPTIONS"):
        one, other = (ask(app, method, path, headers=BEARER) for path in ("/events", "/absent"))
        assert (other.status_code, other.text) == (one.status_code, one.text)
    assert "/events" not in ask(app, "GET", "/openapi.json").json()["paths"]


def test_a_storage_without_a_bucket_has_no_events() -> None:
    """The answer has the code of the missing ability."""
    answer = ask(attachments(MemoryStorage(), ANYBODY, OPTIONS), "POST", "/events", headers=BEARER)
    assert (403, "no-multipart") == (answer.status_code, answer.json()["type"])


def test_the_key_is_not_printed() -> None:
    """Not with the options either."""
    assert KEY not in repr(OPTIONS)


def test_what_the_application_refuses_stays_and_is_not_repeated(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier call may have accepted it; the log has the reason."""
    handle = told.storage.add("a.txt", b"content", notify=False)

    def refuse(_: StoredUpload) -> None:
        raise Error("Not \x1b[31mhere", kind=Kind.REFUSED)

    told.be_told(complete=refuse)
    with caplog.at_level(logging.INFO, "rex.attach"):
        assert (0, 0, 1) == told.counts(s3_event(*told.place(handle)))
    assert [] == told.heard()
    assert handle in told.storage
    (line,) = [each.getMessage() for each in caplog.records if "refused" in each.getMessage()]
    assert handle in line
    assert "Not \\x1b[31mhere" in line


def test_a_failing_application_is_notified_again(told: Told) -> None:
    """The other objects are not held up; the answer makes the server repeat all."""
    handles = [told.storage.add(f"{n}.txt", b"content", notify=False) for n in range(3)]
    records = [s3_event(*told.place(handle))["Records"][0] for handle in handles]

    def fail_once(upload: StoredUpload) -> None:
        if upload.handle == handles[0]:
            told.be_told()
            raise RuntimeError("secret of the database")
        told.handles.put(upload.handle)

    told.be_told(stored=fail_once)
    answer = told.send({"Records": records})
    assert (500, "internal") == (answer.status_code, answer.json()["type"])
    assert "database" not in answer.text
    assert handles[1:] == told.heard()
    assert (3, 0, 0) == told.counts({"Records": records})
    assert handles == told.heard()


def test_a_subscription_is_for_the_operator(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    """Its URL is logged in one line, not fetched."""
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        url = f"http://{HOST}:{listener.getsockname()[1]}/?Token=a\r\n\x1b[2Jb"
        body = {"Type": "SubscriptionConfirmation", "Token": "a", "SubscribeURL": url}
        assert (0, 1, 0) == told.counts(body)
        with pytest.raises(BlockingIOError):
            listener.accept()
    (record,) = [each for each in caplog.records if "SNS" in each.getMessage()]
    assert "WARNING" == record.levelname
    assert url[:20] in record.getMessage()
    assert record.getMessage().endswith("a\\r\\n\\x1b[2Jb")


def test_an_unfinished_resumable_upload_is_not_harmed(told: Told) -> None:
    """Its object is there, its record is not forgotten: its client sends the bytes again."""
    handle = told.storage.uploads.create("a.txt", size=7).handle

    def fail(_: StoredUpload) -> None:
        raise RuntimeError

    told.be_told(stored=fail)
    with pytest.raises(Error, match="on_stored failed"):
        told.storage.uploads.append(handle, 0, b"content")
    told.be_told()
    assert (1, 0, 0) == told.counts(s3_event(*told.place(handle)))
    assert [handle] == told.heard()
    assert [handle] == list(told.storage.uploads.list())
    assert told.storage.uploads.append(handle, 0, b"content").expires_at is None
    assert ([handle], []) == (told.heard(), list(told.storage.uploads.list()))
    with told.storage.open(handle) as file:
        assert b"content" == file.read()
