"""Why a link is refused: each link is broken on purpose, and answered by a real SeaweedFS."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attach import refused
from attach.harnesses import LocalHarness
from attach.refused import BROKEN, Refused, ask, storage_on
from attach.s3_storage import s3_storage
from attach.service import Service
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.explain import Certainty, Explanation, Reason, explain
from rex.attach.links.sigv4 import Credentials, canonical_request, presign_url
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

KEYS = Credentials("AKIACANARYCANARY0000", "canary-secret-key")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
URL = "https://s3.example.org/bucket/2026/a.txt"


def text_of(explanation: Explanation) -> str:
    """Return all that the reasons say."""
    return "".join(text for each in explanation.reasons for text in dataclasses.astuple(each)[1:])


def told(case: Refused, storage: Storage | None = None) -> list[Reason]:
    """Explain; see that nothing secret is told."""
    explanation = explain(
        case.link,
        response=case.response,
        storage=storage,
        method=case.method,
        headers=case.headers,
    )
    assert explanation.is_refused
    for secret in secrets_of(case.link):
        assert secret not in str(explanation)
    return explanation.reasons


def secrets_of(link: str) -> list[str]:
    """Give what stands in a link, or the JSON of one, and must not be shown."""
    text = link.replace("&amp;", "&").replace('"', "&").replace(": &", "=").replace("%25", "%")
    names = ("X-Amz-Signature=", "X-Amz-Security-Token=", "x-amz-signature&=", "policy&=")
    found = [text.partition(name)[2].partition("&")[0] for name in names]
    found.append(text.partition("redential=")[2].partition("%2F")[0])
    return [secret for secret in found if len(secret) > 3]


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda break_it: break_it.__name__)
def test_each_broken_link_is_explained(
    break_it: Callable[[SeaweedFS], Refused], seaweedfs: SeaweedFS
) -> None:
    """From what the server answers alone, and then with the settings, the surest reason first."""
    without, with_settings = BROKEN[break_it]
    case = break_it(seaweedfs)
    reasons = told(case)
    assert without in [each.code for each in reasons]
    assert all(all(dataclasses.astuple(each)[:-1]) for each in reasons)
    first, *_ = told(case, storage_on(seaweedfs))
    assert (with_settings or without) == first.code


@pytest.mark.parametrize(
    "break_it",
    [
        refused.expired,
        refused.expired_form,
        refused.html,
        refused.cut_by_a_shell,
        refused.cut_at_its_end,
        refused.missing_type,
        refused.other_method,
        refused.added_parameter,
        refused.other_host,
        refused.exists_already,
    ],
    ids=lambda break_it: break_it.__name__,
)
def test_what_is_clear_is_told_alone(
    break_it: Callable[[SeaweedFS], Refused], seaweedfs: SeaweedFS
) -> None:
    """Without what the answer might mean otherwise."""
    (reason,) = told(break_it(seaweedfs), storage_on(seaweedfs))
    assert Certainty.CERTAIN is reason.certainty


@pytest.mark.parametrize("changed", ["region", "bucket", "access_key", "public_endpoint"])
def test_what_differs_from_the_settings_is_told(seaweedfs: SeaweedFS, changed: str) -> None:
    """A region does not matter to SeaweedFS, so it answers that there is no such attachment."""
    other = {
        "region": "eu-west-1",
        "bucket": "elsewhere",
        "access_key": "AKIACANARYCANARY1111",
        "public_endpoint": "https://files.example.org",
    }[changed]
    storage = storage_on(seaweedfs)
    url = storage.download_link(storage.reserve("a.txt")).url
    explanation = explain(
        url, response=ask("GET", url), storage=storage_on(seaweedfs, **{changed: other})
    )
    (found,) = (each for each in explanation.reasons if each.certainty is Certainty.LIKELY)
    codes = {"region": "wrong-region", "access_key": "other-access-key", "bucket": "other-bucket"}
    assert codes.get(changed, "other-host") == found.code
    shown = "AKIA..." if changed == "access_key" else other
    assert shown.removeprefix("https://") in found.evidence
    assert "AKIACANARYCANARY1111" not in str(explanation)


def test_nothing_is_wrong_with_a_link_that_works(seaweedfs: SeaweedFS) -> None:
    """Of each kind, as it stands and with what the server answers."""
    storage = storage_on(seaweedfs)
    handle = storage.add("scan.png", b"content")
    new = storage.reserve("scan.png")
    parts = storage.multipart
    upload = parts.create(new)
    try:
        links = [
            storage.download_link(handle),
            storage.upload_link(new),
            storage.upload_link(new, method="PUT"),
            storage.upload_link(new, method="PUT", content_type="image/webp"),
            parts.create_link(new),
            parts.link(new, upload, 1),
            parts.parts_link(new, upload),
            parts.complete_link(new, upload),
            parts.abort_link(new, upload),
        ]
        for link in links:
            for text in (json.dumps(link.as_dict()), *([] if link.fields else [link.url])):
                found = explain(text, storage=storage)
                assert ([], False) == (found.reasons, found.is_refused)
            asked = explain(json.dumps(link.as_dict()), storage=storage, method=link.method)
            assert [] == asked.reasons
            assert "the signature, with the secret key of the settings" in asked.checked
        url = links[0].url
        found = explain(url, response=ask("GET", url), storage=storage, method="GET")
        assert ([], False) == (found.reasons, found.is_refused)
    finally:
        parts.abort(new, upload)
        storage.remove(handle)


def test_a_link_of_either_storage_is_compared_with_its_own(seaweedfs: SeaweedFS) -> None:
    """While attachments move, links to the older storage are right, too."""
    old = storage_on(seaweedfs, bucket="older")
    both = FallbackStorage(storage_on(seaweedfs), old)
    found = explain(old.download_link(old.reserve("a.txt")).url, storage=both)
    assert [] == found.reasons


# What AWS answers and SeaweedFS does not, in the words of its documentation.


def link(**changes: Any) -> str:
    """Sign a link as for AWS."""
    options: dict[str, Any] = {
        "credentials": KEYS,
        "region": "us-east-1",
        "expires": 600,
        "now": NOW,
        **changes,
    }
    return presign_url(options.pop("method", "GET"), URL, **options)


def error(code: str, message: str = "", **elements: str) -> bytes:
    """Write an error as AWS does."""
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in elements.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{inner}</Error>"
    ).encode()


def mismatch(method: str, url: str = URL, query: str = "", **headers: str) -> bytes:
    """Write AWS's SignatureDoesNotMatch, with the request that it saw."""
    host = headers.pop("host", "s3.example.org")
    named = {"host": host, **{name.replace("_", "-"): headers[name] for name in headers}}
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("&") if p)]
    path = "/" + url.partition("://")[2].partition("/")[2]
    text = canonical_request(method, path, pairs, named)
    lines = text.split("\n")
    lines[2] = query.replace("&", "&amp;")
    return error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
        AWSAccessKeyId=KEYS.access_key,
        SignatureProvided="0" * 64,
        StringToSign="AWS4-HMAC-SHA256\n20260301T120000Z\n20260301/us-east-1/s3/aws4_request\n0",
        CanonicalRequest="\n".join(lines),
    )


