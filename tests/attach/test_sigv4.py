"""The SigV4 signer against botocore's, byte for byte, over generated requests and policies."""

from __future__ import annotations

import base64
import copy
import json
import sys
import unicodedata
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import botocore.credentials
import botocore.session
import botocore.signers
import botocore.utils
import pytest
from botocore.awsrequest import AWSRequest
from botocore.endpoint_provider import EndpointProvider
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rex.attach.links.sigv4 import (
    MAX_EXPIRES,
    Credentials,
    encode_path,
    endpoint_for,
    presign_url,
    sign_policy,
)
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)
CREDENTIALS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


class Request(NamedTuple):
    """What `presign_url` takes, generated."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str]
    credentials: Credentials
    region: str
    expires: int
    now: datetime


class Form(NamedTuple):
    """What `sign_policy` takes, generated."""

    conditions: list[Any]
    fields: dict[str, str]
    credentials: Credentials
    region: str
    expires: int
    now: datetime


def ours(request: Request) -> str:
    """Sign with the signer under test."""
    method, url, *_ = request
    return presign_url(
        method,
        url,
        headers=request.headers,
        query=request.query,
        credentials=request.credentials,
        region=request.region,
        expires=request.expires,
        now=request.now,
    )


def botocores(request: Request) -> str:
    """Sign with S3SigV4QueryAuth."""
    message = AWSRequest(
        method=request.method, url=request.url, headers=request.headers, params=request.query
    )
    signer = botocore.auth.S3SigV4QueryAuth(
        oracle_credentials(request.credentials), "s3", request.region, expires=request.expires
    )
    with stopped_clock(request.now):
        signer.add_auth(message)
    return str(message.url)


def ours_of(form: Form) -> dict[str, str]:
    """Sign a policy with the signer under test."""
    return sign_policy(
        json.dumps([*form.conditions])[1:-1],
        form.fields,
        credentials=form.credentials,
        region=form.region,
        expires=form.expires,
        now=form.now,
    )


def botocores_of(form: Form) -> dict[str, str]:
    """Sign a policy with S3PostPresigner, which makes the expiry, and S3SigV4PostAuth."""
    signer = botocore.auth.S3SigV4PostAuth(oracle_credentials(form.credentials), "s3", form.region)
    request_signer = mock.Mock()
    request_signer.sign = lambda _operation, message, *_: signer.add_auth(message)
    url = "https://bucket.s3.amazonaws.com/"
    with stopped_clock(form.now):
        answer = botocore.signers.S3PostPresigner(request_signer).generate_presigned_post(
            {"method": "POST", "url": url, "headers": {}, "body": b"", "context": {}},
            fields=dict(form.fields),
            conditions=copy.deepcopy(form.conditions),
            expires_in=form.expires,
        )
    fields: dict[str, str] = answer["fields"]
    return fields


def oracle_credentials(credentials: Credentials) -> Any:
    """Return the same credentials as botocore wants them."""
    return botocore.credentials.Credentials(
        credentials.access_key, credentials.secret_key, credentials.session_token
    )


@contextmanager
def stopped_clock(now: datetime) -> Iterator[None]:
    """Stop botocore's clock, which its two modules look up in their own names."""
    stopped = now.astimezone(UTC).replace(tzinfo=None)
    with (
        mock.patch.object(botocore.auth, "get_current_datetime", return_value=stopped),
        mock.patch.object(botocore.signers, "get_current_datetime", return_value=stopped),
    ):
        yield


def s3_regions() -> list[str]:
    """Return every region that botocore's two tables know, without the names that are none."""
    loader = botocore.session.Session().get_component("data_loader")
    regions = {
        region
        for partition in loader.load_data("endpoints")["partitions"]
        for region in partition["services"].get("s3", {"endpoints": {}})["endpoints"]
    }
    for partition in loader.load_data("partitions")["partitions"]:
        regions.update(partition["regions"])
    return sorted(
        region
        for region in regions
        if not region.startswith("fips-") and not region.endswith("-global")
        # The old name of us-east-1's second entrance.
        if region != "s3-external-1"
    )


