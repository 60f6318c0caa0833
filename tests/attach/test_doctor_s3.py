"""Buckets that are set up wrongly, each in one way, and what the doctor says of them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import itertools
import os
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from attach.fake_server import (
    Answer,
    Relay,
    Request,
    fake_server,
    make_authority,
    refused_address,
)
from attach.harnesses import s3_client
from attach.proxy import Passing, proxy, refusing, with_host
from attach.s3_storage import s3_storage
from programs import PATIENCE
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3 import bucket as s3_bucket
from rex.attach.maintenance import Check, Verdict, diagnose, lifecycle
from rex.attach_demo.seaweedfs import READ_ONLY, SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rex.attach.backends.s3.storage import S3Storage

OK, WARN, FAIL, NOT_TRIED = Verdict
SITE = "https://pages.example.org"
FOLDER = "allowed"
SECRET = "canary/of+the/secret+key"
TOKEN = "canary.of.the.token=="
BUCKETS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[SeaweedFS]:
    """Run a server that lets no site in by itself, with users who may do less than all."""
    identities = {
        "reader": READ_ONLY,
        "writer": ("Read", "Write"),
        "blind": ("Write", "List"),
        "guest": ("Read", "List", f"Write:attachments/{FOLDER}/*"),
    }
    with SeaweedFS(identities=identities, origins="") as server:
        yield server


class Ward:
    """A bucket of its own, and how to open a storage in it."""

    def __init__(self, server: SeaweedFS, other: SeaweedFS, directory: Path) -> None:
        self.server = server
        self.other = other
        self.directory = directory
        self.client = s3_client(server.endpoint, server.access_key, server.secret_key)
        self.bucket = f"ward-{next(BUCKETS)}"
        server.create_bucket(self.bucket)
        self.storage_of().add("kept.txt", b"what was there before")

    def storage_of(self, identity: str = "admin", **options: Any) -> S3Storage:
        """Open the bucket as one of the users."""
        keys = self.server.credentials[identity]
        given: dict[str, Any] = {
            "bucket": self.bucket,
            "endpoint": self.server.endpoint,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "timeout": PATIENCE,
        }
        return s3_storage(**{**given, **options})

    def rules(self, **parts: list[str]) -> None:
        """Give the bucket a CORS rule that is not quite that which is needed."""
        needed = self.storage_of().cors.make_rule([SITE])
        self.storage_of()._bucket.control.set_cors([{**needed, **parts}])

    def contents(self) -> list[tuple[str, str]]:
        """Return all that is stored in the bucket, and all that is about to be."""
        objects = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        found = [(each["Key"], each["ETag"]) for each in objects]
        return sorted([*found, *((each["Key"], each["UploadId"]) for each in uploads)])


@pytest.fixture
def ward(server: SeaweedFS, seaweedfs: SeaweedFS, tmp_path: Path) -> Iterator[Ward]:
    """Give a bucket; see afterwards that all is there as it was, and nothing else."""
    ward = Ward(server, seaweedfs, tmp_path)
    before = ward.contents()
    yield ward
    assert before == ward.contents()


Staged = Any
"""A context manager that gives a storage that is set up wrongly."""


class Case(NamedTuple):
    """What is wrong, and where the doctor must say so."""

    stage: Callable[[Ward], Staged]
    step: str
    words: tuple[str, ...]
    """What its text and advice must tell."""
    verdict: Verdict = FAIL
    also: tuple[str, ...] = ()
    """The other steps that are wrong for the same reason."""


def with_options(identity: str = "admin", **options: Any) -> Callable[[Ward], Staged]:
    """Open the bucket with other options."""
    return lambda ward: contextlib.nullcontext(ward.storage_of(identity, **options))


@contextlib.contextmanager
def fake_aws_in_another_region(ward: Ward) -> Iterator[S3Storage]:
    """SeaweedFS takes any region; this fake answers what AWS documents, whatever is asked."""

    def answer(request: Request) -> Answer:
        if "X-Amz-Credential" not in request.path and "Authorization" not in request.headers:
            return Answer(403, "<Error><Code>AccessDenied</Code></Error>")
        return Answer(
            400,
            "<Error><Code>AuthorizationQueryParametersError</Code><Message>Error parsing the "
            "X-Amz-Credential parameter; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
            "</Message><Region>eu-west-1</Region></Error>",
        )

    with fake_server(answer) as endpoint:
        yield ward.storage_of(endpoint=endpoint)


@contextlib.contextmanager
def fake_server_that_gave_out_keys(ward: Ward) -> Iterator[S3Storage]:
    """SeaweedFS gives out no temporary keys by itself; this fake finds them expired."""
    expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
    with fake_server(lambda _: Answer(400, f"{expired}</Error>")) as endpoint:
        yield ward.storage_of(endpoint=endpoint, session_token=TOKEN)


@contextlib.contextmanager
def fake_web_server(ward: Ward) -> Iterator[S3Storage]:
    """Something listens that is no S3 server."""
    with fake_server(lambda _: Answer(200, "<html>Welcome</html>")) as endpoint:
        yield ward.storage_of(endpoint=endpoint)


@contextlib.contextmanager
def fake_web_server_for_clients(ward: Ward) -> Iterator[S3Storage]:
    """Give clients the address of another program."""
    with fake_server(lambda _: Answer(404, "<html>Not found</html>")) as endpoint:
        yield ward.storage_of(public_endpoint=endpoint)


@contextlib.contextmanager
def unknown_authority(ward: Ward) -> Iterator[S3Storage]:
    """Have a certificate that nobody here trusts."""
    authority = make_authority(ward.directory)
    with Relay(ward.server.endpoint, authority.context) as relay:
        yield ward.storage_of(endpoint=relay.address)


def behind(
    change: Callable[..., Any], *, is_public: bool = True, **options: Any
) -> Callable[[Ward], Staged]:
    """Put a proxy before the server, for clients or for all."""

    @contextlib.contextmanager
    def stage(ward: Ward) -> Iterator[S3Storage]:
        with proxy(ward.server.endpoint, change) as address:
            option = "public_endpoint" if is_public else "endpoint"
            yield ward.storage_of(**{option: address}, **options)

    return stage


@contextlib.contextmanager
def behind_its_own_address(ward: Ward) -> Iterator[S3Storage]:
    """Give clients the address of a proxy that changes nothing."""
    with proxy(ward.server.endpoint, lambda asked: asked) as address:
        yield ward.storage_of(public_endpoint=address)


def with_rules(**parts: list[str]) -> Callable[[Ward], Staged]:
    """Give the bucket a rule that lacks something."""

    @contextlib.contextmanager
    def stage(ward: Ward) -> Iterator[S3Storage]:
        ward.rules(**parts)
        yield ward.storage_of()

    return stage


@contextlib.contextmanager
def folder_that_is_not_ours(ward: Ward) -> Iterator[S3Storage]:
    """Have keys that may write into another folder of the bucket."""
    yield ward.storage_of("guest", bucket=ward.server.bucket, prefix="other")


@contextlib.contextmanager
def another_s3_server(ward: Ward) -> Iterator[S3Storage]:
    """Give clients the address of a server that does not know our keys."""
    yield ward.storage_of(public_endpoint=ward.other.endpoint)


def second(method: str, status: int) -> Callable[[Passing], Passing | tuple[int, str]]:
    """Say that every second request is done, and do not do it."""
    numbers = itertools.count()

    def change(asked: Passing) -> Passing | tuple[int, str]:
        return (status, "") if asked.method == method and next(numbers) % 2 else asked

    return change


def not_looking_at(header: str, algorithm: str) -> Callable[[Passing], Passing | tuple[int, str]]:
    """Say that a body was stored whose checksum is another one, and do not store it."""

    def change(asked: Passing) -> Passing | tuple[int, str]:
        given = {name.lower(): value for name, value in asked.headers.items()}.get(header)
        right = base64.b64encode(hashlib.new(algorithm, asked.body).digest()).decode()
        if given in (None, right):
            return asked
        return 200, "<a/>"

    return change


@contextlib.contextmanager
def replacing_on_completion(ward: Ward) -> Iterator[S3Storage]:
    """Put a proxy before the server that drops the condition of completing an upload.

    The header is signed, so the proxy signs anew, as no proxy in production can.
    """

    def change(asked: Passing) -> Passing:
        if asked.method != "POST" or "uploadId=" not in asked.path:
            return asked
        kept = {
            name: value
            for name, value in asked.headers.items()
            if name.lower() in ("host", "content-type", "content-length")
        }
        request = AWSRequest("POST", ward.server.endpoint + asked.path, kept, asked.body)
        request.context["payload_signing_enabled"] = True
        keys = Credentials(ward.server.access_key, ward.server.secret_key)
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        return asked._replace(headers=dict(request.headers.items()))

    with proxy(ward.server.endpoint, change) as address:
        yield ward.storage_of(endpoint=address)


LINKS = ("post link", "put link", "get link")
CORS = f"$ rex attach cors --origin {SITE} --apply"
POLICY = '"Effect": "Allow", "Action": "{}", "Resource": "arn:aws:s3:::'

CASES = {
    "region": Case(
        fake_aws_in_another_region, "region", ("us-east-1", "attach_s3_region=eu-west-1")
    ),
    "unknown access key": Case(
        with_options(access_key="AKIAUNKNOWN"), "keys", ("attach_s3_access_key",)
    ),
    "wrong secret": Case(with_options(secret_key=SECRET), "keys", ("attach_s3_secret_key",)),
    "wrong token": Case(with_options(session_token=TOKEN), "keys", ("attach_s3_",)),
    "expired keys": Case(
        fake_server_that_gave_out_keys,
        "keys",
        ("attach_s3_session_token", "expired", "new credentials"),
    ),
    "no bucket": Case(
        with_options(bucket="no-such-bucket"),
        "bucket",
        ("attach_s3_bucket", "$ aws s3api create-bucket", "--bucket no-such-bucket"),
    ),
    "nobody": Case(
        with_options(endpoint=refused_address()),
        "endpoint",
        ("Connection refused", "attach_s3_endpoint"),
    ),
    "unknown host": Case(
        with_options(endpoint="http://s3.invalid:8333"), "endpoint", ("http://s3.invalid:8333",)
    ),
    "no S3 server": Case(fake_web_server, "endpoint", ("is not an S3 server", "console")),
    "unknown authority": Case(unknown_authority, "endpoint", ("certificate", "attach_s3_ca_file")),
    "authorities missing": Case(
        with_options(ca_file="/nowhere.pem"), "endpoint", ("/nowhere.pem", "attach_s3_ca_file")
    ),
    "addressing": Case(
        with_options(addressing="virtual"), "addressing", ("attach_s3_addressing=path",)
    ),
    "no CORS": Case(with_options(), "cors", (f"pages of {SITE} may not use the links", CORS)),
    "CORS for others": Case(
        with_rules(AllowedOrigins=["https://other.example"]), "cors", ("may not use", CORS)
    ),
    "CORS for reading": Case(
        with_rules(AllowedMethods=["GET", "HEAD"]), "cors", ("may not send PUT, POST, DELETE", CORS)
    ),
    "CORS without headers": Case(
        with_rules(AllowedHeaders=["content-type"]), "cors", ("may not use", CORS)
    ),
    "CORS without ETag": Case(with_rules(ExposeHeaders=["Location"]), "cors", ("ETag", CORS)),
    "not an origin": Case(with_options(), "cors", ("https://example.org",)),
    "read-only keys": Case(
        with_options("reader"),
        "write",
        ("s3:PutObject", POLICY.format("s3:PutObject")),
        also=("post link", "put link"),
    ),
    "may not list": Case(
        with_options("writer"), "list", ("s3:ListBucket", POLICY.format("s3:ListBucket"))
    ),
    "may not read": Case(
        with_options("blind"),
        "conditional write",
        ("s3:GetObject", POLICY.format("s3:GetObject")),
        also=("read", "range read", "info", "multipart", "get link", "remove"),
    ),
    "another folder": Case(
        folder_that_is_not_ours,
        "write",
        ('"arn:aws:s3:::attachments/other/*"',),
        also=("post link", "put link"),
    ),
    "POST blocked": Case(behind(refusing("POST", 403)), "post link", ("403", "must allow POST")),
    "large bodies blocked": Case(
        behind(refusing("POST", 413)), "post link", ("413", "client_max_body_size")
    ),
    "PUT blocked": Case(behind(refusing("PUT", 405)), "put link", ("405", "must allow PUT")),
    "a form too large is taken": Case(
        behind(second("POST", 204)),
        "post link",
        ("4097 bytes was accepted", "content-length-range"),
    ),
    "a PUT works twice": Case(
        behind(second("PUT", 200)), "put link", ("worked twice", "If-None-Match")
    ),
    "other bytes are given": Case(
        behind(refusing("GET", 200)), "get link", ("not the bytes that were stored",)
    ),
    "checksums of objects are not compared": Case(
        behind(not_looking_at("x-amz-checksum-sha256", "sha256"), is_public=False),
        "checksum",
        ("the server accepts a damaged object",),
        WARN,
    ),
    "checksums of parts are not compared": Case(
        behind(not_looking_at("content-md5", "md5"), is_public=False),
        "checksum",
        ("accepts a damaged part",),
        WARN,
    ),
    "no checksums are sent": Case(
        with_options(checksums=False), "checksum", ("attach_s3_checksums",), WARN
    ),
    "completing replaces": Case(
        replacing_on_completion, "conditional completion", ("replaces the earlier one",), WARN
    ),
    "public: nobody": Case(
        with_options(public_endpoint=refused_address()),
        "post link",
        ("cannot be reached", "attach_s3_public_endpoint"),
    ),
    "public: another program": Case(
        fake_web_server_for_clients,
        "post link",
        ("the response is not from an S3 server", "attach_s3_public_endpoint"),
        also=LINKS[1:],
    ),
    "public: another S3 server": Case(
        another_s3_server,
        "post link",
        ("a different S3 server", "attach_s3_public_endpoint"),
        also=LINKS[1:],
    ),
    "public: Host changed": Case(
        behind(with_host("inner.example:8333")),
        "get link",
        ("Host", "proxy_set_header Host $http_host;"),
        also=("put link",),
    ),
    "Host changed": Case(
        behind(with_host("inner.example:8333"), is_public=False),
        "keys",
        ("the secret key is right", "proxy_set_header Host $http_host;"),
    ),
}


def told(found: Check) -> str:
    """Give all that a finding says."""
    return "\n".join((found.step, found.text, *found.advice, found.storage))


def examined(ward: Ward, storage: S3Storage, *origins: str) -> list[Check]:
    """Examine; see that nothing secret is told."""
    with storage:
        findings = [*diagnose(storage, origins)]
    keys = storage._bucket.credentials()
    text = "\n".join(map(told, findings))
    given = (keys.secret_key, keys.session_token, keys.access_key, ward.server.secret_key)
    assert [] == [secret for secret in given if secret and secret in text]
    assert "X-Amz-Signature" not in text
    return findings


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named(name: str, ward: Ward) -> None:
    """In the step where it belongs, with what to change; other steps are fine or left out."""
    case = CASES[name]
    if case.step != "cors":
        ward.rules()
    with case.stage(ward) as storage:
        findings = examined(ward, storage, "example.org" if name == "not an origin" else SITE)
    (found,) = (each for each in findings if each.step == case.step)
    assert case.verdict is found.verdict, "\n".join(map(told, findings))
    assert [] == [word for word in case.words if word not in told(found)], told(found)
    expected = {case.step, *case.also} if case.verdict is FAIL else set()
    others = {each.step for each in findings if each.verdict is FAIL} - {"cors"}
    assert expected - {"cors"} == others, "\n".join(map(told, findings))


@pytest.mark.long
@pytest.mark.parametrize(("seconds", "verdict"), [(1200, FAIL), (-1200, FAIL), (60, WARN)])
def test_a_clock_that_is_wrong_is_named(
    seconds: int, verdict: Verdict, ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By how much, but for the time that the response of the server took; nothing else fails."""
    ward.rules()
    right, began = s3_bucket._now, time.monotonic()
    off = datetime.timedelta(seconds=seconds)
    monkeypatch.setattr(s3_bucket, "_now", lambda: right() + off)
    findings = examined(ward, ward.storage_of(), SITE)
    took = time.monotonic() - began
    (found,) = (each for each in findings if each.step == "clock")
    assert verdict is found.verdict, "\n".join(map(told, findings))
    shown = re.search(r"(\d+) s (ahead|behind)", found.text)
    assert shown is not None, found.text
    skew = int(shown[1]) * (1 if shown[2] == "ahead" else -1)
    assert seconds - 1 <= skew <= seconds + took + 2  # the server sends whole seconds
    assert "$ timedatectl" in told(found)
    assert {"clock"} >= {each.step for each in findings if each.verdict is FAIL} - {"cors"}