def query_of(url: str) -> str:
    """Give the query of a link without its signature."""
    return url.partition("?")[2].partition("&X-Amz-Signature")[0]


PLAIN = link()
UPLOAD = link(method="PUT", headers={"Content-Type": "image/png", "If-None-Match": "*"})
TEMPORARY = link(credentials=KEYS._replace(access_key="ASIACANARYCANARY0000", session_token="a+b="))

AWS = {
    "expired": (
        PLAIN,
        error("AccessDenied", "Request has expired", ServerTime="2026-03-01T13:00:00Z"),
        "clock-ahead",
    ),
    "skewed": (
        PLAIN,
        error("RequestTimeTooSkewed", "The difference between the request time and", ServerTime=""),
        "clock-skew",
    ),
    "not yet": (
        link(now=NOW + timedelta(hours=2)),
        error("AccessDenied", "Request is not yet valid"),
        "clock-skew",
    ),
    "redirect": (
        PLAIN,
        error("PermanentRedirect", "The bucket you are", Endpoint="b.s3-eu-west-1.amazonaws.com"),
        "other-address",
    ),
    "region": (
        PLAIN,
        b"HTTP/1.1 301 Moved\nx-amz-bucket-region: eu-west-1\n\n" + error("PermanentRedirect"),
        "wrong-region",
    ),
    "region in words": (
        PLAIN,
        error("AuthorizationHeaderMalformed", "the region 'x' is wrong; expecting 'eu-west-1'"),
        "wrong-region",
    ),
    "expired keys": (
        TEMPORARY,
        error("ExpiredToken", "The provided token has expired.", **{"Token-0": "a+b="}),
        "credentials-expired",
    ),
    "wrong token": (
        TEMPORARY,
        error("InvalidToken", "The provided token is malformed or otherwise invalid."),
        "wrong-session-token",
    ),
    "headers": (
        UPLOAD,
        error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned="x-amz-acl",
        ),
        "header-added",
    ),
    "two permissions": (
        PLAIN,
        error("InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm"),
        "authorization-sent",
    ),
    "other host": (
        PLAIN,
        mismatch("GET", query=query_of(PLAIN), host="s3.internal"),
        "host-changed",
    ),
    "other path": (
        PLAIN,
        mismatch("GET", URL.replace("a.txt", "b.txt"), query_of(PLAIN)),
        "path-rewritten",
    ),
    "other parameter": (
        PLAIN,
        mismatch("GET", query=f"{query_of(PLAIN)}&x-id=GetObject"),
        "parameter-rewritten",
    ),
    "other method": (
        UPLOAD,
        mismatch("GET", query=query_of(UPLOAD), content_type="image/png", if_none_match="*"),
        "wrong-method",
    ),
    "no type": (
        UPLOAD,
        mismatch("PUT", query=query_of(UPLOAD), content_type="", if_none_match="*"),
        "header-missing",
    ),
    "all the same": (
        PLAIN,
        mismatch("GET", query=query_of(PLAIN)),
        "wrong-secret-key",
    ),
    "field": (
        PLAIN,
        error(
            "AccessDenied",
            "Invalid according to Policy: Policy Condition failed: [&quot;eq&quot;, "
            "&quot;$key&quot;, &quot;a.txt&quot;]",
        ),
        "policy-failed",
    ),
    "too small": (
        PLAIN,
        error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"),
        "too-small",
    ),
}