REGIONS = s3_regions()
NOT_SIGNED_BY_BOTOCORE = frozenset({"host", *botocore.auth.SIGNED_HEADERS_BLACKLIST})


def characters_by_category() -> dict[str, list[str]]:
    """Return up to 200 characters of every Unicode category but surrogates, spread evenly."""
    every: dict[str, list[str]] = {}
    for code in range(sys.maxunicode + 1):
        every.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    del every["Cs"]
    return {name: all_[:: len(all_) // 200 + 1] for name, all_ in sorted(every.items())}


CATEGORIES = characters_by_category()

# Every category is about as likely as the next, whatever its size, and so is what means something
# in URLs, forms, JSON and shells, what is written from right to left, and what combines.
alphabet = "".join(
    [
        *("".join(characters[:: len(characters) // 6 + 1]) for characters in CATEGORIES.values()),
        " +%#?&=~/\\\"'`;:@!$*()[]{}<>|^,.-_\t",
        "é\u0301\u05d0\u05d1\u0639\u0631中文\U0001d518😀\u200d\u202e",
    ]
)
texts = st.one_of(st.text(alphabet, max_size=12), st.text(max_size=8))
names = st.one_of(st.text(alphabet, min_size=1, max_size=6), st.text(min_size=1, max_size=4))
tokens = st.text("ABCDEFGHIJabcdefghij0123456789+/=", min_size=1, max_size=60)
credentials_ = st.builds(
    Credentials, tokens, st.one_of(tokens, names), st.one_of(st.none(), tokens, texts)
)
regions = st.one_of(st.sampled_from(REGIONS), st.sampled_from(["auto", "garage", "fr-par", "x1"]))
expiries = st.integers(1, MAX_EXPIRES)
times = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds and adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
header_values = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8),
        st.sampled_from(
            [" ", "  ", "     ", "\t", " \t ", "é", '"a  b"', "filename*=UTF-8''%C3%A9"]
        ),
    ),
    max_size=8,
).map("".join)
header_names = st.one_of(
    st.sampled_from(
        ["Content-Type", "If-None-Match", "Content-Disposition", "Cache-Control", "x-amz-acl"]
    ),
    st.text("ABCxyz-019", min_size=1, max_size=8),
).filter(lambda name: name.lower() not in NOT_SIGNED_BY_BOTOCORE)
headers = st.lists(
    st.tuples(header_names, header_values), max_size=4, unique_by=lambda pair: pair[0].lower()
).map(dict)
query_names = st.one_of(
    st.sampled_from(
        [
            "response-content-disposition",
            "response-content-type",
            "uploadId",
            "partNumber",
            "uploads",
            "versionId",
        ]
    ),
    names,
)
queries = st.dictionaries(query_names, texts, max_size=4)


@st.composite
def origins(draw: Callable[[Any], Any]) -> str:
    """Make an origin and bucket: AWS's hosts and others, ports, path and virtual style."""
    bucket = draw(st.sampled_from(["bucket", "my.bucket", "b-1", "0a0"]))
    scheme, host = draw(
        st.one_of(
            st.sampled_from(REGIONS).map(lambda region: endpoint_for(region).split("://")),
            st.tuples(
                st.sampled_from(["http", "https"]),
                st.sampled_from(["localhost", "127.0.0.1", "[::1]", "S3.Example.COM", "minio.lan"]),
            ),
        )
    )
    port = draw(st.sampled_from(["", "", ":80", ":443", ":8333", ":9000"]))
    if host.startswith("[") or draw(st.booleans()):
        return f"{scheme}://{host}{port}/{bucket}"
    return f"{scheme}://{bucket}.{host}{port}"


requests = st.builds(
    Request,
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "put"]),
    st.builds(lambda origin, key: f"{origin}/{encode_path(key)}", origins(), texts),
    headers,
    queries,
    credentials_,
    regions,
    expiries,
    times,
)
field_names = st.one_of(
    st.sampled_from(["key", "acl", "Content-Type", "Content-Disposition", "success_action_status"]),
    names,
)
conditions = st.lists(
    st.one_of(
        st.dictionaries(field_names, texts, min_size=1, max_size=1),
        st.tuples(st.sampled_from(["eq", "starts-with"]), field_names.map("${}".format), texts).map(
            list
        ),
        st.tuples(st.just("content-length-range"), st.integers(0, 9), st.integers(0)).map(list),
    ),
    max_size=8,
)
forms = st.builds(
    Form,
    conditions,
    st.dictionaries(field_names, texts, max_size=5),
    credentials_,
    regions,
    expiries,
    times,
)


