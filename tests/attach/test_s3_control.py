"""What S3 is asked through botocore: by our settings alone, and nobody else's server."""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

import pytest

from attach import proxy
from attach.fake_server import Answer, Request, fake_server
from attach.harnesses import again
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.backend.multipart import Part
from rex.attach.backends.objects import requests
from rex.attach.backends.s3.completion import complete
from rex.attach.backends.s3.control import S3Control, S3Failure
from rex.attach.links.sigv4 import Credentials
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach.backends.s3.storage import S3Storage

KEYS = Credentials("key", "a-canary-of-a-secret")


def control(
    endpoint: str, *, keys: Callable[[], Credentials] = lambda: KEYS, timeout: float = PATIENCE
) -> S3Control:
    """Give what asks a server about a bucket."""
    return S3Control(
        "bucket",
        endpoint=endpoint,
        region="us-east-1",
        addressing="path",
        credentials=keys,
        certificates=None,
        timeout=timeout,
        checksums=True,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip the pauses between repetitions; return their sum so far, as one element."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(requests, "_now", lambda: now[0])
    monkeypatch.setattr(requests, "_sleep", sleep)
    return now


def error(code: str, more: str = "") -> str:
    """Write an error as S3 does."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>-</Message>{more}</Error>"


@pytest.mark.parametrize("status", [301, 302, 307, 400])
@pytest.mark.parametrize("code", ["PermanentRedirect", "AuthorizationHeaderMalformed", "Other"])
def test_no_redirect_is_followed(status: int, code: str) -> None:
    """A server may say that the bucket is elsewhere; we ask nobody else, and not again."""
    elsewhere: list[Request] = []
    asked: list[Request] = []

    def there(request: Request) -> Answer:
        elsewhere.append(request)
        return Answer()

    with fake_server(there) as other:
        place = f"<Endpoint>{other.removeprefix('http://')}</Endpoint><Region>eu-west-1</Region>"

        def here(request: Request) -> Answer:
            asked.append(request)
            headers = {"Location": f"{other}/x", "x-amz-bucket-region": "eu-west-1"}
            return Answer(status, error(code, place), headers)

        with fake_server(here) as endpoint, pytest.raises(S3Failure) as caught:
            control(endpoint).abort("key", "id")
    assert (0, 1) == (len(elsewhere), len(asked))
    assert code == caught.value.code


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NoSuchUpload", Kind.NOT_FOUND),
        ("InvalidPart", Kind.CONFLICT),
        ("EntityTooSmall", Kind.ILL_FORMED),
        ("EntityTooLarge", Kind.TOO_LARGE),
        ("PreconditionFailed", Kind.EXISTS),
        ("NoSuchBucket", Kind.CONFIGURATION),
        ("AccessDenied", Kind.DENIED),
        ("NotImplemented", Kind.UNSUPPORTED),
        ("SlowDown", Kind.UNAVAILABLE),
        ("NeverHeardOf", Kind.UNAVAILABLE),
    ],
)
def test_the_codes_of_s3_have_kinds(code: str, kind: Kind) -> None:
    """And no error shows more of a request than what the server says of it."""
    refusing = fake_server(lambda _: Answer(400, error(code)))
    with refusing as endpoint, pytest.raises(S3Failure) as caught:
        control(endpoint).create_multipart("key", {})
    assert (code, kind) == (caught.value.code, caught.value.kind)
    assert caught.value.__cause__ is None
    assert "canary" not in f"{caught.value!r} {caught.value.meaning}"


def test_the_environment_of_aws_changes_nothing(
    s3: S3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a profile that does not exist, nor another endpoint, nor other keys."""
    config = tmp_path / "config"
    config.write_text("[profile other]\nendpoint_url = http://127.0.0.1:9\nregion = eu-west-1\n")
    for name, value in {
        "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
    }.items():
        monkeypatch.setenv(name, value)
    handle = s3.reserve("a.txt")
    s3.multipart.abort(handle, s3.multipart.create(handle))


def test_keys_are_asked_for_anew_each_time() -> None:
    """Temporary ones change, and their token is sent with them."""
    sent: list[Request] = []
    keys = iter([Credentials("first", "s"), Credentials("second", "s", "the-token")])

    def answer(request: Request) -> Answer:
        sent.append(request)
        return Answer(204)

    with fake_server(answer) as endpoint:
        asking = control(endpoint, keys=lambda: next(keys))
        for _ in range(2):
            asking.abort("key", "id")
    assert ["first", "second"] == [
        request.headers["Authorization"].split("Credential=")[1].split("/")[0] for request in sent
    ]
    assert [None, "the-token"] == [request.headers.get("X-Amz-Security-Token") for request in sent]


def test_a_forked_child_asks_with_a_client_of_its_own(s3: S3Storage) -> None:
    """Its parent's connections are its parent's."""
    handle = s3.reserve("a.txt")
    upload_id = s3.multipart.create(handle)
    mine = s3._bucket.control._client()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            other = s3._bucket.control._client()
            s3.multipart.abort(handle, upload_id)
            os.write(writing, b"same" if other is mine else b"another")
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as told:
        assert b"another" == told.read()
    assert mine is s3._bucket.control._client()
    with pytest.raises(S3Failure):
        s3._bucket.control.list_parts(s3._bucket.path(handle[1:]), upload_id)


ODD = ["", "<html>Welcome</html>", '{"ok": true}', "<ListBucketResult/>", "<a>"]
"""Answers with status 200 that are not those of an S3 server."""


@pytest.mark.long
@pytest.mark.parametrize("body", ODD)
def test_an_odd_answer_is_not_taken_for_a_good_one(body: str) -> None:
    """An absence is never read as emptiness, and no library's own exception comes out."""
    with fake_server(lambda _: Answer(200, body)) as endpoint:
        asking = control(endpoint, timeout=0.2)
        for ask in (
            lambda: asking.create_multipart("key", {}),
            lambda: asking.upload_part("key", "id", 1, b"x"),
            lambda: asking.list_parts("key", "id"),
            lambda: complete(asking, "key", "id", [Part(1, 1, '"x"')]),
            lambda: asking.complete_multipart("key", "id", [Part(1, 1, '"x"')]),
            lambda: asking.create("key", b""),
            lambda: asking.read("key"),
            lambda: asking.head("key"),
            lambda: list(asking.objects("")),
            lambda: asking.list_multiparts("key"),
            lambda: list(asking.list_uploads("")),
        ):
            with pytest.raises(S3Failure) as caught:
                ask()
            assert Kind.UNAVAILABLE == caught.value.kind


def test_an_answer_whose_headers_are_cut_is_not_taken_for_a_good_one() -> None:
    """The size of the object is missing: the connection ended before it."""
    cut = proxy.Answer(200, [("ETag", '"x"')], b"", share=0.6)
    with (
        proxy.proxy("http://127.0.0.1:9", lambda _: cut) as endpoint,
        pytest.raises(S3Failure) as caught,
    ):
        control(endpoint, timeout=0.2).head("key")
    assert Kind.UNAVAILABLE == caught.value.kind


@pytest.mark.parametrize("body", ODD)
def test_a_storage_does_not_believe_an_odd_answer(body: str) -> None:
    """Whichever operation meets it, the server is at fault, and nothing is empty or missing."""
    with fake_server(lambda _: Answer(200, body)) as endpoint:
        storage = open_storage(
            f"s3://bucket?endpoint={endpoint}", access_key="k", secret_key="s", timeout=0.2
        )
        handle = storage.reserve("a.txt")
        for operation in (
            lambda: storage.open(handle),
            lambda: storage.info(handle),
            lambda: storage.put(handle, bytes(9 * 1024 * 1024)),
            lambda: storage.add("a.txt", bytes(9 * 1024 * 1024)),
            lambda: storage.remove(handle),
            lambda: list(storage),
            lambda: handle in storage,
            lambda: storage.uploads.info(handle),
            lambda: storage.uploads.append(handle, 0, b"x"),
            lambda: list(storage.garbage(datetime.datetime.now(datetime.UTC))),
            lambda: storage.multipart.create(handle),
            lambda: storage.multipart.complete(handle, "id", [(1, "x")]),
        ):
            with pytest.raises(Error) as caught:
                operation()
            assert Kind.UNAVAILABLE == caught.value.kind
        storage.close()


def test_a_request_is_repeated_as_long_as_promised(clock: list[float]) -> None:
    """After passing failures, with growing pauses, until the time is over; others end it."""
    asked: list[str] = []
    answers = {"key": Answer(503, error("SlowDown")), "other": Answer(403, error("AccessDenied"))}

    def answer(request: Request) -> Answer:
        asked.append(request.path.split("?")[0].rpartition("/")[2])
        return answers[asked[-1]]

    with fake_server(answer) as endpoint:
        for key in answers:
            with pytest.raises(S3Failure):
                control(endpoint, timeout=30).abort(key, "id")
    assert 1 == asked.count("other")
    assert 10 < asked.count("key") < 30
    assert 25 < clock[0] <= 30


def test_no_variable_of_aws_disturbs(s3: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However wrong it is: our settings are all that counts."""
    from botocore.session import Session

    for variables in (each[1] for each in Session.SESSION_VARIABLES.values()):
        for name in [variables] if isinstance(variables, str) else variables or ():
            monkeypatch.setenv(name, "not what was expected")
    monkeypatch.setenv("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "legacy")
    handle = s3.reserve("a.txt")
    storage = again(s3)
    storage.multipart.abort(handle, storage.multipart.create(handle))
    storage.close()
