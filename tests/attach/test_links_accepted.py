"""Links on a real server: SeaweedFS takes them as they are and refuses every single change."""

from __future__ import annotations

import gzip
import http.client
import re
import uuid
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import pytest
import requests

from attach.s3_storage import s3_storage
from programs import PATIENCE
from rex.attach.backends.objects.objects import object_headers
from rex.attach.backends.s3 import bucket as s3_bucket
from rex.attach.backends.s3.links import S3Links
from rex.attach.links.sigv4 import Credentials, encode_path, presign_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

CONTENT = b"hello"
MAX_SIZE = 10
STORED = object_headers("scan.png", "image/png")
FIELDS = {**STORED, "success_action_status": "204"}
HEADERS = {**STORED, "If-None-Match": "*"}
KEYS = [
    "plain.txt",
    "a b  c.txt",
    "+%#?&=~.txt",
    "%2F%00.txt",
    "quotes'\"`.txt",
    "$(id)*?[a-z]!@,;:{}|\\^<>${name}.txt",
    "é e\u0301 中文 \u05e9\u05dc\u05d5\u05dd \u0639\u0631\u0628\u064a.txt",
    "\U0001d518\U0001f600\U0001f469\u200d\U0001f52c.txt",
    "\u202etxt.exe\u00a0\u3000.txt",
]


class Answer(NamedTuple):
    """What a server said: the status, and S3's code where it sent one."""

    status: int
    code: str | None


class Form(NamedTuple):
    """A POST link: where to, and with which fields."""

    url: str
    fields: dict[str, str]


def new_key(name: str = "scan.png") -> str:
    """Return a key that no other test uses."""
    return f"links/{uuid.uuid4()}/{name}"


def storage_of(server: SeaweedFS, signer: str = "admin") -> S3Storage:
    """Use the server as one of its identities."""
    access_key, secret_key, *_ = server.credentials[signer]
    return s3_storage(
        server.bucket, endpoint=server.endpoint, access_key=access_key, secret_key=secret_key
    )


@contextmanager
def clock_behind(seconds: int) -> Iterator[None]:
    """Let links be signed as they were some time ago."""
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    with mock.patch.object(s3_bucket, "_now", return_value=then):
        yield


def post_link(server: SeaweedFS, key: str, *, age: int = 0, signer: str = "admin") -> Form:
    """Make a POST link that was signed `age` seconds ago and lives for a minute."""
    with clock_behind(age):
        link = S3Links(storage_of(server, signer)._bucket).post(key, "image/png", MAX_SIZE, 60)
    return Form(link.url, dict(link.fields))


def url_link(
    server: SeaweedFS,
    method: str,
    key: str,
    *,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    age: int = 0,
    credentials: Credentials | None = None,
) -> str:
    """Make a query-signed link that was signed `age` seconds ago and lives for a minute."""
    return presign_url(
        method,
        f"{server.endpoint}/{server.bucket}/{encode_path(key)}",
        headers=headers,
        query=query,
        credentials=credentials or server.credentials["admin"],
        region=server.region,
        expires=60,
        now=datetime.now(UTC) - timedelta(seconds=age),
    )


def post(form: Form, content: bytes = CONTENT) -> Answer:
    """Upload with a form as a browser does."""
    files = {"file": ("scan.png", content)}
    return answer(
        requests.post(form.url, form.fields, files=files, timeout=PATIENCE, allow_redirects=False)
    )


def send(
    method: str, url: str, headers: dict[str, str] | None = None, content: bytes | None = None
) -> Answer:
    """Send a request with a link."""
    return answer(requests.request(method, url, headers=headers, data=content, timeout=PATIENCE))


def answer(response: requests.Response) -> Answer:
    """Take from a response what the tests look at."""
    code = re.search(r"<Code>(\w+)</Code>", response.text)
    return Answer(response.status_code, code[1] if code else None)


def stored(server: SeaweedFS, key: str) -> requests.Response | None:
    """Return the object under a key, or None if there is none."""
    response = requests.get(url_link(server, "GET", key), stream=True, timeout=PATIENCE)
    return response if response.ok else None


