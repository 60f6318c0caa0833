"""The start-up check of S3 says which setting is wrong, and shows no secret."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest

from attach.bounded import bounded
from attach.fake_server import (
    Answer,
    Authority,
    Relay,
    Request,
    fake_server,
    make_authority,
    refused_address,
    silent_server,
)
from programs import PATIENCE
from rex.attach import get_storage
from rex.core import Error, Kind, Rex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

SECRET = "canary/of+the/secret+key"
TOKEN = "canary.of.the.token=="


@pytest.fixture
def good(seaweedfs: SeaweedFS) -> dict[str, Any]:
    """Return correct settings."""
    return {**seaweedfs.settings(), "attach_s3_timeout": PATIENCE}


@pytest.fixture
def refuse() -> Callable[[dict[str, Any]], Error]:
    """Give a function that has settings refused, and returns the error without any secret."""

    def refuse(settings: dict[str, Any]) -> Error:
        with pytest.raises(Error) as caught:
            bounded(Rex, "rex.attach", **settings)
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        # Our own frames, and the test's below them, hold the settings themselves.
        shown = "".join(trace.format()).partition("core/application.py")[2]
        assert "settings = " in shown
        for secret in (settings.get("attach_s3_secret_key"), SECRET, TOKEN):
            assert secret is None or secret not in f"{caught.value}{caught.value!r}{shown}"
        assert str(caught.value).endswith("While starting package:\n    rex.attach")
        return caught.value

    return refuse


def test_right_settings_are_accepted(good: dict[str, Any]) -> None:
    """They are the ones that each test below makes wrong in one place."""
    with Rex("rex.attach", **good):
        assert get_storage().open(get_storage().add("a.txt", "x")).read() == b"x"


def test_a_missing_bucket(good: dict[str, Any], refuse: Callable[..., Error]) -> None:
    """The name that was given is shown."""
    error = refuse({**good, "attach_s3_bucket": "no-such-bucket"})
    assert error.kind == Kind.ABSENT
    assert (error.code, error.setting) == ("no-bucket", "attach_s3_bucket")
    assert error.payload == "no-such-bucket"


def test_a_wrong_access_key(good: dict[str, Any], refuse: Callable[..., Error]) -> None:
    """It is told apart from a wrong secret key."""
    error = refuse({**good, "attach_s3_access_key": "AKIAUNKNOWN", "attach_s3_secret_key": SECRET})
    assert error.kind == Kind.CONFIGURATION
    assert (error.code, error.setting) == ("unknown-access-key", "attach_s3_access_key")


def test_a_wrong_secret_key(good: dict[str, Any], refuse: Callable[..., Error]) -> None:
    """It is not shown."""
    error = refuse({**good, "attach_s3_secret_key": SECRET})
    assert error.kind == Kind.CONFIGURATION
    assert (error.code, error.setting) == ("wrong-secret-key", "attach_s3_secret_key")


def test_a_session_token_that_nobody_knows(
    good: dict[str, Any], refuse: Callable[..., Error]
) -> None:
    """A token where none belongs makes the keys unknown; neither is shown."""
    error = refuse({**good, "attach_s3_session_token": TOKEN})
    assert error.kind == Kind.CONFIGURATION
    assert str(error.setting).startswith("attach_s3_")


def test_a_missing_permission(
    seaweedfs: SeaweedFS, good: dict[str, Any], refuse: Callable[..., Error]
) -> None:
    """An identity that may do nothing is told which permission it lacks."""
    error = refuse({**good, **seaweedfs.settings("nobody")})
    assert error.kind == Kind.DENIED
    assert "s3:ListBucket" in error.message


# SeaweedFS takes any region. AWS answers in one of these ways, with these very bodies.
WRONG_REGION = {
    "a redirect": Answer(
        301,
        "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access "
        "must be addressed using the specified endpoint. Please send all future requests to this "
        "endpoint.</Message><Endpoint>scans.s3-eu-west-1.amazonaws.com</Endpoint>"
        "<Bucket>scans</Bucket></Error>",
        {"x-amz-bucket-region": "eu-west-1", "Location": "http://127.0.0.1:1/"},
    ),
    "a header": Answer(
        400,
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is "
        "malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>"
        "<Region>eu-west-1</Region></Error>",
    ),
    "a query": Answer(
        400,
        "<Error><Code>AuthorizationQueryParametersError</Code><Message>Error parsing the "
        "X-Amz-Credential parameter; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
        "</Message><Region>eu-west-1</Region></Error>",
    ),
}


@pytest.mark.parametrize("way", WRONG_REGION)
def test_a_wrong_region_at_a_fake_aws(
    way: str, good: dict[str, Any], refuse: Callable[..., Error]
) -> None:
    """The right region is named, and a redirect is not followed."""
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return WRONG_REGION[way]

    with fake_server(answer) as endpoint:
        error = refuse({**good, "attach_s3_endpoint": endpoint})
    assert error.kind == Kind.CONFIGURATION
    assert (error.code, error.setting) == ("wrong-region", "attach_s3_region")
    assert str(error.payload) == "us-east-1: the bucket is in eu-west-1"
    assert [request.method for request in asked] == ["GET"]


UNREACHABLE = ("server-unreachable", "attach_s3_endpoint")


def test_an_endpoint_at_which_nobody_listens(
    good: dict[str, Any], refuse: Callable[..., Error]
) -> None:
    """The address is shown with the reason."""
    endpoint = refused_address()
    error = refuse({**good, "attach_s3_endpoint": endpoint})
    assert error.kind == Kind.UNAVAILABLE
    assert (error.code, error.setting) == UNREACHABLE
    assert error.payload == f"{endpoint}: [Errno 111] Connection refused"


def test_an_endpoint_whose_host_is_unknown(
    good: dict[str, Any], refuse: Callable[..., Error]
) -> None:
    """No such name can exist (RFC 6761)."""
    error = refuse({**good, "attach_s3_endpoint": "http://s3.invalid:8333"})
    assert error.kind == Kind.UNAVAILABLE
    assert (error.code, error.setting) == UNREACHABLE


def test_an_endpoint_that_never_answers(good: dict[str, Any], refuse: Callable[..., Error]) -> None:
    """It is given up after attach_s3_timeout."""
    with silent_server() as endpoint:
        error = refuse({**good, "attach_s3_endpoint": endpoint, "attach_s3_timeout": 1})
    assert error.kind == Kind.UNAVAILABLE
    assert (error.code, error.setting) == UNREACHABLE
    assert error.payload == f"{endpoint}: timed out"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>Welcome</html>"),
        Answer(404, "<html>Not found</html>"),
        Answer(302, "", {"Location": "http://127.0.0.1:1/latest/meta-data/"}),
    ],
    ids=["a page", "no page", "a redirect"],
)
def test_an_endpoint_that_is_a_web_server(
    answer: Answer, good: dict[str, Any], refuse: Callable[..., Error]
) -> None:
    """Something answers, and it is not S3."""
    with fake_server(lambda _: answer) as endpoint:
        error = refuse({**good, "attach_s3_endpoint": endpoint})
    assert error.kind == Kind.CONFIGURATION
    assert (error.code, error.setting) == ("not-s3", "attach_s3_endpoint")
    assert error.payload == f"{endpoint}: status {answer.status}"


def test_a_server_that_has_a_problem(good: dict[str, Any], refuse: Callable[..., Error]) -> None:
    """Its fault is not called ours."""
    body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
    with fake_server(lambda _: Answer(503, body)) as endpoint:
        error = refuse({**good, "attach_s3_endpoint": endpoint})
    assert error.kind == Kind.UNAVAILABLE
    assert error.payload == f"{endpoint}: 503 SlowDown"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate authority that no system knows."""
    return make_authority(tmp_path_factory.mktemp("authority"))


