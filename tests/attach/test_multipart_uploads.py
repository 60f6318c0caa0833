"""Uploads in parts that a client sends straight to the server, on a real one."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import requests

from attach.s3_storage import s3_storage
from attach.s3_uploads import CONTENT, PARTS, abort_unfinished
from programs import PATIENCE
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.control import S3Failure
from rex.attach.conformance.samples import at_once
from rex.core import Error, Kind
from served import reserved_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.storage.multipart import MultipartUploads
    from rex.attach_demo.seaweedfs import SeaweedFS

COMPLETIONS = int(os.environ.get("REX_TRUST_COMPLETIONS", "10"))
NAME = "Straße 中文 (1).bin"


@pytest.fixture
def storage(s3: S3Storage) -> S3Storage:
    """Give a storage on S3."""
    return s3


def sent(
    storage: Storage, handle: str, upload_id: str, parts: list[bytes]
) -> list[tuple[int, str]]:
    """Send the parts with links, as a browser does; give their numbers and ETags."""
    named = []
    for number, part in enumerate(parts, 1):
        link = storage.multipart.link(handle, upload_id, number)
        answer = requests.put(link.url, data=part, headers=dict(link.headers), timeout=PATIENCE)
        assert (200, "PUT", {}) == (answer.status_code, link.method, link.headers)
        named.append((number, answer.headers["ETag"]))
    return named


def refusal(ask: Callable[..., Any], *arguments: Any, **options: Any) -> Kind:
    """Give the kind of the error that is raised."""
    with pytest.raises(Error) as caught:
        list(ask(*arguments, **options) or ())
    return caught.value.kind


def test_an_upload_in_parts_becomes_an_attachment(storage: S3Storage) -> None:
    """It has the bytes of the parts in order, and is served as what its name suggests."""
    handle = storage.reserve("photo.png")
    upload_id = storage.multipart.create(handle)
    named = sent(storage, handle, upload_id, PARTS)
    there = [*storage.multipart.parts(handle, upload_id)]
    assert [len(part) for part in PARTS] == [part.size for part in there]
    assert named == [(part.number, part.etag) for part in there]
    assert handle not in storage
    storage.multipart.complete(handle, upload_id, named)
    with storage.open(handle) as stream:
        assert stream.read() == CONTENT
        assert ("photo.png", "image/png") == (stream.info.name, stream.info.content_type)
    download = requests.get(storage.download_link(handle).url, timeout=PATIENCE)
    assert 'attachment; filename="photo.png"' == download.headers["Content-Disposition"]


def test_names_in_any_script_and_a_type(storage: S3Storage) -> None:
    """The type that was given is what it is served as; ETags go with or without quotes."""
    handle = storage.reserve(NAME)
    upload_id = storage.multipart.create(handle, "image/tiff")
    ((number, etag),) = sent(storage, handle, upload_id, [b"small"])
    storage.multipart.complete(handle, upload_id, [(number, etag.strip('"'))])
    info = storage.info(handle)
    assert (NAME, "image/tiff", 5) == (info.name, info.content_type, info.size)


def test_keys_of_the_server_are_told_from_others(storage: S3Storage) -> None:
    """A key is the handle behind the prefix, and nothing else is one."""
    handle = storage.reserve("a.txt")
    key = storage.key_of_handle(handle)
    assert f"{storage.prefix}{handle[1:]}" == key
    assert handle == storage.handle_of_key(key)
    for wrong in (handle[1:], handle, f"x{key}", f"{key}/..", "", None):
        assert Kind.ILL_FORMED == refusal(storage.handle_of_key, wrong)


def test_parts_are_listed_over_all_pages(storage: S3Storage) -> None:
    """More than fit into one answer of the server, in the order of their numbers."""
    handle = storage.reserve("a.bin")
    upload_id = storage.multipart.create(handle)
    control = storage._bucket.control
    numbers = [1, 2, 3, 999, 1000, 1001, 9999, 10_000]
    for number in numbers:
        control.upload_part(storage._bucket.path(handle[1:]), upload_id, number, b"x" * number)
    listed: Any = control._client().meta.events
    listed.register_first("provide-client-params.s3.ListParts", _two_a_page)
    try:
        there = [(part.number, part.size) for part in storage.multipart.parts(handle, upload_id)]
    finally:
        listed.unregister("provide-client-params.s3.ListParts", _two_a_page)
    assert [(number, number) for number in numbers] == there
    storage.multipart.abort(handle, upload_id)


def _two_a_page(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {**params, "MaxParts": 2}


def test_an_aborted_upload_leaves_nothing(storage: S3Storage) -> None:
    """Neither parts nor an upload; its links are worth nothing any more."""
    handle = storage.reserve("a.bin")
    upload_id = storage.multipart.create(handle)
    link = storage.multipart.link(handle, upload_id, 1)
    named = sent(storage, handle, upload_id, [b"abc"])
    storage.multipart.abort(handle, upload_id)
    assert 404 == requests.put(link.url, data=b"abc", timeout=PATIENCE).status_code
    assert Kind.NOT_FOUND == refusal(storage.multipart.parts, handle, upload_id)
    assert Kind.NOT_FOUND == refusal(storage.multipart.complete, handle, upload_id, named)
    assert handle not in storage


def test_the_servers_list_counts_not_the_clients_word(storage: S3Storage) -> None:
    """A part that is not there, or has other content, completes nothing."""
    handle = storage.reserve("a.bin")
    upload_id = storage.multipart.create(handle)
    ((_, etag),) = sent(storage, handle, upload_id, [b"abc"])
    for named in ([(1, etag), (2, etag)], [(1, '"0bbc18cdea1c4aaa17777d441214774a"')], [(1, "")]):
        assert Kind.CONFLICT == refusal(storage.multipart.complete, handle, upload_id, named)
    assert handle not in storage
    storage.multipart.complete(handle, upload_id, [(1, etag)])
    assert 3 == storage.info(handle).size


def test_small_parts_and_ill_formed_lists_are_refused(storage: S3Storage) -> None:
    """Whatever a client says of its parts, it is judged before the server is asked to complete."""
    handle = storage.reserve("a.bin")
    upload_id = storage.multipart.create(handle)
    (one, two) = sent(storage, handle, upload_id, [b"abc", b"def"])
    wrong: list[Any] = [[], [one, one], [(0, "x")], [(10_001, "x")], [("1", "x")], [(True, "x")]]
    wrong += [[(1, None)], [one, two]]  # all but the last have 5 MiB
    for named in wrong:
        assert Kind.ILL_FORMED == refusal(storage.multipart.complete, handle, upload_id, named)
    storage.multipart.abort(handle, upload_id)


def test_too_much_is_refused_and_aborted(storage: S3Storage) -> None:
    """The sizes on the server are summed up; over the limit, nothing is left."""
    storage.max_size = 5
    for limits in ({}, {"max_size": 4}):
        handle = storage.reserve("a.bin")
        upload_id = storage.multipart.create(handle)
        named = sent(storage, handle, upload_id, [b"12345" if limits else b"123456"])
        complete = storage.multipart.complete
        assert Kind.TOO_LARGE == refusal(complete, handle, upload_id, named, **limits)
        assert Kind.NOT_FOUND == refusal(storage.multipart.parts, handle, upload_id)
        assert handle not in storage


def test_as_much_as_is_permitted_is_stored(storage: S3Storage) -> None:
    """The limit itself is no excess; parts that are not named do not count."""
    storage.max_size = 5
    handle = storage.reserve("a.bin")
    upload_id = storage.multipart.create(handle)
    (one, _) = sent(storage, handle, upload_id, [b"12345", b"6"])
    storage.multipart.complete(handle, upload_id, [one])
    assert 5 == storage.info(handle).size


def test_what_is_stored_is_not_replaced(storage: S3Storage) -> None:
    """An attachment never changes, so an upload for its handle cannot be completed."""
    handle = storage.add("a.txt", b"first")
    upload_id = storage.multipart.create(handle)
    named = sent(storage, handle, upload_id, [b"second"])
    assert Kind.EXISTS == refusal(storage.multipart.complete, handle, upload_id, named)
    assert Kind.EXISTS == refusal(storage.multipart.complete_link, handle, upload_id)
    storage.multipart.abort(handle, upload_id)
    assert b"first" == storage.open(handle).read()


def test_a_repeated_completion_finds_what_the_first_made(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that repeats a request whose answer was lost is told that all is well."""
    asked = storage._bucket.control.ask_once

    def lose_the_answer(operation: str, *required: str, **arguments: Any) -> Any:
        answer = asked(operation, *required, **arguments)
        if operation == "complete_multipart_upload":
            monkeypatch.undo()
            raise S3Failure("RequestTimeout")
        return answer

    handle = storage.reserve("a.txt")
    upload_id = storage.multipart.create(handle)
    named = sent(storage, handle, upload_id, [b"content"])
    monkeypatch.setattr(storage._bucket.control, "ask_once", lose_the_answer)
    storage.multipart.complete(handle, upload_id, named)
    storage.multipart.complete(handle, upload_id, named)
    assert b"content" == storage.open(handle).read()
    (_, etag), *_ = named
    other = [(1, etag.translate(str.maketrans("0123456789", "1234567890")))]
    assert Kind.NOT_FOUND == refusal(storage.multipart.complete, handle, upload_id, other)