def content_of(server: SeaweedFS, key: str) -> bytes | None:
    """Return the content under a key, or None if there is no object."""
    response = stored(server, key)
    return None if response is None else response.content


def assert_refused(server: SeaweedFS, key: str, given: Answer) -> None:
    """Check that the answer is a refusal and that there is nothing under the key."""
    assert given.status in {400, 403, 405}, given
    assert stored(server, key) is None


def changed(text: str) -> str:
    """Return the text with its last character changed to another that is as well-formed."""
    return text[:-1] + ("1" if text[-1] != "1" else "2")


# ------------------------------------------------------------------------------------- POST


def test_a_form_uploads_with_what_was_signed(seaweedfs: SeaweedFS) -> None:
    """The answer is 204; the type, disposition and caching are those of the form."""
    key = new_key()
    assert post(post_link(seaweedfs, key)) == Answer(204, None)
    response = stored(seaweedfs, key)
    assert response is not None
    assert response.content == CONTENT
    expected = {name: FIELDS[name] for name in FIELDS if name != "success_action_status"}
    assert expected == {name: response.headers[name] for name in expected}


@pytest.mark.parametrize("name", KEYS)
def test_a_form_uploads_under_any_name(seaweedfs: SeaweedFS, name: str) -> None:
    """The object is found again under exactly its key."""
    key = new_key(name)
    assert post(post_link(seaweedfs, key)) == Answer(204, None)
    assert content_of(seaweedfs, key) == CONTENT


def test_a_form_cannot_name_a_key_that_holds_the_file_name_variable(
    seaweedfs: SeaweedFS,
) -> None:
    """POST puts the name of the file sent in its place, and the condition then fails; PUT works."""
    key = new_key("a${filename}b.txt")
    assert_refused(seaweedfs, key, post(post_link(seaweedfs, key)))
    link = S3Links(storage_of(seaweedfs)._bucket).put(key, "image/png", None, 60)
    assert send("PUT", link.url, dict(link.headers), CONTENT) == Answer(200, None)
    assert content_of(seaweedfs, key) == CONTENT


@pytest.mark.parametrize("name", STORED)
def test_a_header_of_the_request_does_not_replace_a_field_of_the_form(
    seaweedfs: SeaweedFS, name: str
) -> None:
    """SeaweedFS would take these from the request's own headers too, were they not in the form."""
    key = new_key()
    form = post_link(seaweedfs, key)
    request = requests.Request(
        "POST", form.url, data=form.fields, files={"file": ("scan.html", CONTENT, "text/html")}
    ).prepare()
    if name != "Content-Type":
        request.headers[name] = "x"
    with requests.Session() as session:
        assert answer(session.send(request, timeout=PATIENCE)) == Answer(204, None)
    response = stored(seaweedfs, key)
    assert response is not None
    assert response.headers[name] == FIELDS[name]


@pytest.mark.parametrize("name", ["Content-Language", "Expires", "x-amz-meta-a", "x-amz-tagging"])
def test_a_header_of_the_request_brings_in_what_the_form_does_not_hold(
    seaweedfs: SeaweedFS, name: str
) -> None:
    """A fact to be known: no condition reaches the headers of a POST on SeaweedFS."""
    key = new_key()
    form = post_link(seaweedfs, key)
    value = "Wed, 21 Oct 2037 07:28:00 GMT" if name == "Expires" else "a=b"
    response = requests.post(
        form.url,
        form.fields,
        files={"file": ("scan.png", CONTENT)},
        headers={name: value},
        timeout=PATIENCE,
    )
    assert answer(response) == Answer(204, None)
    found = stored(seaweedfs, key)
    assert found is not None
    shown = {"x-amz-tagging": ("X-Amz-Tagging-Count", "1")}.get(name, (name, value))
    assert found.headers[shown[0]] == shown[1]


FORM_FIELDS = [
    "key",
    *FIELDS,
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "policy",
    "x-amz-signature",
]


