"""Buckets that are set up wrongly, each in one way, and what the doctor says of them."""

from __future__ import annotations

import contextlib
import datetime
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.fake_gcs import FakeGCS
from attach.fake_server import Answer, fake_server, refused_address
from attach.gcs_storage import gcs_storage
from attach.v4_cases import EMAIL, KEY_FILE
from programs import PATIENCE
from rex.attach.maintenance import Check, Verdict, diagnose
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rex.attach.backends.gcs.storage import GCSStorage

    Staged = AbstractContextManager[GCSStorage]

OK, WARN, FAIL, SKIP = Verdict
SITE = "https://pages.example.org"


class Ward:
    """A fake server of its own, and how to open a storage on it."""

    def __init__(self, fake: FakeGCS, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake, self.folder, self.monkeypatch = fake, folder, monkeypatch

    def storage_of(self, **options: Any) -> GCSStorage:
        """Open the bucket."""
        given = {"endpoint": self.fake.endpoint, "key": str(KEY_FILE), "timeout": PATIENCE}
        return gcs_storage(**{"bucket": self.fake.bucket, **given, **options})


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    """Give a bucket."""
    with FakeGCS() as fake:
        yield Ward(fake, tmp_path, monkeypatch)


class Case(NamedTuple):
    """A bucket that is set up wrongly, and the finding about it."""

    stage: Callable[[Ward], Staged]
    step: str
    verdict: Verdict
    code: str
    words: tuple[str, ...]


def with_options(**options: Any) -> Callable[[Ward], Staged]:
    """Open the storage with other options."""
    return lambda ward: ward.storage_of(**options)


def with_rules(**rules: Any) -> Callable[[Ward], Staged]:
    """Set the rules of the bucket."""

    def stage(ward: Ward) -> Staged:
        ward.fake.rules |= rules
        return ward.storage_of()

    return stage


def without(*methods: str) -> Callable[[Ward], Staged]:
    """Deny methods."""

    def stage(ward: Ward) -> Staged:
        ward.fake.denied |= {*methods}
        return ward.storage_of()

    return stage


def with_another_key(ward: Ward) -> Staged:
    """Use a key that the server does not know."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = ward.folder / "other.json"
    account = json.loads(KEY_FILE.read_text("ascii"))
    path.write_text(json.dumps({**account, "private_key": pem}), "ascii")
    return ward.storage_of(key=str(path))


@contextlib.contextmanager
def on_a_page(ward: Ward) -> Iterator[GCSStorage]:
    """Lead to a server that is not Google's."""
    with fake_server(lambda _: Answer(200, "<html>")) as address:
        yield ward.storage_of(endpoint=address)


def without_credentials(ward: Ward) -> Staged:
    """Return a storage without a key, on a machine that is not Google's."""
    ward.monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    ward.monkeypatch.setenv("CLOUDSDK_CONFIG", str(ward.folder))
    ward.monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    return ward.storage_of(key=None)


def with_a_late_clock(ward: Ward) -> Staged:
    """Set a clock that is 20 minutes ahead, as far as the doctor sees."""

    class Late(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Late:
            return super().now(tz) + datetime.timedelta(minutes=20)

    ward.monkeypatch.setattr(datetime, "datetime", Late)
    return ward.storage_of()


def with_lost_preconditions(ward: Ward) -> Staged:
    """Lose the parameter of a session, as a proxy might."""
    store = ward.fake.store

    def unconditional(name: str, data: bytes, resource: Any, *, once: bool) -> Any:
        is_session = "cacheControl" in resource and data.startswith(b"the only piece")
        return store(name, data, resource, once=once and not is_session)

    ward.monkeypatch.setattr(ward.fake, "store", unconditional)
    return ward.storage_of()


CASES = {
    "no credentials": Case(
        without_credentials, "credentials", FAIL, "no-credentials", ("attach_gcs_key",)
    ),
    "no server": Case(
        with_options(endpoint=refused_address()), "endpoint", FAIL, "unreachable", ("address",)
    ),
    "a page": Case(on_a_page, "endpoint", FAIL, "not-gcs", ("attach_gcs_endpoint",)),
    "a clock": Case(with_a_late_clock, "clock", FAIL, "clock-skew", (" s ahead of", "NTP")),
    "another key": Case(with_another_key, "keys", FAIL, "wrong-token", ("keys list", EMAIL)),
    "no bucket": Case(
        with_options(bucket="missing"), "bucket", FAIL, "no-bucket", ("buckets create",)
    ),
    "no permission to list": Case(
        without("GET"), "bucket", FAIL, "no-permission", ("storage.objects.list", "objectUser")
    ),
    "no permission to write": Case(
        without("PUT"), "write", FAIL, "no-permission", ("storage.objects.create",)
    ),
    "no permission to remove": Case(
        without("DELETE"), "remove", FAIL, "no-permission", ("storage.objects.delete",)
    ),
    "lost preconditions": Case(
        with_lost_preconditions,
        *("sessions", FAIL, "completion-not-conditional"),
        ("ifGenerationMatch",),
    ),
    "uploads that outlast their sessions": Case(
        with_options(upload_expires=30 * 24 * 3600),
        *("lifetime", WARN, "uploads-outlast-sessions"),
        ("attach_upload_expires",),
    ),
    "no CORS rule": Case(
        lambda ward: ward.storage_of(), "cors", FAIL, "origin-refused", ("rex attach cors",)
    ),
    "a CORS rule without the headers of links": Case(
        with_rules(cors=[{"origin": [SITE], "method": ["GET", "PUT", "POST"]}]),
        *("cors", FAIL, "origin-refused"),
        ("may not use the links",),
    ),
    "soft delete": Case(
        with_rules(softDeletePolicy={"retentionDurationSeconds": "604800"}),
        *("versions", WARN, "versions-kept"),
        ("for 7 days", "--clear-soft-delete"),
    ),
    "versions": Case(
        with_rules(versioning={"enabled": True}),
        *("versions", WARN, "versions-kept"),
        ("--noncurrent",),
    ),
}


def told(found: Check) -> str:
    """Give all that a finding says."""
    return "\n".join((found.step, found.code, found.text, *found.advice, found.storage))


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named(name: str, ward: Ward) -> None:
    """In the step where it belongs, with what to change; later steps are skipped."""
    case = CASES[name]
    with case.stage(ward) as storage:
        findings = [*diagnose(storage, [SITE] if case.step == "cors" else ())]
    (found,) = (each for each in findings if each.step == case.step)
    shown = "\n".join(map(told, findings))
    assert (case.verdict, case.code) == (found.verdict, found.code), shown
    assert [] == [word for word in case.words if word not in told(found)], told(found)
    assert "PRIVATE KEY" not in shown
    if case.verdict is FAIL:
        failed = {each.step for each in findings if each.verdict is FAIL} - {"clean-up"}
        assert {case.step} == failed, shown


def test_a_bucket_that_is_set_up_rightly_is_fine(ward: Ward) -> None:
    """Every step is taken, and there is nothing to say; nothing is left."""
    with ward.storage_of(prefix="some/folder") as storage:
        storage.cors.allow([SITE])
        findings = [*diagnose(storage, [SITE])]
    assert {OK} == {found.verdict for found in findings}, "\n".join(map(told, findings))
    assert {} == ward.fake.objects


def test_the_start_up_check_names_the_setting(ward: Ward) -> None:
    """As the doctor does."""
    for options, setting in (
        ({"bucket": "missing"}, "attach_gcs_bucket"),
        ({"endpoint": refused_address()}, "attach_gcs_endpoint"),
    ):
        with pytest.raises(Error) as caught:
            ward.storage_of(**options).check()
        assert setting == caught.value.setting
    with with_another_key(ward) as storage, pytest.raises(Error) as caught:
        storage.check()
    assert "attach_gcs_key" == caught.value.setting