def test_a_bucket_that_is_set_up_rightly_is_fine(ward: Ward) -> None:
    """Every step is taken, and there is nothing to say."""
    ward.rules()
    findings = examined(ward, ward.storage_of(prefix="some/folder"), SITE)
    assert {OK} == {found.verdict for found in findings}, "\n".join(map(told, findings))
    assert [
        *("credentials", "endpoint", "clock", "region", "keys", "addressing", "bucket", "list"),
        *("write", "conditional write", "read", "range read", "info", "checksum", "multipart"),
        *("conditional completion", "versions"),
        *(*LINKS, "cors", "remove"),
    ] == [found.step for found in findings]


def test_links_by_a_proxy_that_passes_all_on_are_fine(ward: Ward) -> None:
    """What is signed for the address of the proxy arrives with its name."""
    with behind_its_own_address(ward) as storage:
        findings = examined(ward, storage)
    assert {OK} == {found.verdict for found in findings} - {NOT_TRIED}


def test_a_private_authority_that_is_given_is_fine(ward: Ward) -> None:
    """For the storage and for those who use its links."""
    authority = make_authority(ward.directory)
    with Relay(ward.server.endpoint, authority.context) as relay:
        storage = ward.storage_of(endpoint=relay.address, ca_file=str(authority.ca_file))
        findings = examined(ward, storage)
    assert {OK} == {found.verdict for found in findings} - {NOT_TRIED}, "\n".join(
        map(told, findings)
    )


