"""Archives over HTTP: how they are asked for, whom the rule allows what, and what fails."""

from __future__ import annotations

import http.client
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import flask
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

import rex.attach.fastapi
from attach.service import Service
from attach.web.test_app import ANYBODY, ask
from programs import PATIENCE
from rex.attach.flask import Attachments
from rex.attach.web import Access, attachments, owners_only
from rex.attach.web.access import access_rule
from rex.core import Secret

if TYPE_CHECKING:
    import httpx

    from rex.attach import Storage
    from rex.attach.backends.local.storage import LocalStorage

MIB = 1024 * 1024


def unpack(response: httpx.Response) -> dict[str, bytes]:
    """Return the entries of an archive; check its length."""
    assert 200 == response.status_code, response.text
    assert str(len(response.content)) == response.headers["Content-Length"]
    unpacked = zipfile.ZipFile(io.BytesIO(response.content))
    return {name: unpacked.read(name) for name in unpacked.namelist()}


def test_get_form_and_json_give_the_same_archive(memory: Storage) -> None:
    """Under the name that the client chooses, made safe."""
    app = attachments(memory, ANYBODY)
    handles = [memory.add("ü.txt", "one"), memory.add("ü.txt", "two")]
    pairs = {"handle": handles, "name": "../my photos"}
    expected = {"ü.txt": b"one", "ü (2).txt": b"two"}
    for response in (
        ask(app, "GET", "/zip", params=pairs),
        ask(app, "POST", "/zip", data=pairs),
        ask(app, "POST", "/zip", json={"handles": handles, "name": "../my photos"}),
    ):
        assert expected == unpack(response)
        assert "application/zip" == response.headers["Content-Type"]
        assert 'attachment; filename="my photos.zip"' == response.headers["Content-Disposition"]
        assert "nosniff" == response.headers["X-Content-Type-Options"]
        assert "no-store" == response.headers["Cache-Control"]


def test_a_name_is_optional(memory: Storage) -> None:
    """Nor is the extension doubled, or the name longer than names may be."""
    app, handle = attachments(memory, ANYBODY), memory.add("a.txt", "one")
    names = {
        None: "attachments.zip",
        "A.ZIP": "A.ZIP",
        "": "attachments.zip",
        "a" * 255: f"{'a' * 251}.zip",
    }
    for given, expected in names.items():
        response = ask(app, "POST", "/zip", json={"handles": [handle], "name": given})
        assert f'attachment; filename="{expected}"' == response.headers["Content-Disposition"]


