"""Why a link is refused: links broken on purpose, the real server's answers, the right reason."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from attach.service import Service
from rex.attach.signing.sigv4 import Credentials, presign_url
from rex.attach.storages.local import LocalStorage
from rex.attach.tasks import Certainty, explain
from rex.core import Error, Kind
from served import BIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from rex.attach.storages.s3 import S3Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

SECRETS = ("canary-secret-key", "canary-session-token")
LIMIT = 1000
NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


class Broken(NamedTuple):
    """A link as a client used it, and what the server answered."""

    url: str
    answer: requests.Response
    method: str | None = None
    headers: Mapping[str, str] | None = None
    fields: dict[str, str] | None = None


def raw(answer: requests.Response) -> bytes:
    """Give an answer as `curl -i` prints it."""
    lines = [f"HTTP/1.1 {answer.status_code} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + answer.content


@pytest.fixture
def bucket(s3: S3Storage) -> S3Storage:
    """Give a storage on S3 with a limit for forms."""
    s3.add("kept.txt", b"kept")
    return s3


def signed(storage: S3Storage, method: str = "GET", **changes: Any) -> str:
    """Sign a link to the attachment that is kept, with something else than the settings."""
    [handle] = storage
    options: dict[str, Any] = {
        "credentials": storage._credentials(),
        "region": storage.region,
        "expires": 600,
        "now": datetime.datetime.now(datetime.UTC),
        **changes,
    }
    url = f"{options.pop('bucket_url', storage._bucket_url)}/{storage._path(handle[1:])}"
    return presign_url(method, options.pop("url", url), **options)


def ask(method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any) -> Broken:
    """Use a link."""
    answer = requests.request(method, url, headers=headers, timeout=60, **options)
    return Broken(url, answer, method, headers)


def posted(
    storage: S3Storage, content: bytes = b"x", changes: dict[str, str | None] | None = None
) -> Broken:
    """Use a form with other fields; those that are None are left out."""
    link = storage.upload_link(storage.reserve("a.txt"), max_size=LIMIT)
    given: dict[str, Any] = {**link.fields, **(changes or {})}
    fields = {name: value for name, value in given.items() if value is not None}
    answer = requests.post(link.url, data=fields, files={"file": content}, timeout=60)
    return Broken(link.url, answer, fields=fields)


def put(storage: S3Storage, *without: str, times: int = 1) -> Broken:
    """Use a link to upload without some of its headers."""
    link = storage.upload_link(storage.reserve("a.txt"), method="PUT")
    headers = {name: link.headers[name] for name in link.headers if name.lower() not in without}
    for _ in range(times):
        broken = ask("PUT", link.url, headers, data=b"x")
    return broken


def keys(storage: S3Storage, **changes: Any) -> Credentials:
    """Give the keys of a storage with something changed."""
    return storage._credentials()._replace(**changes)


def expired(storage: S3Storage) -> Broken:
    """Use a link of yesterday."""
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return ask("GET", signed(storage, now=now))


def other_host(storage: S3Storage) -> Broken:
    """Use a link at another address of the same server."""
    return ask("GET", signed(storage).replace("127.0.0.1", "localhost"))


def wrong_access_key(storage: S3Storage) -> Broken:
    """Use a link of a key that the server does not know."""
    return ask("GET", signed(storage, credentials=keys(storage, access_key="AKIANOBODYKNOWS")))


def wrong_secret(storage: S3Storage) -> Broken:
    """Use a link signed with another secret."""
    return ask("GET", signed(storage, credentials=keys(storage, secret_key=SECRETS[0])))


def temporary_keys(storage: S3Storage) -> Broken:
    """Use a link with a session token that nobody has given out."""
    credentials = keys(storage, access_key="ASIANOBODYKNOWS", session_token=SECRETS[1])
    return ask("GET", signed(storage, credentials=credentials))


def no_bucket(storage: S3Storage) -> Broken:
    """Use a link to a bucket that does not exist."""
    return ask("GET", signed(storage, bucket_url=f"{storage.endpoint}/nowhere"))


def cut_off(storage: S3Storage) -> Broken:
    """Use a link that a shell has cut at its first &."""
    return ask("GET", signed(storage).partition("&")[0])


UNLIKE = "not that of our secret key"
TYPE, CONDITION = "content-type", "if-none-match"

ON_THE_SERVER: dict[str, tuple[Callable[[S3Storage], Broken], str]] = {
    "expired": (expired, "has expired"),
    "host": (other_host, "The host is not the one"),
    "changed field": (
        lambda s: posted(s, changes={"Content-Type": "text/html"}),
        "Content-Type of the form was changed",
    ),
    "changed key": (
        lambda s: posted(s, changes={"key": "2026/elsewhere.txt"}),
        "key of the form was changed",
    ),
    "missing field": (
        lambda s: posted(s, changes={"Content-Type": None}),
        "Content-Type of the form is missing",
    ),
    "added field": (
        lambda s: posted(s, changes={"acl": "public-read"}),
        "acl of the form is not in its policy",
    ),
    "changed policy": (
        lambda s: posted(s, changes={"policy": "e30="}),
        "policy of the form cannot be read",
    ),
    "too large": (lambda s: posted(s, bytes(LIMIT + 1)), "larger than the link permits"),
    "missing type": (lambda s: put(s, TYPE), f"{TYPE} is signed, and was not sent"),
    "missing condition": (lambda s: put(s, CONDITION), f"{CONDITION} is signed, and was not sent"),
    "used twice": (lambda s: put(s, times=2), "an attachment already"),
    "other method": (lambda s: ask("PUT", signed(s), data=b"x"), "The link is for GET"),
    "HEAD": (lambda s: ask("DELETE", signed(s, "HEAD")), "The link is for HEAD"),
    "changed path": (lambda s: ask("GET", signed(s).replace("kept.txt", "other.txt")), UNLIKE),
    "changed query": (lambda s: ask("GET", signed(s) + "&versionId=1"), "A parameter was added"),
    "changed expiry": (lambda s: ask("GET", signed(s).replace("=600", "=900")), UNLIKE),
    "access key": (wrong_access_key, "another access key|does not know the access key"),
    "secret key": (wrong_secret, UNLIKE),
    "temporary keys": (temporary_keys, "another access key|access key|session token|temporary"),
    "bucket": (no_bucket, "another bucket|bucket does not exist"),
    "cut by a shell": (cut_off, "A part of the link is missing"),
    "HTML": (lambda s: ask("GET", signed(s).replace("&", "&amp;")), "copied out of HTML"),
    "encoded twice": (lambda s: ask("GET", signed(s).replace("%2F", "%252F")), "encoded twice"),
}


@pytest.mark.parametrize(
    ("make", "reason"),
    ON_THE_SERVER.values(),
    ids=[*ON_THE_SERVER],
)
def test_a_link_broken_on_purpose_is_explained(
    bucket: S3Storage, make: Callable[[S3Storage], Broken], reason: str
) -> None:
    """The server refuses it indeed, and the first reason is the right one; no secret is shown."""
    broken = make(bucket)
    assert broken.answer.status_code >= 400, broken.answer.text
    found = explain(
        broken.url,
        answer=raw(broken.answer),
        method=broken.method,
        headers=broken.headers,
        fields=broken.fields,
        storage=bucket,
    )
    first = found.reasons[0]
    assert any(each in first.reason for each in reason.split("|")), found
    shown = repr(found)
    credentials = bucket._credentials()
    for secret in (*SECRETS, credentials.secret_key, credentials.access_key):
        assert secret not in shown
    for name in ("X-Amz-Signature=", '"x-amz-signature": "'):
        signature = broken.url.partition(name)[2][:64]
        assert not signature or signature not in shown


def test_a_link_that_works_is_not_blamed(bucket: S3Storage) -> None:
    """Neither with the answer nor without; it says what was looked at."""
    broken = ask("GET", signed(bucket))
    assert broken.answer.ok
    for answer in (b"", raw(broken.answer)):
        found = explain(broken.url, answer=answer, method="GET", storage=bucket)
        assert [] == found.reasons
        assert "signature" in found.checked


def aws(code: str, message: str, more: str = "") -> bytes:
    """Write an error as Amazon S3 documents it."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>{message}</Message>{more}<RequestId>1</RequestId></Error>"
    ).encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (aws("AccessDenied", "Request has expired"), "has expired"),
        (aws("RequestTimeTooSkewed", "The difference is too large."), "clocks"),
        (
            aws(
                "AuthorizationQueryParametersError",
                "Error parsing the X-Amz-Credential parameter; the region 'us-east-1' is wrong; "
                "expecting 'eu-west-1'",
            ),
            "another region",
        ),
        (
            aws("PermanentRedirect", "Use the endpoint", "<Endpoint>b.s3.x.com</Endpoint>"),
            "another region",
        ),
        (aws("ExpiredToken", "The provided token has expired."), "temporary keys"),
        (aws("InvalidToken", "The provided token is malformed."), "session token"),
        (
            aws("AccessDenied", "There were headers present in the request which were not signed"),
            "not signed",
        ),
        (aws("AccessDenied", "Invalid according to Policy: Policy expired."), "has expired"),
        (
            aws("AccessDenied", "Invalid according to Policy: Extra input fields"),
            "of the form",
        ),
        (
            aws("AccessDenied", 'Invalid according to Policy: Policy Condition failed: ["eq"]'),
            "field of the form",
        ),
        (aws("InvalidAccessKeyId", "The AWS Access Key Id does not exist."), "access key"),
        (aws("NoSuchBucket", "The specified bucket does not exist"), "bucket does not exist"),
        (aws("NoSuchKey", "The specified key does not exist."), "no such attachment"),
        (aws("EntityTooSmall", "Your proposed upload is smaller"), "smaller"),
        (aws("AccessDenied", "Access Denied"), "do not permit"),
        (aws("SlowDown", "Please reduce your request rate."), "not at fault"),
        (b"HTTP/1.1 413 Too Large\r\nServer: nginx\r\n\r\n<html>too large</html>", "larger"),
        (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", "does not take this method"),
    ],
)
def test_what_aws_documents_is_explained(answer: bytes, reason: str) -> None:
    """Answers that were written after its documentation, since no such server is here."""
    link = presign_url(
        "GET",
        "https://b.s3.us-east-1.amazonaws.com/a.txt",
        credentials=Credentials("AKIDEXAMPLE", SECRETS[0]),
        region="us-east-1",
        expires=600,
        now=NOW,
    )
    reasons = explain(link, answer=answer, now=NOW).reasons
    assert any(reason in each.reason for each in reasons), reasons
    assert Certainty.POSSIBLE is not reasons[0].certainty


