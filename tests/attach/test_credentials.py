"""The keys of S3: from the settings or from the chain of AWS, for the data and for the links."""

from __future__ import annotations

import datetime
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import requests

from attach.bounded import bounded
from attach.fake_server import Answer, Request, fake_server, refused_address
from programs import PATIENCE
from rex.attach import Storage, get_storage, open_storage
from rex.core import Error, Kind, Rex

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

T = TypeVar("T")

TOKEN = "the/token+of=temporary.keys"

Container = dict[str, Any]
"""What the container's own server answers when it is asked for keys."""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no keys in the surroundings, wherever the tests run, and no cloud either."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keyless(seaweedfs: SeaweedFS) -> dict[str, Any]:
    """Give the settings of a bucket, without keys."""
    return {
        "attach_s3_bucket": seaweedfs.bucket,
        "attach_s3_endpoint": seaweedfs.endpoint,
        "attach_s3_prefix": "credentials",
        "attach_s3_timeout": PATIENCE,
    }


@pytest.fixture
def container(seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    """Run the server of a container's role; the test may change what it answers."""
    given: Container = {
        "AccessKeyId": seaweedfs.access_key,
        "SecretAccessKey": seaweedfs.secret_key,
        "Token": None,
        "Expiration": _from_now(hours=1),
    }

    def answer(request: Request) -> Answer:
        known = (request.path, request.headers.get("Authorization")) == ("/keys", "of the task")
        return Answer(200, json.dumps(given)) if known else Answer(403)

    with fake_server(answer) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/keys")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the task")
        yield given


def _from_now(**time: float) -> str:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(**time)
    return f"{end:%Y-%m-%dT%H:%M:%SZ}"


def use(storage: Storage) -> None:
    """Add, read, list, remove, upload and download by link: each needs keys."""
    handle = storage.add("a.txt", b"content")
    assert storage.open(handle).read() == b"content"
    assert handle in list(storage)
    assert requests.get(storage.download_link(handle).url, timeout=PATIENCE).content == b"content"
    storage.remove(handle)
    handle = storage.reserve("b.txt")
    form = storage.upload_link(handle)
    posted = requests.post(form.url, data=form.fields, files={"file": b"posted"}, timeout=PATIENCE)
    assert posted.status_code == 204
    assert storage.open(handle).read() == b"posted"
    storage.remove(handle)


def refused(settings: dict[str, Any]) -> Error:
    """Give the error with which an application does not start."""
    with pytest.raises(Error) as caught:
        bounded(Rex, "rex.attach", **settings)
    return caught.value