def test_head_tells_the_length_without_reading(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same archive."""
    app, handle = attachments(memory, ANYBODY), memory.add("a.txt", "one")
    expected = ask(app, "GET", "/zip", params={"handle": handle}).headers
    monkeypatch.delattr(type(memory), "_get")
    response = ask(app, "HEAD", "/zip", params={"handle": handle})
    assert expected == response.headers
    assert b"" == response.content


def test_what_the_rule_refuses_is_like_what_does_not_exist(memory: Storage) -> None:
    """The rule is asked for each handle; in the manifest, nothing tells them apart."""
    mine, theirs = memory.add("mine.txt", "1", owner="ann"), memory.add("b.txt", "2", owner="bob")
    gone = memory.reserve("gone.txt", owner="ann")
    handles = [gone, theirs, mine]
    access = Access(owners_only(memory), user=lambda _: "ann")
    found = unpack(ask(attachments(memory, access), "POST", "/zip", json={"handles": handles}))
    manifest = "".join(f"{handle}\n" for handle in sorted([gone, theirs])).encode()
    assert {"mine.txt": b"1", "missing.txt": manifest} == found


def test_a_rule_may_refuse_with_an_exception_of_the_framework(memory: Storage) -> None:
    """As for one attachment; a failure of the rule is another matter."""
    good, bad = memory.add("good.txt", "1"), memory.add("bad.txt", "2")

    refused: dict[str | None, int] = {}

    def rule(_: Any, action: str, handle: str | None) -> bool:
        assert "download" == action
        if handle in refused:
            raise HTTPException(refused[handle])
        return True

    app = attachments(memory, Access(rule))
    for status in (401, 403, 404):
        refused[bad] = status
        response = ask(app, "POST", "/zip", json={"handles": [good, bad]})
        assert {"good.txt": b"1", "missing.txt": f"{bad}\n".encode()} == unpack(response)
        assert 404 == ask(app, "POST", "/zip", json={"handles": [bad]}).status_code
    refused[bad] = 503
    assert 503 == ask(app, "POST", "/zip", json={"handles": [good, bad]}).status_code
    refused[None] = 401
    assert 401 == ask(app, "POST", "/zip", json={"handles": [good]}).status_code


def test_a_client_that_may_download_nothing_is_refused_at_once(memory: Storage) -> None:
    """The rule is asked without a handle first. A client without a key reads that it needs one."""
    handle = memory.add("a.txt", "one")
    refused = attachments(memory, Access(lambda *_: False))
    keys = attachments(memory, Access(access_rule("bearer", Secret("k" * 32))))
    assert 403 == ask(refused, "GET", "/zip", params={"handle": handle}).status_code
    assert 401 == ask(keys, "GET", "/zip", params={"handle": handle}).status_code
    key = {"Authorization": f"Bearer {'k' * 32}"}
    assert 200 == ask(keys, "GET", "/zip", params={"handle": handle}, headers=key).status_code


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "ill-formed"),
        ({"handles": []}, 400, "ill-formed"),
        ({"handles": "/2026/11/29"}, 400, "ill-formed"),
        ({"handles": ["/../../etc/passwd"]}, 400, "ill-formed"),
        ({"handles": [None]}, 400, "ill-formed"),
        ({"handles": ["GONE"], "name": 5}, 400, "ill-formed"),
        ({"handles": ["GONE"] * 1001}, 413, "too-large"),
        ({"handles": ["GONE"]}, 404, "not-found"),
        ([], 400, "ill-formed"),
    ],
)
def test_a_wrong_request_is_a_problem(memory: Storage, body: Any, status: int, code: str) -> None:
    """In JSON."""
    given = json.dumps(body).replace("GONE", memory.reserve("gone.txt"))
    response = ask(attachments(memory, ANYBODY), "POST", "/zip", content=given)
    assert (status, code) == (response.status_code, response.json()["type"])
    assert "application/problem+json" == response.headers["Content-Type"]


def test_a_form_with_very_many_fields_is_not_parsed(memory: Storage) -> None:
    """That would occupy the event loop."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    app = attachments(memory, ANYBODY)
    refused = ask(app, "POST", "/zip", content=b"&a" * 2001, headers=headers)
    assert (413, "too-large") == (refused.status_code, refused.json()["type"])


def test_frameworks_have_the_route_too(local: LocalStorage) -> None:
    """FastAPI and Flask, with rules of their own."""
    mine, theirs = (local.add(f"{name}.txt", name, owner=name) for name in ("ann", "bob"))
    expected = {"ann.txt": b"ann", "missing.txt": f"{theirs}\n".encode()}
    fastapi_app, flask_app = FastAPI(), flask.Flask("shop")
    rex.attach.fastapi.Attachments(fastapi_app, local, user=lambda: "ann")
    Attachments(flask_app, storage=local, rule=owners_only(local), user=lambda: "ann")
    body = {"handles": [mine, theirs]}
    assert expected == unpack(ask(fastapi_app, "POST", "/attach/zip", json=body))
    assert "/attach/zip" in fastapi_app.openapi()["paths"]
    response = flask_app.test_client().post("/attach/zip", json=body)
    unpacked = zipfile.ZipFile(io.BytesIO(response.data))
    assert expected == {name: unpacked.read(name) for name in unpacked.namelist()}
    for handle in (mine, theirs):
        local.remove(handle)


def test_a_client_notices_that_an_archive_is_cut_off(
    local: LocalStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """The server closes the connection before the announced length; the log says why."""
    handles = [local.add("large.bin", bytes(32 * MIB))]  # more than the buffers of a connection
    handles += [local.add("a.bin", b"small") for _ in range(8)]
    with Service() as service:
        address = urlsplit(service.serve(local, access=ANYBODY))
        client = http.client.HTTPConnection(address.netloc, timeout=PATIENCE)
        query = "&".join(f"handle={quote(handle)}" for handle in handles)
        client.request("GET", f"{address.path}/zip?{query}")
        response = client.getresponse()
        local.remove(handles[-1])
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
        client.close()
    assert "an archive of 9 attachments is cut off" in caplog.text
    for handle in handles[:-1]:
        local.remove(handle)