def test_every_field_of_the_form_is_tried_below(seaweedfs: SeaweedFS) -> None:
    """No field is forgotten when one is added to the form."""
    assert list(post_link(seaweedfs, new_key()).fields) == FORM_FIELDS


@pytest.mark.parametrize("name", FORM_FIELDS)
def test_a_changed_field_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """One character is enough, in any field; neither key then has an object."""
    key = new_key()
    form = post_link(seaweedfs, key)
    form.fields[name] = changed(form.fields[name])
    assert_refused(seaweedfs, key, post(form))
    assert_refused(seaweedfs, form.fields["key"], post(form))


@pytest.mark.parametrize("name", FORM_FIELDS)
def test_a_removed_field_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """A pinned field has to be there."""
    key = new_key()
    form = post_link(seaweedfs, key)
    del form.fields[name]
    assert_refused(seaweedfs, key, post(form))


@pytest.mark.parametrize("name", FORM_FIELDS)
def test_an_emptied_field_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """Empty is not what was signed."""
    key = new_key()
    form = post_link(seaweedfs, key)
    form.fields[name] = ""
    assert_refused(seaweedfs, key, post(form))


ADDED_FIELDS = {
    "acl": "public-read",
    "Expires": "Wed, 21 Oct 2037 07:28:00 GMT",
    "success_action_redirect": "https://example.com/",
    "redirect": "https://example.com/",
    "signature": "x",
    "x-amz-acl": "public-read",
    "x-amz-grant-read": "id=1",
    "x-amz-meta-owner": "somebody",
    "x-amz-tagging": "a=b",
    "x-amz-storage-class": "GLACIER",
    "x-amz-website-redirect-location": "/other",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-checksum-sha256": "x",
    "x-amz-copy-source": "/attachments/other",
}


@pytest.mark.parametrize("name", ADDED_FIELDS)
def test_an_added_field_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """Fields that were not in the form cannot be brought in, in any spelling."""
    for spelling in (name, name.lower(), name.upper()):
        key = new_key()
        form = post_link(seaweedfs, key)
        form.fields[spelling] = ADDED_FIELDS[name]
        assert_refused(seaweedfs, key, post(form))


@pytest.mark.parametrize("name", STORED)
def test_a_field_in_another_spelling_changes_nothing(seaweedfs: SeaweedFS, name: str) -> None:
    """A fact to be known: SeaweedFS takes one of the two, for the policy as for what is stored.

    So the form is refused, or what was signed is stored.
    """
    other = "gzip" if name == "Content-Encoding" else changed(FIELDS[name])
    for spelling in (name.lower(), name.upper()) * 4:
        key = new_key()
        form = post_link(seaweedfs, key)
        form.fields[spelling] = other
        given = post(form)
        response = stored(seaweedfs, key)
        assert given.status == (403 if response is None else 204)
        assert response is None or response.headers[name] == FIELDS[name]


@pytest.mark.parametrize("name", ["key", *FIELDS])
def test_a_field_put_in_front_of_the_signed_one_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """The first of two fields counts, for the policy as for what is stored."""
    key = new_key()
    form = post_link(seaweedfs, key)
    value = form.fields[name]
    fields = [(name, changed(value)), *form.fields.items()]
    files = {"file": ("scan.png", CONTENT)}
    assert_refused(
        seaweedfs, key, answer(requests.post(form.url, fields, files=files, timeout=PATIENCE))
    )
    assert stored(seaweedfs, changed(key)) is None


@pytest.mark.parametrize(
    "name",
    ["Content-Language", "tagging", "Content-MD5", "x-ignore-this", "x-amz-security-token"],
)
def test_a_field_that_cannot_be_pinned_changes_nothing_that_matters(
    seaweedfs: SeaweedFS, name: str
) -> None:
    """SeaweedFS takes these unasked: a fact to be known. It stores the language alone.

    A policy that names one of the first four is refused as a whole.
    """
    key = new_key()
    form = post_link(seaweedfs, key)
    form.fields[name] = "x"
    assert post(form) == Answer(204, None)
    response = stored(seaweedfs, key)
    assert response is not None
    assert response.headers["Content-Type"] == FIELDS["Content-Type"]
    assert response.headers["Content-Disposition"] == FIELDS["Content-Disposition"]
    assert response.headers.get("Content-Language") == ("x" if "Language" in name else None)


