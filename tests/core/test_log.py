"""What is logged, by a script, by a command and by `rex serve`."""

from __future__ import annotations

import datetime
import json
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from programs import BIN, REX, run
from served import PORT, rex_serving, serving

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import logging, sys
if sys.argv[1:]:
    logging.basicConfig()
from rex.attach import open_storage
with open_storage("./empty") as storage:
    storage.check()
"""


def test_a_script_prints_nothing_that_it_did_not_ask_for(tmp_path: Path) -> None:
    """A warning of the library is there only for a program that configures its log."""
    (tmp_path / "empty").mkdir()
    quiet = run(sys.executable, "-c", SCRIPT, directory=tmp_path)
    assert (0, "", "") == (quiet.returncode, quiet.stdout, quiet.stderr)
    told = run(sys.executable, "-c", SCRIPT, "log", directory=tmp_path)
    assert told.stderr.startswith("WARNING:rex.attach:")
    assert "has no marker" in told.stderr


def test_a_command_shows_warnings_but_each_failure_once(tmp_path: Path) -> None:
    """The failure of an operation is the command's own error."""
    (tmp_path / "empty").mkdir()
    settings = {"attach_dir": tmp_path / "empty"}
    done = run(REX, "attach", "add", "--name", "a.txt", "-", settings=settings)
    assert 0 == done.returncode
    assert done.stderr.startswith(f"rex: warning: {tmp_path}/empty is empty and has no marker")
    settings = {"attach_dir": tmp_path / "missing" / "missing"}
    done = run(REX, "attach", "add", "--name", "a.txt", "-", settings=settings)
    assert (9, 1) == (done.returncode, done.stderr.count("rex: ")), done.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_all_lines_of_a_server_have_one_format_and_a_time(tmp_path: Path, form: str) -> None:
    """Requests, our own log and the server's; a file name cannot forge a line."""
    options = ("--access-log", "--log-level", "info", "--log-format", form)
    began = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    with rex_serving(tmp_path, *options, attach_dir=tmp_path / "attachments") as served:
        stored = httpx.post(f"{served.url}/attach/", params={"name": "a.txt"}, content=b"text")
        assert stored.is_success
        served.until(lambda: "POST" in served.log.read_text())
    first, *lines = served.log.read_text().splitlines()
    assert first.startswith("Serving on ")
    if form == "json":
        records = [json.loads(line) for line in lines]
        assert {"rex.attach", "rex.access", "granian"} <= {each["logger"] for each in records}
        (request,) = (each for each in records if each.get("method") == "POST")
        assert ("/attach/", 201, "info") == (request["path"], request["status"], request["level"])
        (added,) = (each for each in records if each.get("operation") == "add")
        assert ("ok", 4) == (added["outcome"], added["bytes"])
    else:
        records = [dict(zip(("time", "level"), line.split(), strict=False)) for line in lines]
        assert any(' rex.access: 127.0.0.1 "POST /attach/" 201 ' in line for line in lines)
    assert all(began <= datetime.datetime.fromisoformat(each["time"]) for each in records)


def test_a_closed_service_says_so_when_it_starts(tmp_path: Path) -> None:
    """And how to open it; an open one has nothing to say, and no other line is logged."""
    command = (BIN / "rex", "serve", "--port", PORT)
    settings = {"ATTACH_DIR": tmp_path / "attachments"}
    with serving(command, tmp_path, settings) as closed:
        assert httpx.codes.FORBIDDEN == httpx.get(f"{closed.url}/attach/").status_code
    said = closed.log.read_text().splitlines()
    assert 3 == len(said)
    assert "attach_access is none" in said[1]
    assert "rex --set attach_access=public serve" in said[2]
    with serving(command, tmp_path, {**settings, "ATTACH_ACCESS": "public"}) as opened:
        assert httpx.get(f"{opened.url}/attach/").is_success
        assert 1 == len(opened.log.read_text().splitlines())