def test_what_aws_has_signed_tells_what_was_changed() -> None:
    """Its answer to a wrong signature has the request as it saw it."""
    link = presign_url(
        "PUT",
        "https://b.s3.us-east-1.amazonaws.com/a.txt",
        headers={"Content-Type": "text/plain"},
        credentials=Credentials("AKIDEXAMPLE", SECRETS[0]),
        region="us-east-1",
        expires=600,
        now=NOW,
    )
    lines = ["PUT", "/a.txt", "X-Amz-Algorithm=x", "content-type:", "host:inner:8333", ""]
    canonical = "\n".join([*lines, "content-type;host", "UNSIGNED-PAYLOAD"])
    more = f"<CanonicalRequest>{canonical}</CanonicalRequest>"
    answer = aws("SignatureDoesNotMatch", "The request signature we calculated differs", more)
    reasons = [each.reason for each in explain(link, answer=answer, now=NOW).reasons]
    assert "The server was asked with another host than the link has." in reasons
    assert "The header content-type was not sent." in reasons


def test_clocks_are_compared_with_that_of_the_answer() -> None:
    """A link from the future, and an answer of another time."""
    link = presign_url(
        "GET",
        "https://b.example.org/a.txt",
        credentials=Credentials("AKIDEXAMPLE", SECRETS[0]),
        region="us-east-1",
        expires=600,
        now=NOW + datetime.timedelta(minutes=20),
    )
    answer = b"HTTP/1.1 403 Forbidden\r\nDate: Sun, 01 Mar 2026 12:00:00 GMT\r\n\r\n"
    reasons = [each.reason for each in explain(link, answer=answer, now=NOW).reasons]
    assert "The clock of whoever signed it is ahead." == reasons[0]
    there = explain(link, answer=answer, now=NOW + datetime.timedelta(minutes=20)).reasons
    assert any("clock of this machine" in each.reason for each in there)