def test_keys_of_the_environment_are_used(
    keyless: dict[str, Any], seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    with Rex("rex.attach", **keyless):
        use(get_storage())


def test_keys_and_the_region_of_a_profile_are_used(
    keyless: dict[str, Any],
    seaweedfs: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """AWS_PROFILE names it, in the files that two other variables name."""
    config, keys = tmp_path / "config", tmp_path / "keys"
    config.write_text("[profile scans]\nregion = eu-south-2\n")
    keys.write_text(
        f"[scans]\naws_access_key_id = {seaweedfs.access_key}\n"
        f"aws_secret_access_key = {seaweedfs.secret_key}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_PROFILE", "scans")
    with Rex("rex.attach", **keyless):
        use(get_storage())
        link = get_storage().download_link(get_storage().reserve("a.txt"))
    assert "%2Feu-south-2%2Fs3%2F" in link.url


@pytest.mark.usefixtures("container")
def test_keys_of_a_container_are_used(keyless: dict[str, Any]) -> None:
    """A server beside the container gives them out, for an hour."""
    with Rex("rex.attach", **keyless):
        use(get_storage())


def test_a_link_ends_with_the_temporary_keys_it_is_made_with(
    keyless: dict[str, Any], container: Container
) -> None:
    """`expires_at` says so, and so does the link itself."""
    container["Expiration"] = _from_now(minutes=30)
    with Rex("rex.attach", **keyless):
        storage = get_storage()
        handle = storage.reserve("a.txt")
        links = [
            storage.upload_link(handle, expires=3600),
            storage.upload_link(handle, method="PUT", expires=3600),
            storage.download_link(handle, expires=3600),
        ]
        short = storage.download_link(handle, expires=60)
    assert {f"{link.expires_at:%Y-%m-%dT%H:%M:%SZ}" for link in links} == {container["Expiration"]}
    assert f"{short.expires_at:%Y-%m-%dT%H:%M:%SZ}" < container["Expiration"]


def is_offline(storage: Storage) -> bool:
    """Return whether links are signed without a request."""
    links = storage.abilities.links
    return links is not None and links.is_offline


def test_an_event_loop_signs_only_with_keys_at_hand(
    container: Container, seaweedfs: SeaweedFS
) -> None:
    """Looking for keys, and renewing them, may take a while."""
    url = f"s3://{seaweedfs.bucket}?endpoint={seaweedfs.endpoint}"
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    with open_storage(url, **keys) as given:
        assert is_offline(given)
    for minutes, is_at_hand in ((60, True), (16, False)):
        container["Expiration"] = _from_now(minutes=minutes)
        with open_storage(url) as storage:
            before = is_offline(storage)
            storage.download_link(storage.reserve("a.txt"))
            assert (False, is_at_hand) == (before, is_offline(storage))


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing, and thus needs no event loop."""
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    result: T = caught.value.value
    return result


def test_what_only_computes_wakes_no_thread(seaweedfs: SeaweedFS) -> None:
    """Handles, links and receipts, unless the owner is an object, which may ask a database."""
    url = f"s3://{seaweedfs.bucket}?endpoint={seaweedfs.endpoint}"
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    with open_storage(url, **keys) as storage:
        aio, part = storage.aio, storage.multipart.link
        handle = at_once(aio.begin("a.txt")).handle
        with pytest.raises(RuntimeError, match="no running event loop"):  # the secret is unread
            at_once(aio.receipt(handle))
        storage.receipt(handle)
        assert at_once(aio.receipt(handle))
        assert at_once(aio.upload_link(handle, owner="ada")).receipt
        assert at_once(aio.sign(part, handle, "an-upload", 1)).url
        owned = at_once(aio.reserve("a.txt", owner="ada"))
        assert at_once(aio.is_owned_by(owned, "ada"))
        with pytest.raises(RuntimeError, match="no running event loop"):
            at_once(aio.is_owned_by(owned, SimpleNamespace(id="ada")))


def test_temporary_keys_are_renewed(keyless: dict[str, Any], container: Container) -> None:
    """Keys that soon end are asked for anew, for the data and for the links."""
    container["Expiration"] = _from_now(seconds=30)
    with Rex("rex.attach", **keyless):
        storage = get_storage()
        container["Expiration"] = _from_now(hours=6)
        use(storage)
        link = storage.download_link(storage.reserve("a.txt"))
    assert link.expires_at > datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=50)


def test_expired_keys_are_unavailable(keyless: dict[str, Any], container: Container) -> None:
    """At the start, and later for the data and for the links: trying again later may help."""
    container["Expiration"] = _from_now(seconds=-10)
    assert refused(keyless).kind == Kind.UNAVAILABLE
    container["Expiration"] = _from_now(hours=1)
    with Rex("rex.attach", **keyless):
        storage = get_storage()
        chain: Any = storage
        chain._bucket.credentials._found._expiry_time = datetime.datetime.now(datetime.UTC)
        container["Expiration"] = _from_now(seconds=-10)
        for verb in (storage.open, storage.upload_link, storage.download_link):
            with pytest.raises(Error) as caught:
                bounded(verb, storage.reserve("a.txt"))
            assert caught.value.kind == Kind.UNAVAILABLE
            assert "expired" in str(caught.value)


@pytest.mark.usefixtures("container")
def test_a_container_that_gives_no_keys_is_unavailable(
    keyless: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it refuses or is not there."""
    # botocore tries thrice.
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of somebody else")
    assert refused(keyless).kind == Kind.UNAVAILABLE
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{refused_address()}/keys")
    error = refused(keyless)
    assert error.kind == Kind.UNAVAILABLE
    assert error.message.startswith("The AWS chain has no S3 credentials")


@pytest.mark.parametrize(
    "names",
    [
        ("attach_s3_access_key", "attach_s3_secret_key", "attach_s3_session_token"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ],
    ids=["settings", "environment"],
)
def test_every_request_and_link_carries_the_session_token(
    names: tuple[str, ...],
    keyless: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fake server tells what it was sent, since SeaweedFS knows no token of ours."""
    given = dict(zip(names, ("AKIATEMPORARY", "canary", TOKEN), strict=True))
    if "AWS_SESSION_TOKEN" in given:
        for name in names:
            monkeypatch.setenv(name, given.pop(name))
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return Answer(200, "<ListBucketResult></ListBucketResult>", {"ETag": '"1"'})

    encoded = TOKEN.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")
    with (
        fake_server(answer) as endpoint,
        Rex("rex.attach", **{**keyless, **given, "attach_s3_endpoint": endpoint}),
    ):
        storage = get_storage()
        handle = storage.add("a.txt", b"content")
        start, put = asked
        assert f"&X-Amz-Security-Token={encoded}&" in start.path
        assert TOKEN == {name.lower(): text for name, text in put.headers.items()}.get(
            "x-amz-security-token"
        )
        assert f"&X-Amz-Security-Token={encoded}&" in storage.download_link(handle).url
        assert f"&X-Amz-Security-Token={encoded}&" in storage.upload_link(handle, method="PUT").url
        assert storage.upload_link(handle).fields["x-amz-security-token"] == TOKEN


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"access_key": "AKIA"}, "attach_s3_secret_key"),
        ({"secret_key": "canary"}, "attach_s3_access_key"),
        ({"session_token": "canary"}, "attach_s3_access_key"),
        ({"access_key": "AKIA", "session_token": "canary"}, "attach_s3_secret_key"),
        ({"access_key": "AKIA", "secret_key": ""}, "attach_s3_secret_key"),
    ],
)
def test_keys_in_part_are_a_wrong_setting(
    given: dict[str, str], missing: str, keyless: dict[str, Any]
) -> None:
    """The missing one is named; the rest is not looked for elsewhere."""
    error = refused(keyless | {f"attach_s3_{name}": value for name, value in given.items()})
    assert error.kind == Kind.CONFIGURATION
    assert error.payload == f"missing: {missing}"
    assert "canary" not in str(error)


def test_no_keys_at_all_are_a_wrong_setting(keyless: dict[str, Any]) -> None:
    """The error names the settings and what else there is."""
    error = refused(keyless)
    assert error.kind == Kind.CONFIGURATION
    assert "attach_s3_access_key and attach_s3_secret_key" in error.message
    assert "AWS chain" in error.message


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "PartialCredentialsError"),
        ({"AWS_PROFILE": "nobody"}, "ProfileNotFound"),
        ({"AWS_CONFIG_FILE": __file__}, "ConfigParseError"),
    ],
)
def test_a_chain_that_is_broken_is_a_wrong_setting(
    environment: dict[str, str],
    reason: str,
    keyless: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What botocore says is shown, with the settings that would help."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = refused(keyless)
    assert error.kind == Kind.CONFIGURATION
    assert error.message.startswith("The AWS chain has no S3 credentials")
    assert str(error.payload).startswith(f"{reason}: ")


ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAOTHER",
    "AWS_SECRET_ACCESS_KEY": "other",
    "AWS_SESSION_TOKEN": "other",
    "AWS_SECURITY_TOKEN": "other",
    "AWS_PROFILE": "other",
    "AWS_REGION": "eu-other-1",
    "AWS_DEFAULT_REGION": "eu-other-2",
    "AWS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_BUCKET": "other",
    "AWS_BUCKET_NAME": "other",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_ALLOW_HTTP": "false",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_CONDITIONAL_PUT": "disabled",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
    "AWS_ROLE_ARN": "arn:aws:iam::1:role/other",
}
"""What obstore and botocore would read there."""


def test_the_environment_does_not_disturb_what_the_settings_say(
    keyless: dict[str, Any], seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the check, nor the data, nor the links."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with Rex("rex.attach", **{**keyless, **seaweedfs.settings()}):
        use(get_storage())


def test_a_url_without_an_application_uses_the_chain_too(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open_storage` finds the same keys."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    url = f"s3://{seaweedfs.bucket}/credentials?endpoint={seaweedfs.endpoint}"
    with open_storage(url) as storage:
        use(storage)