@pytest.mark.long
def test_of_two_who_complete_at_once_one_succeeds(
    storage: S3Storage, report_figure: Callable[[str], None]
) -> None:
    """The other is told that the attachment exists, and what is stored was acknowledged."""
    contents = [b"one" * 1000, b"two" * 1000]
    outcomes: list[set[Any]] = []
    for _ in range(COMPLETIONS):
        handle = storage.reserve("a.bin")
        ids = [storage.multipart.create(handle) for _ in contents]
        named = [
            sent(storage, handle, upload_id, [content])
            for upload_id, content in zip(ids, contents, strict=True)
        ]
        complete = storage.multipart.complete
        acts = [
            partial(complete, handle, upload_id, parts)
            for upload_id, parts in zip(ids, named, strict=True)
        ]
        raised = at_once(acts)
        stored = storage.open(handle).read()
        assert [contents.index(stored)] == [n for n, each in enumerate(raised) if each is None]
        outcomes.append({getattr(each, "kind", each) for each in raised})
    assert [{None, Kind.EXISTS}] * COMPLETIONS == outcomes
    abort_unfinished(storage)
    report_figure(f"two completions at once, {COMPLETIONS} times: one winner each time")


@pytest.mark.parametrize("number", [0, -1, 10_001, "x", "1", None, 1.0, True])
def test_parts_are_numbered_from_1_to_10000(storage: S3Storage, number: Any) -> None:
    """Nothing else is signed."""
    handle = storage.reserve("a.bin")
    assert Kind.ILL_FORMED == refusal(storage.multipart.link, handle, "id", number)