# Links of the service.


@pytest.fixture
def served(tmp_path: Path) -> Iterator[LocalStorage]:
    """Give a directory whose links a service answers."""
    with Service() as service, LocalStorage(tmp_path / "files") as storage:
        storage.check()
        storage.url = service.serve(storage)
        yield storage


def test_links_of_the_service_are_explained(served: LocalStorage, tmp_path: Path) -> None:
    """Changed, of another secret, for another method or path, with a header missing, used twice."""
    handle = served.add("a.txt", b"x")
    url = served.download_link(handle).url
    link = served.upload_link(served.reserve("b.txt"), method="PUT")
    other = LocalStorage(tmp_path / "other", url=served.url, secret=SECRETS[0] * 3)
    ask("PUT", link.url, link.headers, data=b"x")
    cases = [
        (ask("GET", url[:-1] + ("A" if url[-1] != "A" else "B")), "The token was changed"),
        (ask("GET", other.download_link(handle).url), "another secret"),
        (ask("PUT", url, data=b"x"), "The link is for GET"),
        (ask("GET", url.replace("a.txt", "c.txt")), "another attachment"),
        (ask("PUT", link.url, {"Content-Type": "text/plain"}, data=b"x"), "A header is missing"),
        (ask("PUT", link.url, link.headers, data=b"x"), "an attachment already"),
        (ask("GET", url.partition("?")[0]), "no signature"),
    ]
    for broken, reason in cases:
        assert broken.answer.status_code >= 400
        found = explain(broken.url, answer=raw(broken.answer), method=broken.method, storage=served)
        assert any(reason in each.reason for each in found.reasons), (reason, found)
        assert SECRETS[0] not in repr(found)
    assert [] == explain(url, method="GET", storage=served).reasons
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert "The link has expired." == explain(url, storage=served, now=late).reasons[0].reason


