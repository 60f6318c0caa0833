"""`send_attachment` answers as the service does: conditions, byte ranges, safety."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import flask
import pytest

from rex.attach.conformance.samples import MIB, sample
from rex.attach.flask import Attachments, current_attachments, send_attachment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient

ETAG, DATE, LATER = "{etag}", "{date}", "Fri, 01 Jan 2100 00:00:00 GMT"
OLD = "Thu, 01 Jan 1970 00:00:00 GMT"
CASES: list[dict[str, str]] = [
    {},
    {"Range": "bytes=0-9"},
    {"Range": "bytes=5-"},
    {"Range": "bytes=-3"},
    {"Range": "bytes=1-2, 4-5"},
    {"Range": "bytes=99999999-"},
    {"Range": "bytes=2-1"},
    {"Range": "lines=0-1"},
    {"Range": "bytes=0-4", "If-Range": ETAG},
    {"Range": "bytes=0-4", "If-Range": '"other"'},
    {"Range": "bytes=0-4", "If-Range": DATE},
    {"If-None-Match": ETAG},
    {"If-None-Match": '"other"'},
    {"If-None-Match": "*"},
    {"If-Match": ETAG},
    {"If-Match": '"other"'},
    {"If-Modified-Since": DATE},
    {"If-Modified-Since": OLD},
    {"If-Unmodified-Since": OLD},
    {"If-Unmodified-Since": LATER},
    {"If-Match": '"other"', "Range": "bytes=0-1"},
    {"If-None-Match": ETAG, "Range": "bytes=0-1"},
]
SIZES = {"empty": 0, "small": 10, "large": 3 * MIB}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> flask.Flask:
    """Make an application that sends attachments by the service and by a view."""
    app = flask.Flask(__name__)
    app.config["ATTACH_DIR"] = tmp_path_factory.mktemp("attachments")
    Attachments(app, rule=lambda *_: True)

    @app.get("/sent/<path:handle>")
    def sent(handle: str) -> flask.Response:
        given: dict[str, Any] = flask.request.args.to_dict()
        return send_attachment(f"/{handle}", **given)

    return app


@pytest.fixture
def client(app: flask.Flask) -> Iterator[FlaskClient]:
    """Give a client."""
    with app.test_client() as client:
        yield client


def add(app: flask.Flask, name: str, content: bytes) -> str:
    """Store an attachment; return its path below both."""
    with app.app_context():
        return current_attachments.add(name, content)


def comparable(answer: Any) -> tuple[int, dict[str, str], bytes]:
    """Return a response, with the same boundary in every multipart body."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    found = re.search("boundary=(.*)", headers.get("content-type", ""))
    if found is None:
        return answer.status_code, headers, answer.data
    headers["content-type"] = headers["content-type"].replace(found[1], "x")
    return answer.status_code, headers, answer.data.replace(found[1].encode(), b"x")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_view_answers_as_the_service_does(
    app: flask.Flask, client: FlaskClient, case: dict[str, str], method: str, size: str
) -> None:
    """Status, headers and body are equal (RFC 9110, sections 13 and 14)."""
    handle = add(app, "a.txt", sample(SIZES[size]))
    whole = client.head(f"/attach{handle}").headers
    known = {"etag": whole["ETag"], "date": whole["Last-Modified"]}
    headers = {name: value.format(**known) for name, value in case.items()}
    service, view = (
        comparable(client.open(f"/{where}{handle}", method=method, headers=headers))
        for where in ("attach", "sent")
    )
    assert service == view


def test_all_statuses_occur_in_the_table(app: flask.Flask, client: FlaskClient) -> None:
    """So the comparison compares something."""
    handle = add(app, "a.txt", sample(10))
    whole = client.head(f"/attach{handle}").headers
    known = {"etag": whole["ETag"], "date": whole["Last-Modified"]}
    found = {
        client.get(
            f"/sent{handle}", headers={name: value.format(**known) for name, value in case.items()}
        ).status_code
        for case in CASES
    }
    assert {200, 206, 304, 412, 416} == found


def test_a_type_that_may_carry_a_script_is_downloaded(
    app: flask.Flask, client: FlaskClient
) -> None:
    """Even if the view wants it inline; the browser runs nothing."""
    answer = client.get(f"/sent{add(app, 'a.html', b'<script>')}")
    assert 'attachment; filename="a.html"' == answer.headers["Content-Disposition"]
    assert "nosniff" == answer.headers["X-Content-Type-Options"]
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")


def test_the_view_chooses_the_name_and_whether_to_download(
    app: flask.Flask, client: FlaskClient
) -> None:
    """The name of the download cannot break out of the header."""
    handle = add(app, "a.txt", b"abc")
    shown = [
        client.get(f"/sent{handle}", query_string=query).headers["Content-Disposition"]
        for query in ({}, {"inline": ""}, {"download_name": 'ä"\r\nX: y.txt'})
    ]
    expected = ['inline; filename="a.txt"', 'attachment; filename="a.txt"']
    assert [
        *expected,
        "inline; filename=\"____X: y.txt\"; filename*=UTF-8''%C3%A4%22%0D%0AX%3A%20y.txt",
    ] == shown


def test_what_does_not_exist_is_a_problem_document(client: FlaskClient) -> None:
    """404 for a handle of nothing; 400 for what is not a handle."""
    gone = client.get("/sent/2026/11/28/00000000-0000-4000-8000-000000000000/a.txt")
    assert (404, "not-found") == (gone.status_code, gone.get_json()["kind"])
    assert 400 == client.get("/sent/not-a-handle").status_code


def test_the_reader_is_closed_when_the_client_leaves(
    app: flask.Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And also when the whole was read."""
    opened = []
    with app.app_context():
        storage = current_attachments._get_current_object()  # type: ignore[attr-defined]
    open_it = storage.open

    def note(*args: Any, **kwargs: Any) -> Any:
        opened.append(open_it(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(storage, "open", note)
    handle = add(app, "a.txt", sample(3 * MIB))
    client.get(f"/sent{handle}").close()
    assert 3 * MIB == len(client.get(f"/sent{handle}").data)
    assert [True, True] == [reader.closed for reader in opened]