@pytest.mark.parametrize("size", [MAX_SIZE + 1, 5_000_000])
def test_a_size_over_the_limit_is_refused(seaweedfs: SeaweedFS, size: int) -> None:
    """One byte too many is enough."""
    key = new_key()
    assert post(post_link(seaweedfs, key), b"x" * size) == Answer(400, "EntityTooLarge")
    assert stored(seaweedfs, key) is None


@pytest.mark.parametrize("size", [0, MAX_SIZE])
def test_a_size_at_the_ends_of_the_range_is_stored(seaweedfs: SeaweedFS, size: int) -> None:
    """Both ends belong to the range."""
    key = new_key()
    assert post(post_link(seaweedfs, key), b"x" * size) == Answer(204, None)
    assert content_of(seaweedfs, key) == b"x" * size


def test_a_form_without_a_file_stores_an_empty_one(seaweedfs: SeaweedFS) -> None:
    """A fact to be known: the part `file` counts as empty where it is missing."""
    key = new_key()
    form = post_link(seaweedfs, key)
    files = [(name, (None, value)) for name, value in form.fields.items()]
    assert answer(requests.post(form.url, files=files, timeout=PATIENCE)) == Answer(204, None)
    assert content_of(seaweedfs, key) == b""


def test_an_expired_form_is_refused(seaweedfs: SeaweedFS) -> None:
    """A form that lived for a minute is refused a second later."""
    key = new_key()
    assert post(post_link(seaweedfs, key, age=61)) == Answer(403, "AccessDenied")
    assert stored(seaweedfs, key) is None


def test_a_form_for_one_bucket_is_refused_by_another(seaweedfs: SeaweedFS) -> None:
    """The bucket is pinned too."""
    seaweedfs.create_bucket("links-elsewhere")
    key = new_key()
    form = post_link(seaweedfs, key)
    elsewhere = form._replace(url=f"{seaweedfs.endpoint}/links-elsewhere/")
    assert post(elsewhere) == Answer(403, "AccessDenied")
    assert stored(seaweedfs, key) is None


@pytest.mark.parametrize("signer", ["reader", "nobody"])
def test_a_form_of_somebody_without_permission_is_refused(
    seaweedfs: SeaweedFS, signer: str
) -> None:
    """A link can do no more than whoever signed it."""
    key = new_key()
    assert post(post_link(seaweedfs, key, signer=signer)) == Answer(403, "AccessDenied")
    assert stored(seaweedfs, key) is None


# -------------------------------------------------------------------------------------- PUT


def put_link(server: SeaweedFS, key: str, age: int = 0) -> str:
    """Make a PUT link that was signed `age` seconds ago and lives for a minute."""
    with clock_behind(age):
        return S3Links(storage_of(server)._bucket).put(key, "image/png", None, 60).url


@pytest.mark.parametrize("name", KEYS)
def test_a_put_link_uploads_once_under_any_name(seaweedfs: SeaweedFS, name: str) -> None:
    """The second time the answer is 412, and the first content stays."""
    key = new_key(name)
    link = S3Links(storage_of(seaweedfs)._bucket).put(key, "image/png", None, 60)
    headers = dict(link.headers)
    assert send("PUT", link.url, headers, CONTENT) == Answer(200, None)
    assert send("PUT", link.url, headers, b"other") == Answer(412, "PreconditionFailed")
    response = stored(seaweedfs, key)
    assert response is not None
    assert response.content == CONTENT
    expected = object_headers(key, "image/png")
    assert expected == {name: response.headers[name] for name in expected}


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_the_body_of_a_put_link_is_free(seaweedfs: SeaweedFS, size: int) -> None:
    """The payload is not signed: a PUT link has no limit of size of its own."""
    key = new_key()
    assert send("PUT", put_link(seaweedfs, key), HEADERS, b"x" * size) == Answer(200, None)
    assert content_of(seaweedfs, key) == b"x" * size


