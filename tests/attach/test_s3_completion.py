"""One upload in parts becomes the object of a key, whichever end at the same moment."""

from __future__ import annotations

import datetime
import hashlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from programs import PATIENCE
from rex.attach.backends.s3 import completion as s3_completion
from rex.attach.backends.s3.completion import complete
from rex.attach.backends.s3.control import S3Failure
from rex.attach.conformance.samples import at_once
from rex.attach.maintenance import sweep
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.backend.multipart import Part
    from rex.attach.backends.s3.storage import S3Storage

ROUNDS = 25
CONTENTS = (b"one" * 1000, b"two" * 1000)


def begun(s3: S3Storage, key: str, content: bytes) -> tuple[str, list[Part]]:
    """Begin an upload and send its only part."""
    upload_id = s3._bucket.control.create_multipart(key, {})
    return upload_id, [s3._bucket.control.upload_part(key, upload_id, 1, content)]


def claim_of(s3: S3Storage, key: str) -> str:
    """Return the key of the claim of a key."""
    return f"{s3.prefix}.drafts/claims/{hashlib.sha256(key.encode()).hexdigest()}"


def claims(s3: S3Storage) -> list[str]:
    """List all claims."""
    return [found.name for found in s3._bucket.control.objects(f"{s3.prefix}.drafts/claims/")]


def key_in(s3: S3Storage) -> str:
    """Return the key of a new handle."""
    return s3.prefix + s3.reserve("a.bin")[1:]


def test_of_two_completions_at_once_one_succeeds(
    s3: S3Storage, report_figure: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server accepts both in nearly half of the tries, without the claim."""
    monkeypatch.setattr(s3_completion, "CLAIM_SECONDS", PATIENCE)
    for _ in range(ROUNDS):
        key = key_in(s3)
        uploads = [begun(s3, key, content) for content in CONTENTS]
        acts = [partial(complete, s3._bucket.control, key, *upload) for upload in uploads]
        raised = at_once(acts)
        assert {type(None), FileExistsError} == {*map(type, raised)}
        winner = CONTENTS[raised.index(None)]
        assert winner == s3.open(f"/{key.removeprefix(s3.prefix)}").read()
        loser = uploads[1 - raised.index(None)][0]
        s3._bucket.control.abort(key, loser)
    assert [] == claims(s3)
    report_figure(f"two completions of one key at once, {ROUNDS} times: one winner each time")


def test_the_same_upload_may_be_completed_twice_at_once(s3: S3Storage) -> None:
    """As by a client that repeats a request whose answer is late: both succeed."""
    for _ in range(5):
        key = key_in(s3)
        upload = begun(s3, key, CONTENTS[0])
        assert [None, None] == at_once([partial(complete, s3._bucket.control, key, *upload)] * 2)
    assert [] == claims(s3)


def test_a_claim_of_another_upload_is_waited_for(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is removed without an object, as when the other completion failed."""
    key = key_in(s3)
    upload = begun(s3, key, CONTENTS[0])
    assert s3._bucket.control.create(claim_of(s3, key), b"another upload")
    waiting = threading.Event()
    monkeypatch.setattr(s3_completion, "_sleep", lambda _: waiting.set())
    raised: list[Any] = []
    thread = threading.Thread(
        target=lambda: raised.extend(at_once([partial(complete, s3._bucket.control, key, *upload)]))
    )
    thread.start()
    assert waiting.wait(PATIENCE)
    assert s3._bucket.control.head(key) is None
    s3._bucket.control.delete(claim_of(s3, key))
    thread.join()
    assert [None] == raised
    assert CONTENTS[0] == s3.open(f"/{key.removeprefix(s3.prefix)}").read()


def test_a_claim_that_stays_is_not_waited_for_without_end(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time of a request, the caller is told to try again."""
    key = key_in(s3)
    upload = begun(s3, key, CONTENTS[0])
    s3._bucket.control.create(claim_of(s3, key), b"another upload")
    monkeypatch.setattr(s3._bucket.control, "timeout", 0)
    with pytest.raises(S3Failure) as caught:
        complete(s3._bucket.control, key, *upload)
    assert Kind.UNAVAILABLE == caught.value.kind
    assert [claim_of(s3, key)] == claims(s3)
    assert s3._bucket.control.head(key) is None
    s3._bucket.control.abort(key, upload[0])
    s3._bucket.control.delete(claim_of(s3, key))


def test_an_old_claim_is_void(s3: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that made it died."""
    key = key_in(s3)
    upload = begun(s3, key, CONTENTS[0])
    s3._bucket.control.create(claim_of(s3, key), b"another upload")
    monkeypatch.setattr(s3_completion, "CLAIM_SECONDS", -10)
    complete(s3._bucket.control, key, *upload)
    assert [] == claims(s3)


def test_a_claim_of_an_earlier_try_is_one_s_own(s3: S3Storage) -> None:
    """Its answer was lost, or the process that made it is this upload's as well."""
    key = key_in(s3)
    upload = begun(s3, key, CONTENTS[0])
    s3._bucket.control.create(claim_of(s3, key), upload[0].encode())
    complete(s3._bucket.control, key, *upload)
    assert [] == claims(s3)


@pytest.mark.parametrize("kind", [Kind.UNSUPPORTED, Kind.DENIED])
def test_without_claims_a_completion_goes_on(
    kind: Kind, s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server knows no conditional PUT, or the keys may not write there."""

    def refuse(*_: object) -> bool:
        failure = S3Failure("x")
        failure.kind = kind
        raise failure

    monkeypatch.setattr(s3._bucket.control, "create", refuse)
    key = key_in(s3)
    complete(s3._bucket.control, key, *begun(s3, key, CONTENTS[0]))
    assert s3._bucket.control.head(key) is not None


def test_sweep_removes_a_claim_that_a_kill_has_left(s3: S3Storage) -> None:
    """Once it is older than the grace."""
    key = key_in(s3)
    s3._bucket.control.create(claim_of(s3, key), b"another upload")
    assert [] == [*sweep(s3, delete=True)]
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    assert 1 == len([*sweep(s3, delete=True, now=later)])
    assert [] == claims(s3)