def test_a_private_authority_works_when_it_is_named(
    good: dict[str, Any], authority: Authority, seaweedfs: SeaweedFS
) -> None:
    """The check trusts it, and so does what moves the data."""
    with Relay(seaweedfs.endpoint, authority.context) as relay:
        settings = {
            **good,
            "attach_s3_endpoint": relay.address,
            "attach_s3_ca_file": str(authority.ca_file),
        }
        with Rex("rex.attach", **settings) as rex:
            handle = get_storage().add("a.txt", "by TLS")
            assert get_storage().open(handle).read() == b"by TLS"
        rex.close()


def test_a_private_authority_that_is_not_named(
    good: dict[str, Any],
    authority: Authority,
    seaweedfs: SeaweedFS,
    refuse: Callable[..., Error],
) -> None:
    """The error says which setting would help."""
    with Relay(seaweedfs.endpoint, authority.context) as relay:
        error = refuse({**good, "attach_s3_endpoint": relay.address})
    assert error.kind == Kind.CONFIGURATION
    assert (error.code, error.setting) == UNREACHABLE
    assert str(error.payload).endswith("; set attach_s3_ca_file to its authority")


@pytest.mark.parametrize("content", [None, "not a certificate"], ids=["missing", "no certificate"])
def test_a_file_of_certificates_that_is_none(
    content: str | None, good: dict[str, Any], refuse: Callable[..., Error], tmp_path: Path
) -> None:
    """The error names the file and the setting."""
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    error = refuse({**good, "attach_s3_ca_file": str(ca_file)})
    assert error.kind == Kind.CONFIGURATION
    assert (error.code, error.setting) == ("wrong-setting", "attach_s3_ca_file")
    assert str(error.payload).startswith(f"{ca_file}: ")


def test_plain_http_where_the_server_speaks_tls(
    good: dict[str, Any],
    authority: Authority,
    seaweedfs: SeaweedFS,
    refuse: Callable[..., Error],
) -> None:
    """The endpoint is what is wrong."""
    with Relay(seaweedfs.endpoint, authority.context) as relay:
        endpoint = relay.address.replace("https:", "http:")
        error = refuse({**good, "attach_s3_endpoint": endpoint})
    assert error.kind == Kind.UNAVAILABLE
    assert (error.code, error.setting) == UNREACHABLE