def test_limited_sizes_leave_out_what_cannot_be(ward: Ward) -> None:
    """With a largest size there are no PUT links; less than it is stored."""
    findings = examined(ward, ward.storage_of(max_size=100))
    assert {"put link": NOT_TRIED, "cors": NOT_TRIED} == {
        found.step: found.verdict for found in findings if found.verdict is not OK
    }
    assert any("100 bytes stored" in found.text for found in findings)


@pytest.mark.long
@pytest.mark.again
def test_wherever_it_is_given_up_nothing_is_left(ward: Ward) -> None:
    """After each step in turn; the fixture looks at the bucket."""
    before = ward.contents()
    number = len([*diagnose(ward.storage_of(), [SITE])])
    for steps in range(number):
        with ward.storage_of() as storage:
            findings = diagnose(storage, [SITE])
            for _ in range(steps):
                next(findings)
            findings.close()
        assert before == ward.contents()


def test_an_older_bucket_may_be_read_only(ward: Ward) -> None:
    """Nothing new is stored there, so that is only a warning."""
    with FallbackStorage(MemoryStorage(), ward.storage_of("reader")) as storage:
        findings = [*diagnose(storage)]
    assert [] == [told(found) for found in findings if found.verdict is FAIL]
    assert ["write"] == [found.step for found in findings if found.verdict is WARN]