@pytest.mark.parametrize("name", AWS)
def test_the_documented_answers_of_aws_are_understood(name: str) -> None:
    """SeaweedFS gives none of them; these are written after AWS's error responses."""
    url, response, reason = AWS[name]
    found = explain(url, response=response, now=NOW + timedelta(minutes=1))
    assert reason == found.reasons[0].code
    for secret in (*secrets_of(url), "a+b=", "0" * 64):
        assert secret not in str(found)


def test_clocks_are_compared() -> None:
    """A link that was signed in the future, or has expired since, needs no answer."""
    (early,) = explain(link(now=NOW + timedelta(hours=1)), now=NOW).reasons
    assert "signed-in-future" == early.code
    assert "signed at 2026-03-01 13:00:00Z; local time 2026-03-01 12:00:00Z" == early.evidence
    (late,) = explain(PLAIN, now=NOW + timedelta(hours=1)).reasons
    assert (Certainty.CERTAIN, "link-expired") == (late.certainty, late.code)
    assert [] == explain(PLAIN, now=NOW).reasons


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda url: f" {url}\n", "wrapped"),
        (lambda url: f"<{url}>", "wrapped"),
        (lambda url: url[:90] + "\n" + url[90:], "broken"),
        (lambda url: url.replace("&", "\\u0026"), "from-json"),
        (lambda url: url.replace("&", "\\&"), "escaped"),
        (lambda url: quote(url, safe=""), "encoded-whole"),
        (lambda url: url.replace("a%2Bb", "a b"), "decoded"),
        (lambda url: url.replace("a%2Bb", "a+b"), "decoded"),
        (lambda url: f"{url},and", "end-changed"),
        (lambda url: url.partition("?")[0], "unsigned"),
        (lambda url: f"{url}&X-Amz-Expires=600", "parameter-repeated"),
        (lambda url: url.replace("Expires=600", "Expires=700000"), "too-long-lived"),
        (lambda url: url.replace("Date=2026", "Date=2O26"), "signature-changed"),
    ],
)
def test_what_copying_does_is_told(damage: Callable[[str], str], reason: str) -> None:
    """And undone, so that nothing else is found."""
    found = explain(damage(TEMPORARY), now=NOW)
    assert [reason] == [each.code for each in found.reasons]


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"url": 1}', "[" * 100000, "file:///a"])
def test_what_is_no_link_is_refused(text: str) -> None:
    """Without showing it."""
    with pytest.raises(Error) as caught:
        explain(text)
    assert Kind.ILL_FORMED is caught.value.kind
    assert not text or text not in str(caught.value)


# The service.


@pytest.fixture(scope="module")
def served() -> Iterator[Storage]:
    """Give a directory whose links a real service answers."""
    with Service() as service, LocalHarness(service).storage() as storage:
        yield storage


