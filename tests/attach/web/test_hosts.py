"""The service inside applications of other frameworks, over real servers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from attach.web.impatient import slowly, statuses
from programs import BIN, PATIENCE
from rex.attach.conformance.samples import MIB, sample
from served import HOST, PORT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
DATA = sample(3 * MIB + 5)


class Host(NamedTuple):
    """A running application."""

    name: str
    url: str


COMMANDS = {
    "fastapi": ["granian", "--interface", "asgi", "--factory", "--no-ws", "--port", PORT],
    "django": ["granian", "--interface", "asginl", "--factory", "--no-ws", "--port", PORT],
    "flask": ["gunicorn", "--threads", "4", "--no-control-socket", "--bind", f"{HOST}:{PORT}"],
}


def command(name: str) -> list[object]:
    """Give the command that serves an application."""
    program, *options = COMMANDS[name]
    app = f"host_apps:{name}_app"
    return [BIN / program, *options, app if program == "granian" else f"{app}()"]


@pytest.fixture(scope="module", params=sorted(COMMANDS))
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """Serve an application of each framework."""
    environment = {
        "PYTHONPATH": os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", ""))),
        "HOST_STORAGE": f"file://{tmp_path_factory.mktemp('attachments')}",
    }
    directory = tmp_path_factory.mktemp("host")
    with serving(command(request.param), directory, environment) as served:
        yield Host(request.param, served.url)


@pytest.fixture
def client(host: Host) -> Iterator[httpx.Client]:
    """Give a client that is somebody."""
    with httpx.Client(base_url=host.url, timeout=PATIENCE) as client:
        client.headers["X-User"] = "ann"
        yield client


def upload(client: httpx.Client, content: bytes = DATA) -> str:
    """Store an attachment; give its path."""
    answer = client.post("/attach/", params={"name": "a b.txt"}, content=content)
    path: str = answer.raise_for_status().json()["attachments"][0]["url"]
    return path


def test_an_attachment_goes_in_and_out(client: httpx.Client) -> None:
    """3 MiB sent raw, fetched whole and in part, and removed."""
    path = upload(client)
    assert path.startswith("/attach/20")
    assert DATA == client.get(path).content
    part = client.get(path, headers={"Range": "bytes=1048570-2097160"})
    assert (206, DATA[1048570:2097161]) == (part.status_code, part.content)
    assert 204 == client.delete(path).status_code
    assert 404 == client.get(path).status_code


def test_a_form_is_stored(client: httpx.Client) -> None:
    """With two files."""
    files = [("file", ("a.bin", DATA)), ("file", ("b.txt", b"small"))]
    stored = client.post("/attach/", files=files).raise_for_status().json()["attachments"]
    assert [DATA, b"small"] == [client.get(one["url"]).content for one in stored]


def test_a_body_without_a_length_is_stored_whole_or_refused(client: httpx.Client) -> None:
    """WSGI has no bodies without a length: nothing is stored in place of one."""
    answer = client.post("/attach/", params={"name": "a.bin"}, content=iter([DATA[:5], DATA[5:]]))
    if answer.is_success:
        assert DATA == client.get(answer.headers["Location"]).content
    else:
        assert 400 <= answer.status_code < 500


def test_the_rule_is_asked_about_the_user_of_the_host(host: Host, client: httpx.Client) -> None:
    """Whoever is nobody may not fetch what somebody stored; that of Flask lets everybody."""
    path = upload(client)
    expected = 200 if host.name == "flask" else 403
    assert expected == httpx.get(f"{host.url}{path}").status_code


# The middleware of the FastAPI application hides the end of an answer from granian.
@pytest.mark.parametrize("host", ["django", "flask"], indirect=True)
def test_an_answer_that_comes_early_is_read(host: Host) -> None:
    """Although the client sends for a second before it reads."""
    sent = {"Content-Type": "application/octet-stream"}
    read = slowly(f"{host.url}/attach/no-such-path", sent, 0, 2)
    assert {"404 404": 2} == statuses(read)


def test_the_host_answers_what_is_its_own(host: Host) -> None:
    """A path that is not below /attach is none of ours."""
    answer = httpx.get(f"{host.url}/elsewhere")
    assert 404 == answer.status_code
    assert "problem" not in answer.headers["Content-Type"]