def generated(number: int) -> settings:
    """Return settings for `number` cases, the same ones in every run."""
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.long
def test_a_thousand_generated_urls_equal_botocores() -> None:
    """Whatever is signed, the URL is botocore's, byte for byte."""
    seen = set()

    @generated(1100)
    @given(requests)
    def check(request: Request) -> None:
        expected = botocores(request)
        actual = ours(request)
        assert expected == actual
        seen.add(actual)

    check()
    assert len(seen) >= 1000


@pytest.mark.long
def test_five_hundred_generated_policies_equal_botocores() -> None:
    """Whatever the conditions and fields, the form is botocore's, in the same order."""
    seen = set()

    @generated(600)
    @given(forms)
    def check(form: Form) -> None:
        expected = list(botocores_of(form).items())
        actual = list(ours_of(form).items())
        assert expected == actual
        seen.add(dict(actual)["x-amz-signature"])

    check()
    assert len(seen) >= 500


def test_a_thousand_paths_are_encoded_as_botocores() -> None:
    """A key is encoded once, as botocore's serializer encodes the key of an object."""

    @generated(1000)
    @given(texts)
    def check(key: str) -> None:
        assert botocore.utils.percent_encode(key, safe="/~") == encode_path(key)

    check()


@pytest.mark.parametrize("category", CATEGORIES)
def test_keys_of_every_unicode_category_equal_botocores(category: str) -> None:
    """A key of up to 200 characters of one category, from all over its range."""
    key = "".join(CATEGORIES[category])
    request = Request(
        "GET",
        f"https://bucket.s3.eu-west-1.amazonaws.com/{encode_path(key)}",
        {},
        {"response-content-disposition": key},
        CREDENTIALS,
        "eu-west-1",
        900,
        NOW,
    )
    form = Form([{"key": key}], {"key": key}, CREDENTIALS, "eu-west-1", 900, NOW)
    assert botocore.utils.percent_encode(key, safe="/~") == encode_path(key)
    assert botocores(request) == ours(request)
    assert botocores_of(form) == ours_of(form)


@pytest.mark.parametrize("region", REGIONS)
def test_links_of_every_region_equal_botocores(region: str) -> None:
    """The region's own host and scope, in path and in virtual style."""
    scheme, host = endpoint_for(region).split("://")
    for origin in (f"{scheme}://{host}/bucket", f"{scheme}://bucket.{host}"):
        request = Request("PUT", f"{origin}/a/b.txt", {}, {}, CREDENTIALS, region, 60, NOW)
        assert botocores(request) == ours(request)