def test_keys_of_the_aws_chain_are_named(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they come from, or that there are none."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    first, *others = examined_without_keys(ward)
    assert ("credentials", FAIL) == (first.step, first.verdict)
    assert "attach_s3_access_key" in told(first)
    assert {NOT_TRIED} == {found.verdict for found in others}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ward.server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ward.server.secret_key)
    findings = examined_without_keys(ward)
    assert {OK, NOT_TRIED} == {found.verdict for found in findings}
    text = "\n".join(map(told, findings))
    assert "from the AWS chain (env)" in text
    assert ward.server.access_key[:4] in text
    assert ward.server.access_key not in text


def examined_without_keys(ward: Ward) -> list[Check]:
    """Examine the bucket with whatever keys there are."""
    with ward.storage_of(access_key=None, secret_key=None) as storage:
        return [*diagnose(storage)]


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "InvalidToken", "Odd"])
def test_a_fake_server_that_repeats_all_it_is_told_shows_no_secret(code: str, ward: Ward) -> None:
    """Whoever answers may be anyone: neither keys nor signatures come out, nor control codes."""

    def answer(request: Request) -> Answer:
        heard = f"{request.path} {request.headers.get('Authorization', '')}"
        error = f"<Error><Code>{code}</Code><Message>{heard}</Message></Error>"
        return Answer(403, error, {"Server": f"{ward.server.secret_key} \x1b[2J"})

    with fake_server(answer) as endpoint:
        findings = [*diagnose(ward.storage_of(endpoint=endpoint), [SITE])]
    text = "\n".join(map(told, findings))
    assert FAIL in {found.verdict for found in findings}
    assert ward.server.access_key not in text
    assert ward.server.secret_key not in text
    assert "\x1b" not in text
    assert not re.search("[0-9a-f]{64}", text)