@given(st.text(max_size=400), st.binary(max_size=400))
def test_hostile_links_and_answers_are_only_looked_at(text: str, answer: bytes) -> None:
    """Whatever they are, there is an answer or an error, of one line each."""
    for url in (text, f"https://h/{text}?X-Amz-Signature={text}&token={text}"):
        try:
            found = explain(url, answer=answer, fields={"policy": text, "key": text})
        except Error as error:
            assert Kind.ILL_FORMED is error.kind  # noqa: PT017 - or none
            continue
        for each in found.reasons:
            assert f"{each.reason}{each.evidence}{each.change}".isprintable()


# The command.


def test_the_command_explains_for_people_and_for_scripts(
    bucket: S3Storage, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    """With the settings of the application, the answer from a pipe, and without showing secrets."""
    broken = expired(bucket)
    settings = {name.upper(): value for name, value in seaweedfs.settings().items()}
    settings["ATTACH_S3_PREFIX"] = bucket.prefix
    link = bucket.upload_link(bucket.reserve("a.txt"))
    (tmp_path / "link.json").write_text(
        json.dumps({**link.as_dict(), "fields": {**link.fields, "acl": "x"}})
    )

    def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [BIN / "rex", "attach", "explain", *arguments],
            input=given,
            capture_output=True,
            cwd=tmp_path,
            env={
                **settings,
                **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            },
            check=False,
        )
        for secret in (seaweedfs.secret_key, seaweedfs.access_key, broken.url[-64:]):
            assert secret.encode() not in done.stdout + done.stderr
        return done

    told = run(broken.url, "--response", "-", given=raw(broken.answer))
    assert (0, b"") == (told.returncode, told.stderr)
    assert told.stdout.startswith(
        b"certain: The link has expired.\n    because it ended 24 hours ago\n"
    )
    reasons = json.loads(run("-", "--json", given=broken.url.encode()).stdout)["reasons"]
    assert "The link has expired." == reasons[0]["reason"]
    form = run("--link", "link.json")
    assert b"acl of the form is not in its policy" in form.stdout
    fine = run(signed(bucket), "--method", "get")
    assert (3, True) == (fine.returncode, fine.stdout.startswith(b"Nothing wrong was found in: "))
    assert 2 == run().returncode
    assert 4 == run("nonsense").returncode
    (tmp_path / "link.json").write_text("[]")
    assert 4 == run("--link", "link.json").returncode