def test_links_of_the_service_are_explained(served: Storage) -> None:
    """Expired, changed, for another method, signed elsewhere; the service's own answers."""
    handle = served.add("scan.png", b"content")
    new = served.reserve("scan.png")
    download = served.download_link(handle).url
    upload = served.upload_link(new, method="PUT")
    form = served.upload_link(new)
    old = served.tokens.sign("link GET", {"key": handle[1:]}, expires=1)
    typeless = {"If-None-Match": "*"}
    forged = download[:-1] + ("A" if download[-1] != "A" else "B")
    changed = json.dumps({**form.as_dict(), "fields": {**form.fields, "key": "other"}})
    again = Refused(upload.url, b"", "PUT", upload.headers)
    assert ask("PUT", upload.url, upload.headers, b"x").startswith(b"HTTP/1.1 201")
    cases = {
        "link-expired": Refused(f"{download.partition('=')[0]}={old}", b"", "GET"),
        "path-changed": Refused(download.replace("scan", "b"), b"", "GET"),
        "parameter-added": Refused(f"{download}&utm=1", b"", "GET"),
        "wrong-method": Refused(upload.url, b"", "GET"),
        "other-secret": Refused(forged, b"", "GET"),
        "header-missing": Refused(upload.url, b"", "PUT", typeless),
        "exists": again,
        "end-changed": Refused(f"{download}.", b"", "GET"),
    }
    try:
        for reason, case in cases.items():
            answer = ask(str(case.method), case.link, case.headers, b"x")
            (first, *_) = told(case._replace(response=answer), served)
            found = [each.code for each in told(case._replace(response=answer), served)]
            assert reason in found, (reason, found, answer)
            token = case.link.partition("token=")[2].partition("&")[0]
            assert token not in str(first)
        assert [] == explain(download, storage=served, method="GET").reasons
        assert [] == explain(json.dumps(form.as_dict()), storage=served).reasons
        (field,) = explain(changed, storage=served).reasons
        assert "field-changed" == field.code
        address = form.url.removesuffix("/")
        assert [] == explain(form.url, storage=served, method="POST").reasons
        for damaged, reason in {
            address: "path-changed",
            address[:-1]: "cut-off",
            f"{address}x/": "end-changed",
            f"{form.url}?utm=1": "parameter-added",
            address[:-1] + ("A" if address[-1] != "A" else "B") + "/": "other-secret",
        }.items():
            (surest, *_) = explain(damaged, storage=served).reasons
            assert reason == surest.code, damaged
            assert address.rpartition("/")[2] not in str((surest, field))
    finally:
        served.remove(handle)
        served.remove(new)


# Nothing secret, whatever comes.


def aws_storage() -> S3Storage:
    """Give a storage at AWS, which is never asked."""
    return s3_storage(
        "bucket",
        endpoint="https://s3.example.org",
        access_key=KEYS.access_key,
        secret_key=KEYS.secret_key,
    )


def hostile_answers() -> dict[str, bytes]:
    """Give answers that want to be shown, or to be worked on for ever."""
    signature = PLAIN.rpartition("=")[2]
    bomb = '<!DOCTYPE a [<!ENTITY b "c">' + "".join(
        f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 50)
    )
    return {
        "an echo": error("SignatureDoesNotMatch", f"{PLAIN} {signature} {KEYS.access_key}"),
        "a code": error(signature, signature),
        "a signature": error("NoSuchKey", f"no {signature}!"),
        "many signatures": error("NoSuchKey", f"{signature},{signature}"),
        "another signature": error("NoSuchKey", "x" + "0123456789abcdef" * 4),
        "a key": error("InvalidAccessKeyId", f"{KEYS.access_key} and ASIACANARYCANARY0000"),
        "a session token": error("ExpiredToken", f"a+b= or {quote('a+b=', safe='')}"),
        "unsigned": error("AccessDenied", "headers present not signed", HeadersNotSigned=signature),
        "an endpoint": error("PermanentRedirect", Endpoint=signature),
        "a region": error("PermanentRedirect", Region=signature, Endpoint=signature),
        "an encoded echo": error("NoSuchKey", base64.b64encode(signature.encode()).decode()),
        "a bomb": f"{bomb}]><Error><Code>&b49;</Code><Message>&b49;</Message></Error>".encode(),
        "no UTF-8": b"\xff\xfe" + error("AccessDenied", "\x1b[31m\0\x07red"),
        "controls": error("SignatureDoesNotMatch", CanonicalRequest="\x1b[2J\n" * 10),
        "no end": b"<Message>" * 7281,
        "huge": error("NoSuchKey") + b" " * 10_000_000,
        "many heads": b"HTTP/1.1 403 x\n\n" * 5000,
        "half a head": b"HTTP/1.1 403 x\n" + b"a: b\n" * 20000,
        "deep": b"[" * 60000,
        "deep problem": b'{"a":' * 20000,
        "no answer": b"",
        "a problem": json.dumps({"status": 403, "detail": f"\x1b[31m{signature}"}).encode(),
        "numbers": json.dumps({"status": "403", "detail": [1]}).encode(),
        "dates": b"HTTP/1.1 403 x\nDate: Mon, 99 Foo 99999 99:99:99\n\n" + error("X"),
        "a time": error("RequestTimeTooSkewed", ServerTime="0001-01-01T00:00:00+14:00"),
    }


