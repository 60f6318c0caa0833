"""Attachments on a FAKE of Google Cloud Storage: the flow, failures, races, credentials."""

from __future__ import annotations

import base64
import contextlib
import datetime
import io
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from attach.fake_gcs import FakeGCS
from attach.fake_server import Answer, Request, fake_server
from attach.gcs_storage import gcs_storage
from attach.v4_cases import EMAIL, KEY, KEY_FILE
from programs import PATIENCE
from rex.attach import get_storage, open_storage
from rex.attach.backends.gcs import chain, control
from rex.attach.backends.gcs.chain import GoogleChain, find_credentials
from rex.attach.backends.gcs.credentials import ServiceAccount
from rex.core import Error, Kind, Rex, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach.backends.gcs.storage import GCSStorage

MIB = 1024 * 1024
LARGE = bytes(range(256)) * (9 * MIB // 256) + b"end"


@pytest.fixture
def fake() -> Iterator[FakeGCS]:
    """Run the fake."""
    with FakeGCS() as fake:
        yield fake


@pytest.fixture
def storage(fake: FakeGCS) -> Iterator[GCSStorage]:
    """Give a storage on the fake."""
    with storage_on(fake) as storage:
        yield storage


def storage_on(fake: FakeGCS, **options: Any) -> GCSStorage:
    """Open a storage on the fake."""
    given = {"endpoint": fake.endpoint, "key": str(KEY_FILE), "timeout": PATIENCE}
    return gcs_storage(fake.bucket, **{**given, **options})


def test_an_application_stores_and_its_users_upload_and_download(fake: FakeGCS) -> None:
    """As on S3, with other settings: a form answers 204, and a download 200."""
    demo = Rex(
        "rex.attach_demo",
        attach_gcs_bucket=fake.bucket,
        attach_gcs_endpoint=fake.endpoint,
        attach_gcs_key=str(KEY_FILE),
    )
    with demo:
        storage = get_storage()
    assert repr(storage).startswith("GCSStorage(")
    text, file = storage.add("str.txt", b"content"), storage.add("file.txt", io.BytesIO(b"content"))
    with storage.open(text) as stream:
        assert b"content" == stream.read()
    assert len(b"content") == storage.stat(file).st_size
    storage.remove(file)
    for operation in (storage.remove, storage.stat):
        with pytest.raises(Error) as caught:
            operation(file)
        assert f"Attachment does not exist:\n    {file}" == str(caught.value)
    assert [text] == list(storage)

    handle = storage.reserve("attachment.txt")
    link = storage.upload_link(handle)
    assert str(link).startswith("PresignedLink(")
    files = {"file": ("attachment.txt", b"My Attachment")}
    assert (
        204 == requests.post(link.url, data=link.fields, files=files, timeout=PATIENCE).status_code
    )
    with storage.open(handle) as stream:
        assert b"My Attachment" == stream.read()
    got = requests.get(storage.download_link(handle).url, timeout=PATIENCE)
    assert (200, b"My Attachment") == (got.status_code, got.content)
    demo.close()


def test_a_url_opens_a_bucket(fake: FakeGCS) -> None:
    """With the options of Google, and no others; the key is a path, and no secret."""
    place = f"gs://{fake.bucket}/some/folder?endpoint={fake.endpoint}&key={KEY_FILE}"
    with open_storage(place) as storage:
        handle = storage.add("a.txt", b"x")
        assert [f"some/folder{handle}"] == [*fake.objects]
        assert "GCSStorage('gs://attachments/some/folder/')" == repr(storage)
        again = pickle.loads(pickle.dumps(storage))  # noqa: S301 - our own
        assert [handle] == list(again)
    with pytest.raises(Error, match="Unknown option for the scheme gs"):
        open_storage("gs://bucket?region=x")


@pytest.mark.parametrize("size", [20, len(LARGE)])
def test_of_fifty_who_put_one_wins(fake: FakeGCS, size: int) -> None:
    """Also what is too large for one request: the session has the precondition."""
    with storage_on(fake) as storage:
        handle = storage.reserve("a.bin")
        start = threading.Barrier(10)

        def put(number: int) -> str:
            start.wait()
            try:
                storage.put(handle, bytes([number]) * size)
            except Error as error:
                return error.kind.name
            return "stored"

        with ThreadPoolExecutor(10) as pool:
            outcomes = [*pool.map(put, range(50 if size < MIB else 10))]
        assert 1 == outcomes.count("stored")
        assert {"stored", "EXISTS"} == {*outcomes}


def test_of_fifty_removers_one_wins(storage: GCSStorage) -> None:
    """The server answers 404 to the others."""
    handle = storage.add("a.txt", b"x")

    def remove(_: int) -> str:
        try:
            storage.remove(handle)
        except Error as error:
            return error.kind.name
        return "removed"

    with ThreadPoolExecutor(10) as pool:
        assert ["NOT_FOUND"] * 49 + ["removed"] == sorted(pool.map(remove, range(50)))


def test_a_session_goes_on_after_errors_and_lost_responses(
    fake: FakeGCS, storage: GCSStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks how many bytes the server has, and sends the others."""
    monkeypatch.setattr(control, "_sleep", lambda _: None)
    for trouble in ("failures", "lost"):
        setattr(fake, trouble, [("PUT", 503)] * 3 if trouble == "failures" else ["PUT", "PUT"])
        handle = storage.add("a.bin", iter([LARGE]))
        with storage.open(handle) as stream:
            assert LARGE == stream.read()


def test_content_that_fails_leaves_no_session(fake: FakeGCS, storage: GCSStorage) -> None:
    """The server is told to forget it."""

    def content() -> Iterator[bytes]:
        yield LARGE
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        storage.add("a.bin", content())
    assert ({}, {}) == (fake.sessions, fake.objects)


def test_bytes_damaged_in_transit_are_not_stored(
    fake: FakeGCS, storage: GCSStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MD5 of the finished object is compared with what was sent; the object is removed."""
    store = fake.store

    def damaged(name: str, data: bytes, *args: Any, **options: Any) -> Any:
        return store(name, b"?" + data[1:], *args, **options)

    monkeypatch.setattr(fake, "store", damaged)
    with pytest.raises(Error, match="damaged in transit"):
        storage.add("a.bin", LARGE)
    assert {} == fake.objects


def test_a_put_link_limits_the_size(storage: GCSStorage) -> None:
    """Which no other server does."""
    link = storage.upload_link(storage.reserve("a.txt"), method="PUT", max_size=5)
    assert "0,5" == link.headers["x-goog-content-length-range"]
    too_large = requests.put(link.url, b"123456", headers=link.headers, timeout=PATIENCE)
    fits = requests.put(link.url, b"12345", headers=link.headers, timeout=PATIENCE)
    again = requests.put(link.url, b"12345", headers=link.headers, timeout=PATIENCE)
    assert (400, 200, 412) == tuple(each.status_code for each in (too_large, fits, again))


def test_an_upload_survives_that_two_servers_begin_its_session(fake: FakeGCS) -> None:
    """The session is recorded once; the second server uses the first's."""
    with storage_on(fake) as first, storage_on(fake) as second:
        handle = first.uploads.create("a.bin", size=len(LARGE)).handle
        first.uploads.append(handle, 0, LARGE[: 9 * MIB - 5])
        second.uploads.append(handle, 9 * MIB - 5, LARGE[9 * MIB - 5 :])
        with first.open(handle) as stream:
            assert LARGE == stream.read()
        assert [handle[1:]] == [*fake.objects]


def test_an_attachment_is_known_when_its_session_is_forgotten(fake: FakeGCS) -> None:
    """Google forgets a session after a week; the object has the tag of the upload."""
    with storage_on(fake) as storage:
        handle = storage.uploads.create("a.bin", size=len(LARGE)).handle
        fake.failures = [("DELETE", 403)]  # the record cannot be removed
        with contextlib.suppress(Error):
            storage.uploads.append(handle, 0, LARGE)
        resumable = storage.abilities.resumable
        assert resumable is not None
        for _ in range(2):
            assert len(LARGE) == resumable.load(handle[1:]).size
            assert not resumable.publish(handle[1:], "application/octet-stream", None, "")
            fake.sessions.clear()
        found = fake.objects[handle[1:]]
        fake.store(handle[1:], found.data, {}, once=False)  # another client's
        with pytest.raises(FileExistsError):
            resumable.load(handle[1:])


def test_an_upload_ends_with_its_session(fake: FakeGCS) -> None:
    """It cannot continue, and its client begins again."""
    with storage_on(fake) as storage:
        handle = storage.uploads.create("a.bin", size=len(LARGE)).handle
        storage.uploads.append(handle, 0, LARGE[:-3])
        fake.sessions.clear()
        with pytest.raises(Error) as caught:
            storage.uploads.append(handle, len(LARGE) - 3, LARGE[-3:])
        assert Kind.NOT_FOUND is caught.value.kind


def test_a_listing_begins_after_a_handle(fake: FakeGCS, storage: GCSStorage) -> None:
    """In pages; what is not an attachment is left out."""
    fake.page_size = 3
    handles = sorted(storage.add(f"{number}.txt", b"x") for number in range(8))
    storage.uploads.create("b.bin", size=5)
    assert handles == list(storage)
    assert handles[4:] == list(storage.list(after=handles[3]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "Expecting value"),
        ("[]", "not a JSON object"),
        ('{"type": "authorized_user"}', "authorized_user"),
        (
            '{"type": "service_account", "client_email": "a@b", "private_key": "-----"}',
            "not an RSA key",
        ),
    ],
)
def test_a_wrong_key_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    """With the setting, and without its content."""
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(Error, match=words) as caught:
        gcs_storage("bucket", key=str(path))
    assert ("wrong-key-file", "attach_gcs_key") == (caught.value.code, caught.value.setting)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(Error, match="No such file"):
        gcs_storage("bucket", key=str(tmp_path / "missing.json"))


def test_the_default_credentials_may_be_a_key(tmp_path: Path) -> None:
    """Named by the environment, or in the folder of gcloud."""
    found = find_credentials({"GOOGLE_APPLICATION_CREDENTIALS": str(KEY_FILE)})
    assert f"ServiceAccount({EMAIL!r})" == repr(found)
    user = {"type": "authorized_user", "client_id": "id", "refresh_token": "secret"}
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(user))
    chained = find_credentials({"CLOUDSDK_CONFIG": str(tmp_path)})
    assert "GoogleChain('authorized_user')" == repr(chained)
    assert "" == chained.email