def test_what_cannot_be_removed_is_told(ward: Ward) -> None:
    """With the permission that lacks, and the command that removes it later."""
    denied = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
    with proxy(ward.server.endpoint, refusing("DELETE", 403, denied)) as endpoint:
        findings = examined(ward, ward.storage_of(endpoint=endpoint))
    wrong = {found.step: told(found) for found in findings if found.verdict is FAIL}
    assert {"checksum", "multipart", "remove", "clean-up"} == set(wrong)
    assert POLICY.format("s3:AbortMultipartUpload") in wrong["checksum"]
    assert "remains" in wrong["checksum"]
    assert "remains" in wrong["multipart"]
    assert POLICY.format("s3:DeleteObject") in wrong["remove"]
    command = wrong["clean-up"].partition("$ rex attach rm --no-notify ")[2].split()
    with ward.storage_of() as storage:
        for handle in command:
            if handle.startswith("/"):
                storage.remove(handle)
        for upload in ward.client.list_multipart_uploads(Bucket=ward.bucket)["Uploads"]:
            storage._bucket.control.abort(upload["Key"], upload["UploadId"])
        for claim in storage._bucket.control.objects(".drafts/claims/"):
            storage._bucket.control.delete(claim.name)


def test_a_bucket_that_keeps_versions_is_a_warning(ward: Ward) -> None:
    """What is removed stays readable; a rule of ours removes it, and the server takes the rule."""
    name = f"versions-{next(BUCKETS)}"
    ward.server.create_bucket(name)
    client = s3_client(ward.server.endpoint, ward.server.access_key, ward.server.secret_key)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    storage = ward.storage_of(bucket=name)
    findings = {found.step: found for found in examined(ward, storage)}
    assert WARN is findings["versions"].verdict
    assert "--noncurrent" in told(findings["versions"])
    rules = [*lifecycle(storage, noncurrent=36 * 3600)]
    assert {"NoncurrentDays": 2} == rules[0]["NoncurrentVersionExpiration"]
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    handle = storage.add("a.txt", b"secret")
    storage.remove(handle)
    versions = client.list_object_versions(Bucket=name, Prefix=handle[1:])["Versions"]
    assert [handle[1:]] == [version["Key"] for version in versions]