def test_a_signed_length_is_the_only_one_taken(seaweedfs: SeaweedFS) -> None:
    """Signing Content-Length pins the size of a PUT to the byte."""
    key = new_key()
    link = url_link(seaweedfs, "PUT", key, headers={"Content-Length": "5"})
    assert_refused(seaweedfs, key, send("PUT", link, None, b"123456"))
    assert_refused(seaweedfs, key, send("PUT", link, None, b"1234"))
    assert send("PUT", link, None, b"12345") == Answer(200, None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_a_put_link_is_no_other_link(seaweedfs: SeaweedFS, method: str) -> None:
    """The method is signed."""
    key = new_key()
    assert_refused(seaweedfs, key, send(method, put_link(seaweedfs, key), HEADERS, CONTENT))


@pytest.mark.parametrize("name", HEADERS)
def test_a_changed_or_missing_signed_header_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """Each signed header has to come as it was signed."""
    key = new_key()
    link = put_link(seaweedfs, key)
    for headers in (
        HEADERS | {name: changed(HEADERS[name])},
        {other: value for other, value in HEADERS.items() if other != name},
    ):
        assert_refused(seaweedfs, key, send("PUT", link, headers, CONTENT))


@pytest.mark.parametrize(
    "name", [*(name for name in ADDED_FIELDS if name.startswith("x-amz-")), "x-amz-security-token"]
)
def test_an_added_amazon_header_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """SigV4 wants every x-amz- header signed, and SeaweedFS sees to it."""
    key = new_key()
    headers = HEADERS | {name: ADDED_FIELDS.get(name, "token")}
    assert_refused(seaweedfs, key, send("PUT", put_link(seaweedfs, key), headers, CONTENT))


CODINGS = ["gzip", "identity, gzip", "gzip, identity", "br", ""]


@pytest.mark.parametrize("coding", CODINGS)
def test_an_upload_in_a_coding_is_refused(seaweedfs: SeaweedFS, coding: str) -> None:
    """A browser would see other bytes than we read; a second line of the header changes nothing."""
    key = new_key()
    link = put_link(seaweedfs, key)
    headers = HEADERS | {"Content-Encoding": coding}
    assert_refused(seaweedfs, key, send("PUT", link, headers, gzip.compress(CONTENT)))
    twice = [*HEADERS.items(), ("Content-Encoding", coding)]
    for lines in (twice, twice[::-1]):
        with closing(http.client.HTTPConnection(seaweedfs.endpoint.partition("//")[2])) as server:
            server.putrequest("PUT", link.removeprefix(seaweedfs.endpoint))
            for name, value in (*lines, ("Content-Length", str(len(CONTENT)))):
                server.putheader(name, value)
            server.endheaders(CONTENT)
            assert server.getresponse().status == 403
    assert stored(seaweedfs, key) is None


@pytest.mark.parametrize("coding", CODINGS)
def test_an_upload_in_parts_in_a_coding_is_not_begun(seaweedfs: SeaweedFS, coding: str) -> None:
    """It is the request that begins it which says what is stored with the object."""
    storage = storage_of(seaweedfs)
    link = storage.multipart.create_link(storage.reserve("scan.png"))
    headers = {**link.headers, "Content-Encoding": coding}
    assert send("POST", link.url, headers) == Answer(403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("step", ["part", "complete"])
def test_a_coding_of_a_later_step_is_not_stored(seaweedfs: SeaweedFS, step: str) -> None:
    """A fact to be known: neither link pins the header."""
    storage = storage_of(seaweedfs)
    handle = storage.reserve("scan.png")
    multipart = storage.multipart
    upload_id = multipart.create(handle)
    coding = {"Content-Encoding": "gzip"}
    sent = requests.put(
        multipart.link(handle, upload_id, 1).url,
        data=CONTENT,
        headers=coding if step == "part" else {},
        timeout=PATIENCE,
    )
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{sent.headers['ETag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    link = multipart.complete_link(handle, upload_id)
    headers = {**link.headers, **(coding if step == "complete" else {})}
    assert send("POST", link.url, headers, body) == Answer(200, None)
    assert storage.info(handle).content_encoding is None
    response = requests.get(storage.download_link(handle).url, timeout=PATIENCE)
    assert (response.content, response.headers["Content-Encoding"]) == (CONTENT, "identity")


@pytest.mark.parametrize("name", ["Content-Language", "Expires"])
def test_other_headers_may_be_added(seaweedfs: SeaweedFS, name: str) -> None:
    """SigV4 leaves headers that are not Amazon's to the client: a fact to be known."""
    key = new_key()
    value = "Wed, 21 Oct 2037 07:28:00 GMT" if name == "Expires" else "tlh"
    link = put_link(seaweedfs, key)
    assert send("PUT", link, HEADERS | {name: value}, CONTENT) == Answer(200, None)
    response = stored(seaweedfs, key)
    assert response is not None
    assert response.headers[name] == value


def parameter(link: str, name: str) -> str:
    """Return one parameter of a link as it stands there, without its ampersand."""
    return next(pair for pair in link.partition("?")[2].split("&") if pair.startswith(f"{name}="))


PARAMETERS = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_changed_parameter_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """Every parameter is a part of what is signed, or is the signature."""
    key = new_key()
    link = put_link(seaweedfs, key)
    pair = parameter(link, name)
    link = link.replace(pair, changed(pair))
    assert_refused(seaweedfs, key, send("PUT", link, HEADERS, CONTENT))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_removed_parameter_is_refused(seaweedfs: SeaweedFS, name: str) -> None:
    """No parameter can be left out."""
    key = new_key()
    link = put_link(seaweedfs, key)
    link = link.replace(parameter(link, name), "").replace("&&", "&").rstrip("&")
    assert_refused(seaweedfs, key, send("PUT", link, HEADERS, CONTENT))


@pytest.mark.parametrize(
    "appended",
    [
        "x=y",
        "acl",
        "tagging",
        "uploadId=x&partNumber=1",
        "x-amz-acl=public-read",
        "X-Amz-Expires=604800",
        "X-Amz-Security-Token=x",
        "versionId=1",
    ],
)
def test_an_added_parameter_is_refused(seaweedfs: SeaweedFS, appended: str) -> None:
    """Neither behind nor in front of the others."""
    key = new_key()
    link = put_link(seaweedfs, key)
    for url in (f"{link}&{appended}", link.replace("?", f"?{appended}&")):
        assert_refused(seaweedfs, key, send("PUT", url, HEADERS, CONTENT))


def test_a_put_link_for_another_key_is_refused(seaweedfs: SeaweedFS) -> None:
    """The path is signed."""
    key = new_key()
    for other in (key.replace("scan", "scam"), f"{key}/x", key.replace("links/", "links//")):
        link = put_link(seaweedfs, key).replace(encode_path(key), encode_path(other))
        assert_refused(seaweedfs, key, send("PUT", link, HEADERS, CONTENT))
        assert stored(seaweedfs, other) is None


def test_an_expired_put_link_is_refused(seaweedfs: SeaweedFS) -> None:
    """A link that lived for a minute is refused a second later."""
    key = new_key()
    given = send("PUT", put_link(seaweedfs, key, age=61), HEADERS, CONTENT)
    assert given == Answer(403, "AccessDenied")
    assert stored(seaweedfs, key) is None


def test_a_put_link_for_another_host_is_refused(seaweedfs: SeaweedFS) -> None:
    """The host is signed: hence the setting for a public endpoint."""
    key = new_key()
    headers = HEADERS | {"Host": "s3.example.com"}
    assert_refused(seaweedfs, key, send("PUT", put_link(seaweedfs, key), headers, CONTENT))


def test_links_are_taken_with_the_bucket_in_the_host_too(seaweedfs: SeaweedFS) -> None:
    """Virtual-hosted style: the name is sent as a header here, since it need not resolve."""
    key = new_key()
    port = seaweedfs.endpoint.rpartition(":")[2]
    host = f"{seaweedfs.bucket}.localhost:{port}"
    link = presign_url(
        "PUT",
        f"http://{host}/{encode_path(key)}",
        credentials=seaweedfs.credentials["admin"],
        region=seaweedfs.region,
        expires=60,
        now=datetime.now(UTC),
    )
    given = send("PUT", link.replace(host, f"127.0.0.1:{port}"), {"Host": host}, CONTENT)
    assert given == Answer(200, None)
    assert content_of(seaweedfs, key) == CONTENT


# -------------------------------------------------------------------------------------- GET


@pytest.fixture(scope="module")
def attachment(seaweedfs: SeaweedFS) -> str:
    """Store an object; return its key."""
    key = new_key()
    assert send("PUT", put_link(seaweedfs, key), HEADERS, CONTENT) == Answer(200, None)
    return key


def test_a_get_link_sets_the_headers_that_were_signed(
    seaweedfs: SeaweedFS, attachment: str
) -> None:
    """The response-… parameters replace what is stored with the object."""
    disposition = "attachment; filename=\"a.txt\"; filename*=UTF-8''%C3%A9%20b.txt"
    query = {
        "response-content-disposition": disposition,
        "response-content-type": "text/plain",
        "response-cache-control": "no-store",
    }
    response = requests.get(url_link(seaweedfs, "GET", attachment, query=query), timeout=PATIENCE)
    assert response.content == CONTENT
    assert response.headers["Content-Disposition"] == disposition
    assert response.headers["Content-Type"] == "text/plain"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("inline", [False, True])
def test_a_download_is_kept_until_its_link_ends(seaweedfs: SeaweedFS, *, inline: bool) -> None:
    """Also where the object was stored with a longer time."""
    storage = storage_of(seaweedfs)
    handle = storage.reserve("a.txt")
    headers = {
        "Cache-Control": "public, max-age=31536000",
        "Expires": "Wed, 21 Oct 2037 07:28:00 GMT",
    }
    stored_by_others = url_link(seaweedfs, "PUT", handle[1:], headers=headers)
    assert send("PUT", stored_by_others, headers, CONTENT) == Answer(200, None)
    link = storage.download_link(handle, inline=inline, expires=600)
    response = requests.get(link.url, timeout=PATIENCE)
    assert response.headers["Cache-Control"] == "private, immutable"
    assert parsedate_to_datetime(response.headers["Expires"]) == link.expires_at
    shown = "text/plain; charset=utf-8" if inline else response.headers["Content-Type"]
    assert response.headers["Content-Type"] == shown


def test_a_coding_that_others_have_stored_is_told(seaweedfs: SeaweedFS) -> None:
    """By info, by an open attachment, and by a link, which a client then reads decoded."""
    storage = storage_of(seaweedfs)
    handle = storage.reserve("page.txt")
    encoded = gzip.compress(CONTENT)
    headers = {"Content-Encoding": "gzip"}
    link = url_link(seaweedfs, "PUT", handle[1:], headers=headers)
    assert send("PUT", link, headers, encoded) == Answer(200, None)
    assert storage.info(handle).content_encoding == "gzip"
    with storage.open(handle) as reader:
        assert (reader.read(), reader.info.content_encoding) == (encoded, "gzip")
    response = requests.get(storage.download_link(handle).url, timeout=PATIENCE)
    assert (response.content, response.headers["Content-Encoding"]) == (CONTENT, "gzip")
    assert storage.info(storage.add("page.txt", encoded)).content_encoding is None


def test_a_get_link_answers_ranges(seaweedfs: SeaweedFS, attachment: str) -> None:
    """Range is not signed, so a client may ask for a part."""
    link = url_link(seaweedfs, "GET", attachment)
    response = requests.get(link, headers={"Range": "bytes=1-2"}, timeout=PATIENCE)
    assert response.status_code == 206
    assert response.content == CONTENT[1:3]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "DELETE"])
def test_a_get_link_is_no_other_link(seaweedfs: SeaweedFS, attachment: str, method: str) -> None:
    """It can neither write nor remove."""
    link = url_link(seaweedfs, "GET", attachment)
    assert send(method, link, content=b"other").status in {403, 405}
    assert content_of(seaweedfs, attachment) == CONTENT


@pytest.mark.parametrize(
    "appended",
    [
        "response-content-type=text%2Fhtml",
        "response-content-disposition=inline",
        "response-cache-control=public",
        "acl",
        "tagging",
    ],
)
def test_a_get_link_takes_no_further_parameter(
    seaweedfs: SeaweedFS, attachment: str, appended: str
) -> None:
    """The holder cannot turn a download into a page."""
    for query in ({}, {"response-content-type": "text/plain"}):
        link = url_link(seaweedfs, "GET", attachment, query=query)
        for url in (f"{link}&{appended}", link.replace("?", f"?{appended}&")):
            assert send("GET", url) == Answer(403, "SignatureDoesNotMatch")


def test_a_get_link_with_another_response_header_is_refused(
    seaweedfs: SeaweedFS, attachment: str
) -> None:
    """Neither changed nor removed."""
    link = url_link(seaweedfs, "GET", attachment, query={"response-content-type": "text/plain"})
    pair = parameter(link, "response-content-type")
    for url in (link.replace("text%2Fplain", "text%2Fhtml"), link.replace(f"{pair}&", "")):
        assert send("GET", url) == Answer(403, "SignatureDoesNotMatch")


def test_a_get_link_for_another_key_is_refused(seaweedfs: SeaweedFS, attachment: str) -> None:
    """The path is signed."""
    other = new_key()
    assert send("PUT", put_link(seaweedfs, other), HEADERS, CONTENT) == Answer(200, None)
    link = url_link(seaweedfs, "GET", attachment).replace(attachment, other)
    assert send("GET", link) == Answer(403, "SignatureDoesNotMatch")


def test_an_expired_get_link_is_refused(seaweedfs: SeaweedFS, attachment: str) -> None:
    """A link that lived for a minute is refused a second later."""
    link = url_link(seaweedfs, "GET", attachment, age=61)
    assert send("GET", link) == Answer(403, "AccessDenied")


def test_wrong_keys_are_told_apart(seaweedfs: SeaweedFS) -> None:
    """The start-up check relies on these codes."""
    access_key, secret_key, *_ = seaweedfs.credentials["admin"]
    expected = {
        Credentials(access_key, secret_key): Answer(200, None),
        Credentials("unknown", secret_key): Answer(403, "InvalidAccessKeyId"),
        Credentials(access_key, "wrong"): Answer(403, "SignatureDoesNotMatch"),
        Credentials(access_key, secret_key, "token"): Answer(403, "InvalidAccessKeyId"),
        seaweedfs.credentials["reader"]: Answer(200, None),
        seaweedfs.credentials["nobody"]: Answer(403, "AccessDenied"),
    }
    query = {"list-type": "2", "max-keys": "1"}
    actual = {
        credentials: send(
            "GET", url_link(seaweedfs, "GET", "", query=query, credentials=credentials)
        )
        for credentials in expected
    }
    assert expected == actual


def test_the_parts_of_a_multipart_upload_are_sent_by_links(seaweedfs: SeaweedFS) -> None:
    """Create, send two parts, list, complete: each by a link, as Uppy does it."""
    key = new_key()

    def link(method: str, **query: str) -> str:
        return url_link(seaweedfs, method, key, query=query)

    created = requests.post(link("POST", uploads=""), timeout=PATIENCE)
    upload = re.search(r"<UploadId>(.+)</UploadId>", created.text)
    assert upload is not None
    contents = {"1": b"x" * 5 * 2**20, "2": b"end"}
    parts = ""
    for number, content in contents.items():
        url = link("PUT", uploadId=upload[1], partNumber=number)
        etag = requests.put(url, content, timeout=PATIENCE).headers["ETag"]
        parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
    assert send("GET", link("GET", uploadId=upload[1])) == Answer(200, None)
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    assert send("POST", link("POST", uploadId=upload[1]), content=body) == Answer(200, None)
    assert content_of(seaweedfs, key) == b"".join(contents.values())