@pytest.mark.parametrize("upload_id", ["", "a\nb", "é", "x" * 2049, None, 1])
def test_an_id_is_a_short_plain_text(storage: S3Storage, upload_id: Any) -> None:
    """What no server gives out is asked of none."""
    handle = storage.reserve("a.bin")
    for verb in (storage.multipart.parts, storage.multipart.abort, storage.multipart.abort_link):
        assert Kind.ILL_FORMED == refusal(verb, handle, upload_id)


def test_only_handles_are_taken(storage: S3Storage) -> None:
    """A handle that could not have been made here reaches no server."""
    uploads: MultipartUploads = storage.multipart
    for wrong in ("/../../etc/passwd", "a.txt", "", None):
        handle: Any = wrong
        assert Kind.ILL_FORMED == refusal(uploads.create, handle)
        assert Kind.ILL_FORMED == refusal(uploads.create_link, handle)
        assert Kind.ILL_FORMED == refusal(uploads.link, handle, "id", 1)
        assert Kind.ILL_FORMED == refusal(uploads.complete, handle, "id", [(1, "x")])


def test_a_link_is_for_one_part_of_one_upload(storage: S3Storage) -> None:
    """A changed number, id or key is refused, and an expired link is too."""
    handle = storage.reserve("a.bin")
    upload_id = storage.multipart.create(handle)
    url = storage.multipart.link(handle, upload_id, 1).url
    changed = (
        url.replace("partNumber=1", "partNumber=2"),
        url.replace(upload_id, storage.multipart.create(storage.reserve("b.bin"))),
        url.replace("a.bin", "c.bin"),
        url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
    )
    for link in changed:
        assert 403 == requests.put(link, data=b"abc", timeout=PATIENCE).status_code
    assert [] == [*storage.multipart.parts(handle, upload_id)]
    abort_unfinished(storage)