def test_a_machine_has_a_token_and_iam_signs_its_links(
    fake: FakeGCS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A workload without a key: a request for each link, so that signing is not offline."""
    account = ServiceAccount(EMAIL, Secret(KEY))
    asked = []

    def answer(request: Request) -> Answer:
        asked.append(request.path.partition("?")[0].rpartition("/")[2])
        if request.path.endswith("/email"):
            return Answer(200, EMAIL)
        if "/token" in request.path:
            token = {"access_token": account.token().value, "expires_in": 3600}
            return Answer(200, json.dumps(token))
        payload = base64.b64decode(json.loads(request.body)["payload"])
        signed = {"signedBlob": base64.b64encode(account.sign(payload)).decode()}
        return Answer(200, json.dumps(signed))

    monkeypatch.setattr(chain, "PROBE_SECONDS", PATIENCE)
    with fake_server(answer) as server:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setenv("GCE_METADATA_HOST", server.partition("://")[2])
        monkeypatch.setattr(chain, "IAM", server)
        with storage_on(fake, key=None) as storage:
            handle = storage.add("a.txt", b"x")
            links = storage.abilities.links
            assert links is not None
            assert not links.is_offline
            assert (
                200 == requests.get(storage.download_link(handle).url, timeout=PATIENCE).status_code
            )
    assert {"token", "email", f"{EMAIL}:signBlob"} == {*asked}


def test_without_credentials_the_setting_is_named(
    fake: FakeGCS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also by what obstore says of a request."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    with storage_on(fake, key=None, timeout=0.5) as storage:
        for operation in (storage.check, lambda: storage.add("a.txt", b"x")):
            with pytest.raises(Error, match="There are no Google credentials") as caught:
                operation()
            assert "attach_gcs_key" == caught.value.setting
    user = GoogleChain({"type": "authorized_user"}, {})
    assert "" == user.email


def test_what_resumable_uploads_leave_is_swept(fake: FakeGCS, storage: GCSStorage) -> None:
    """The tail and the session of an upload whose record is gone."""
    handle = storage.uploads.create("a.bin", size=len(LARGE)).handle
    storage.uploads.append(handle, 0, LARGE[:-3])
    (record,) = (name for name in fake.objects if name.endswith("/record"))
    del fake.objects[record]
    garbage = storage.abilities.garbage
    assert garbage is not None
    before = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    found = [*garbage(before)]
    assert {"session", "tail"} == {each.name.rpartition("/")[2].partition("-")[0] for each in found}
    assert all(each.clear() for each in found)
    assert {} == fake.objects


def test_rules_of_cors_are_read_as_they_were_set(fake: FakeGCS, storage: GCSStorage) -> None:
    """Google has one list of headers, and no ids."""
    fake.rules["cors"] = [{"origin": ["https://other.example"], "method": ["GET"]}]
    storage.cors.allow(["https://a.example"])
    storage.cors.allow(["https://b.example"])
    assert storage.cors.allows(["https://b.example"])
    origins = [rule["origin"] for rule in fake.rules["cors"]]
    assert [["https://b.example"], ["https://other.example"]] == origins
    assert "x-goog-if-generation-match" in fake.rules["cors"][0]["responseHeader"]