def test_the_endpoint_of_every_region_equals_botocores() -> None:
    """Every partition has its own domain."""
    loader = botocore.session.Session().get_component("data_loader")
    rules = EndpointProvider(
        loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    flags = ("UseFIPS", "UseDualStack", "Accelerate", "UseGlobalEndpoint")
    expected = {
        region: rules.resolve_endpoint(Region=region, **dict.fromkeys(flags, False)).url
        for region in REGIONS
    }
    assert expected == {region: endpoint_for(region) for region in REGIONS}


def test_botocores_tables_hold_every_partition() -> None:
    """The regions above are not an empty list: each partition's domain is among them."""
    expected = {
        "amazonaws.com",
        "amazonaws.com.cn",
        "c2s.ic.gov",
        "sc2s.sgov.gov",
        "csp.hci.ic.gov",
        "cloud.adc-e.uk",
        "amazonaws.eu",
    }
    actual = {endpoint_for(region).partition(f".{region}.")[2] for region in REGIONS}
    assert expected == actual
    assert len(REGIONS) >= 40


def test_the_published_example_is_met() -> None:
    """The example of "Authenticating Requests: Using Query Parameters", S3 API reference."""
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    actual = presign_url(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        credentials=CREDENTIALS,
        region="us-east-1",
        expires=86400,
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert expected == parse_qs(urlsplit(actual).query)["X-Amz-Signature"][0]


@pytest.mark.parametrize("expires", [-1, 0, MAX_EXPIRES + 1])
def test_an_expiry_beyond_the_limits_is_refused(expires: int) -> None:
    """A link lives between one second and seven days."""
    request = Request("GET", "https://h/k", {}, {}, CREDENTIALS, "us-east-1", expires, NOW)
    form = Form([], {}, CREDENTIALS, "us-east-1", expires, NOW)
    for sign in (lambda: ours(request), lambda: ours_of(form)):
        with pytest.raises(Error, match=r"1 to 604800 seconds \(7 days\)") as caught:
            sign()
        assert caught.value.kind is Kind.ILL_FORMED


@pytest.mark.parametrize("expires", [1, MAX_EXPIRES])
def test_an_expiry_at_the_limits_is_signed(expires: int) -> None:
    """Both ends are allowed."""
    request = Request("GET", "https://h/k", {}, {}, CREDENTIALS, "us-east-1", expires, NOW)
    assert botocores(request) == ours(request)


@pytest.mark.parametrize("url", ["https://host/key?x=1", "https://host/key#x", "host/key", ""])
def test_what_is_not_a_plain_url_is_refused(url: str) -> None:
    """A raw ? or # in a key would be cut off unsigned."""
    with pytest.raises(Error) as caught:
        ours(Request("GET", url, {}, {}, CREDENTIALS, "us-east-1", 60, NOW))
    assert caught.value.kind is Kind.ILL_FORMED


def test_a_time_without_a_zone_is_refused() -> None:
    """It would be taken for local time."""
    naive = NOW.replace(tzinfo=None)
    for sign in (
        lambda: ours(Request("GET", "https://h/k", {}, {}, CREDENTIALS, "x", 60, naive)),
        lambda: ours_of(Form([], {}, CREDENTIALS, "x", 60, naive)),
    ):
        with pytest.raises(Error) as caught:
            sign()
        assert caught.value.kind is Kind.ILL_FORMED


@pytest.mark.parametrize("region", ["", "EU-west-1", "a.b", "evil.com/", "a--b", "-a", "x\n"])
def test_what_cannot_be_a_region_has_no_endpoint(region: str) -> None:
    """A region becomes a part of a host's name."""
    with pytest.raises(Error) as caught:
        endpoint_for(region)
    assert caught.value.kind is Kind.ILL_FORMED


def test_the_arguments_are_left_alone() -> None:
    """The caller's conditions, fields, headers and parameters are not changed."""
    form = Form([{"key": "k"}], {"key": "k"}, CREDENTIALS, "us-east-1", 60, NOW)
    request = Request("GET", "https://h/k", {"A": "b"}, {"c": "d"}, CREDENTIALS, "x", 60, NOW)
    expected = copy.deepcopy((form, request))
    ours_of(form)
    ours(request)
    assert expected == (form, request)


def test_a_policy_says_what_was_asked() -> None:
    """The policy holds the conditions given, those of the signature, and the expiry."""
    credentials = CREDENTIALS._replace(session_token="token")
    form = Form([["eq", "$key", "k"]], {"key": "k"}, credentials, "us-east-1", 60, NOW)
    expected = {
        "expiration": "2026-11-23T12:35:56Z",
        "conditions": [
            ["eq", "$key", "k"],
            {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
            {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20261123/us-east-1/s3/aws4_request"},
            {"x-amz-date": "20261123T123456Z"},
            {"x-amz-security-token": "token"},
        ],
    }
    assert expected == json.loads(base64.b64decode(ours_of(form)["policy"]))


def test_the_repr_of_credentials_keeps_the_secrets() -> None:
    """Neither the secret nor the session's token is printed, however the value is shown."""
    credentials = Credentials("the-access-key", "canary-secret", "canary-token", NOW)
    shown = f"{credentials} {credentials!r} {[credentials]} {{'c': {credentials}}}"
    assert "the-access-key" in shown
    assert "canary" not in shown