def test_a_wrong_secret_is_told_without_showing_it(seaweedfs: SeaweedFS) -> None:
    """The error has the kind of a refusal, and no secret or signature in it."""
    storage = s3_storage(
        seaweedfs.bucket,
        endpoint=seaweedfs.endpoint,
        access_key=seaweedfs.access_key,
        secret_key="a-canary-of-a-secret",
    )
    handle = storage.reserve("a.txt")
    with pytest.raises(Error) as caught:
        storage.multipart.create(handle)
    assert Kind.DENIED == caught.value.kind
    assert handle == caught.value.payload
    shown = (
        f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {storage._bucket.control!r}"
    )
    assert "canary" not in shown
    assert "Signature=" not in shown


def test_a_server_that_is_gone_is_unavailable(unused_port: int) -> None:
    """It is told soon, and which server it was stands in the error of the check."""
    storage = s3_storage(
        "bucket",
        endpoint=f"http://127.0.0.1:{unused_port}",
        access_key="key",
        secret_key="secret",
        timeout=1,
    )
    assert Kind.UNAVAILABLE == refusal(storage.multipart.create, storage.reserve("a.txt"))


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Give a port on which nobody listens."""
    with reserved_port() as port:
        yield port


def test_storages_without_a_server_say_so(tmp_path: Path) -> None:
    """A directory and memory have no parts, and the error tells what would have them."""
    for storage in (LocalStorage(tmp_path), MemoryStorage()):
        with pytest.raises(Error) as caught:
            _ = storage.multipart
        assert Kind.UNSUPPORTED == caught.value.kind
        assert "attach_s3_bucket" in str(caught.value)
        storage.close()


def test_servers_with_the_same_keys_read_the_same_tokens(seaweedfs: SeaweedFS) -> None:
    """The secret comes from the S3 key, and from nothing else of the storage."""

    def tokens(secret: str, bucket: str = "bucket") -> Any:
        return s3_storage(
            bucket, endpoint=seaweedfs.endpoint, access_key="key", secret_key=secret
        ).tokens

    token = tokens("one").sign("purpose", {"a": 1}, expires=2**40)
    assert {"a": 1} == tokens("one", "other-bucket").read("purpose", token)
    assert Kind.DENIED == refusal(tokens("two").read, "purpose", token)


def test_temporary_keys_are_no_secret_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys of the AWS chain, or with a session token, a setting has to give the secret."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    chain = s3_storage("bucket")
    session = s3_storage("bucket", access_key="key", secret_key="secret", session_token="token")
    for storage in (chain, session):
        with pytest.raises(Error) as caught:
            _ = storage.tokens
        assert Kind.CONFIGURATION == caught.value.kind
        assert caught.value.setting == "attach_secret"
    assert s3_storage("bucket", secret="given").tokens.sign("p", {}, expires=1)