@pytest.mark.parametrize("name", hostile_answers())
def test_hostile_answers_show_nothing(name: str) -> None:
    """No secret, no control character, not at length, and no entity is expanded."""
    response = hostile_answers()[name]
    for url in (PLAIN, UPLOAD, TEMPORARY):
        found = explain(url, response=response, now=NOW)
        text = "".join(
            itertools.chain.from_iterable(dataclasses.astuple(each)[1:] for each in found.reasons)
        )
        assert text.isprintable()
        assert len(text) < 5000
        for secret in (*secrets_of(url), *secrets_of(PLAIN), url):
            assert secret not in text
            assert base64.b64encode(secret.encode()).decode() not in text


def test_a_link_that_repeats_its_secrets_shows_nothing() -> None:
    """In its host, its path or the names of its parameters."""
    signature = PLAIN.rpartition("=")[2]
    for text in (
        PLAIN.replace("bucket", signature),
        PLAIN.replace("s3.example.org", f"{signature}.example.org"),
        f"{PLAIN}&{signature}=1&{signature}=2",
        f"{signature}://{signature}?{signature}",
        PLAIN.replace("https://", f"https://{KEYS.access_key}:{signature}@"),
        PLAIN.replace("us-east-1", signature),
    ):
        with contextlib.suppress(Error):
            for answer in (None, mismatch("GET", f"https://x/{signature}", f"{signature}=1")):
                found = explain(text, response=answer, now=NOW, storage=aws_storage())
                assert signature not in str(found)
                assert KEYS.access_key not in str(found)


def test_no_more_than_64_kib_of_an_answer_are_read() -> None:
    """What stands behind is not looked at."""
    assert explain(PLAIN, response=b" " * 65000 + error("NoSuchKey"), now=NOW).reasons
    assert [] == explain(PLAIN, response=b" " * 65536 + error("NoSuchKey"), now=NOW).reasons


@given(st.text(max_size=50), st.text(max_size=200), st.binary(max_size=300))
def test_any_link_is_explained(host: str, query: str, response: bytes) -> None:
    """Whatever stands in it: there is an explanation, or it is no link."""
    for text in (f"https://{host}/{query}", f"{PLAIN}{query}", f"{PLAIN.replace('60', query)}"):
        with contextlib.suppress(Error):  # that it is no link
            found = explain(text, response=response, now=NOW)
            shown = "".join(
                itertools.chain.from_iterable(
                    dataclasses.astuple(each)[1:] for each in found.reasons
                )
            )
            assert shown.isprintable()
            assert PLAIN.rpartition("=")[2] not in shown


@given(
    st.dictionaries(st.text(max_size=20), st.text(max_size=100), min_size=1, max_size=5),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.text(max_size=9),
)
def test_any_form_is_explained(fields: dict[str, str], policy: object, method: str) -> None:
    """Whatever its policy says."""
    document = json.dumps({"expiration": policy, "conditions": policy}).encode()
    fields |= {"policy": base64.b64encode(document).decode(), "x-amz-signature": "f" * 64}
    text = json.dumps({"url": "https://s3.example.org/b/", "fields": fields, "method": method})
    found = explain(text, now=NOW, method=method, headers={method: method})
    shown = "".join(
        itertools.chain.from_iterable(dataclasses.astuple(each)[1:] for each in found.reasons)
    )
    assert shown.isprintable()
    assert "f" * 64 not in shown


@pytest.mark.parametrize(
    "query",
    [
        "&" * 60000,
        "X-Amz-Signature=" * 4000,
        "&X-Amz-Signature=" * 3500,
        "X-Amz-Credential=%25" * 3000,
        "X-Amz-Security-Token=+" * 2700,
        "&token=a." * 7000,
        " " * 60000 + "x",
        "a=" + "\\" * 60000,
        "&a=b" * 15000,
    ],
)
def test_a_long_link_takes_no_long_time(query: str) -> None:
    """Within what a link may have; more is refused at once."""
    explain(f"https://s3.example.org/b/a?{query}", now=NOW)
    with pytest.raises(Error, match="at most 65536 characters"):
        explain(f"https://s3.example.org/b/a?{query}{query}" + "x" * 9000, now=NOW)
