"""Hostile requests to what answers under a path of its own: tus, Uppy's routes, signed links."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from attach.web.hostile.conftest import KEPT, MAX_SIZE
from attach.web.hostile.raw import file_part, form, request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere, Service

NOWHERE = "/2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a"
TUS = "Tus-Resumable: 1.0.0"
PIECE = "Content-Type: application/offset+octet-stream"
FORM = "Content-Type: multipart/form-data; boundary=edge"

PATHS = ["/..", "/../../passwd", "/%2e%2e/passwd", "/..%2f..%2fpasswd", "/%00", "/\\", "//", "/a"]
PATHS += ["{kept}/..", "/.{kept}", "{kept}%0a", "//evil.example{kept}", "/" + "a" * 5000]


@pytest.mark.parametrize("section", ["tus", "s3", "sign", "signed"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "X"])
def test_paths_below_a_section_lead_nowhere_else(
    everywhere: Everywhere, section: str, method: str
) -> None:
    """Whatever the method, and with what a client of the section sends."""
    for path in PATHS:
        lines = (TUS, PIECE, "Upload-Offset: 0", "Content-Length: 0")
        data = request(method, f"/attach/{section}{path}", *lines)
        for answer in everywhere.each(data, head=method == "HEAD"):
            assert answer is None or 400 <= answer.status < 500, (path, answer)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Upload-Length: -1"],
        ["Upload-Length: 1", "Upload-Length: 2"],
        ["Upload-Length: 1", "Upload-Defer-Length: 1"],
        ["Upload-Defer-Length: 2"],
        ["Upload-Length: 1e3"],
        ["Upload-Length: ٣"],
        ["Upload-Length: " + "9" * 400],
        [f"Upload-Length: {MAX_SIZE + 1}"],
        ["Upload-Length: 1", "Upload-Metadata: filename x y"],
        ["Upload-Length: 1", "Upload-Metadata: filename %%%"],
        ["Upload-Length: 1", "Upload-Metadata: " + "a" * 100_000],
        ["Upload-Length: 1", b"Upload-Metadata: \xff\xfe"],
        ["Upload-Length: 1", "Upload-Metadata: ,,,"],
        ["Upload-Length: 1", "Upload-Metadata: a YQ==,a YQ=="],
        ["Upload-Length: 1", "Upload-Concat: both"],
        ["Upload-Concat: final;"],
        ["Upload-Concat: final;/attach/tus/../../passwd"],
        ["Upload-Concat: final;http://169.254.169.254/attach/tus{kept}"],
        ["Upload-Concat: final;file:///etc/passwd http://[::1"],
        ["Upload-Concat: final;" + f"/attach/tus{NOWHERE} " * 2000],
    ],
    ids=lambda given: ascii(given)[:60],
)
def test_a_tus_upload_that_cannot_be_is_not_begun(
    everywhere: Everywhere, headers: list[str | bytes]
) -> None:
    """What its headers say is checked before anything is kept."""
    answer = everywhere.answer(request("POST", "/attach/tus/", TUS, *headers, body=b""))
    assert answer.status in (400, 404, 409, 413)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Upload-Offset: 1"], 409),
        (["Upload-Offset: -1"], 400),
        (["Upload-Offset: 0", "Upload-Offset: 0"], 400),
        (["Upload-Offset: " + "9" * 400], 400),
        (["Upload-Offset: 0", "Upload-Checksum: sha256 AAAA"], 460),
        (["Upload-Offset: 0", "Upload-Checksum: shake_128 AAAA"], 400),
        (["Upload-Offset: 0", "Upload-Checksum: sha1 %%%"], 400),
        (["Upload-Offset: 0", "Upload-Length: 1"], 409),
        ([], 400),
    ],
    ids=lambda given: ascii(given)[:50],
)
def test_a_piece_that_does_not_fit_is_refused(
    everywhere: Everywhere, headers: list[str], status: int
) -> None:
    """And the upload can be ended afterwards; its name is harmless."""
    name = base64.b64encode("../../\u202eetc/passwd\0".encode()).decode()
    lines = (TUS, "Upload-Length: 7", f"Upload-Metadata: filename {name}")
    for service in everywhere.services:
        begun = everywhere.one(service, request("POST", "/attach/tus/", *lines, body=b""))
        url = begun.headers["location"]
        assert url.startswith("/attach/tus/20")
        assert url.endswith("/passwd")
        piece = request("PATCH", url, TUS, PIECE, *headers, body=b"content")
        assert status == everywhere.one(service, piece).status
        large = request("PATCH", url, TUS, PIECE, "Upload-Offset: 0", body=b"content too long")
        assert 413 == everywhere.one(service, large).status
        assert 204 == everywhere.one(service, request("DELETE", url, TUS)).status
        assert 404 == everywhere.one(service, request("HEAD", url, TUS), head=True).status


JUNK: list[Any] = [
    None,
    1,
    -1,
    True,
    1.5,
    [],
    {},
    "",
    "x",
    "../../x",
    "\0",
    "9" * 5000,
    [[]],
    10**30,
]


@pytest.mark.parametrize("member", ["key", "method", "uploadId", "partNumber", "expiresIn"])
@pytest.mark.parametrize("method", ["PUT", "POST", "GET", "DELETE"])
def test_junk_is_not_signed(everywhere: Everywhere, member: str, method: str) -> None:
    """A member of a wrong kind is the client's fault, and never the service's."""
    for uploading in ({}, {"uploadId": "x", "partNumber": 1}):
        for junk in JUNK:
            wanted = {"key": NOWHERE[1:], "method": method, **uploading, member: junk}
            data = request("POST", "/attach/sign", body=json.dumps(wanted).encode())
            for answer in everywhere.each(data):
                assert answer is not None, wanted
                assert answer.status < 500, (wanted, answer)


@pytest.mark.parametrize("member", ["filename", "type", "metadata"])
def test_junk_begins_no_multipart_upload(everywhere: Everywhere, member: str) -> None:
    """What is begun with a harmless name in place of it is ended again."""
    for junk in JUNK:
        wanted = {"filename": "a", "type": "text/plain", "metadata": {}, member: junk}
        data = request("POST", "/attach/s3/multipart", body=json.dumps(wanted).encode())
        for service in everywhere.services:
            answer = everywhere.one(service, data)
            if answer.status == 200:
                told = answer.json
                url = f"/attach/s3/multipart/{told['uploadId']}?key={told['key']}"
                assert 200 == everywhere.one(service, request("DELETE", url)).status


@pytest.mark.parametrize("upload", ["x", "%00", "..", "a.b.c", "a" * 5000, "%2e%2e", "%ff", "é"])
def test_an_upload_that_we_did_not_begin_is_not_touched(
    everywhere: Everywhere, upload: str
) -> None:
    """The id of an upload is a token of ours."""
    base, query = f"/attach/s3/multipart/{upload}", "?key=a"
    for data in (
        request("GET", base + query),
        request("GET", f"{base}/1{query}"),
        request("GET", f"{base}/batch{query}&partNumbers=1,2"),
        request("POST", f"{base}/complete{query}", body=b'{"parts": []}'),
        request("DELETE", base + query),
    ):
        for answer in everywhere.each(data):
            assert answer is None or 400 <= answer.status < 500, answer


def signed(everywhere: Everywhere) -> list[Service]:
    """Give the services whose links lead to themselves."""
    return everywhere.services[:2]


def local_target(url: str) -> str:
    """Give the target of a link that leads to the service."""
    parts = urlsplit(url)
    assert ("http", "service.example") == (parts.scheme, parts.netloc)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def test_a_download_link_is_for_what_it_says(everywhere: Everywhere) -> None:
    """One changed byte, another parameter, method or attachment: refused."""
    for service in signed(everywhere):
        made = everywhere.one(service, request("GET", "/attach{kept}?link"))
        target = local_target(made.json["url"])
        good = everywhere.one(service, request("GET", target, key=None))
        assert (200, KEPT) == (good.status, good.body)
        token = target.index("token=") + len("token=")
        for at in {*range(token, len(target), 7), len(target) - 1}:
            changed = target[:at] + ("B" if target[at] == "A" else "A") + target[at + 1 :]
            assert 403 == everywhere.one(service, request("GET", changed, key=None)).status, at
        for changed in (
            target + "&response-content-type=text/html",
            target + "&inline=1",
            target.replace("token=", "x=y&token="),
            target.replace("token=", "%74oken="),
            target.replace("kept.txt", "kept.html"),
            target.replace("kept.txt", "%6bept.tx%74%00"),
            target.partition("?")[0],
            target.partition("?")[0] + "?token=",
            target.partition("?")[0] + "?token=" + "a" * 50_000,
            target + "." + "a" * 100,
        ):
            answer = everywhere.one(service, request("GET", changed, key=None))
            assert answer.status in (403, 404), changed
        for method in ("HEAD", "PUT", "POST", "DELETE"):
            answer = everywhere.one(
                service, request(method, target, key=None, body=b""), head=method == "HEAD"
            )
            assert answer.status in (403, 405)


def test_an_upload_link_is_for_what_it_says(everywhere: Everywhere) -> None:
    """A field more, less or changed, a file more or a byte more: nothing is stored."""
    wanted = b'{"name": "a.txt", "size": 7, "content_type": "text/plain"}'
    for service in signed(everywhere):
        link = everywhere.one(service, request("POST", "/attach/links", body=wanted)).json["link"]
        target = local_target(link["url"])
        fields: dict[str, str] = link["fields"]

        def status(
            fields: dict[str, str],
            *files: bytes,
            service: Service = service,
            target: str = target,
        ) -> int:
            parts = [
                f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'
                for name, value in fields.items()
            ]
            data = request("POST", target, FORM, body=form(*parts, *files), key=None)
            return everywhere.one(service, data).status

        file = file_part('name="file"; filename="../../evil.html"')
        for name, value in fields.items():
            assert status({**fields, name: f"{value}x"}, file) in (400, 403)
            assert status({k: v for k, v in fields.items() if k != name}, file) in (400, 403)
        assert 403 == status({**fields, "Content-Disposition": "inline"}, file)
        assert 403 == status({**fields, "success_action_redirect": "http://evil.example"}, file)
        assert 413 == status(fields, file + b"x")
        assert status(fields, file, file) in (400, 403)
        assert status(fields) in (400, 403)
        assert status(fields, file_part('name="other"; filename="a"')) in (400, 403)
        assert 204 == status(fields, file)
        assert 409 == status(fields, file)
        handle = fields["key"]
        served = everywhere.one(service, request("GET", f"/attach/{handle}"))
        assert (b"content", "text/plain") == (served.body, served.headers["content-type"])
        assert 204 == everywhere.one(service, request("DELETE", f"/attach/{handle}")).status
