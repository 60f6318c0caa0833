"""The command `rex serve`, for real: granian on a free port."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from served import BIN, rex_serving

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-signature"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_is_served_until_it_is_told_to_stop(tmp_path: Path, workers: int) -> None:
    """Stored, served, and stopped by SIGTERM; the access log shows no query."""
    settings = {"attach_dir": tmp_path / "attachments"}
    with rex_serving(tmp_path, "--access-log", "--workers", workers, **settings) as served:
        with httpx.Client(base_url=served.url) as client:
            assert "ok\n" == client.get("/health").text
            stored = client.post("/attach/", params={"name": "a.txt"}, content=b"content")
            answer = client.get(f"{stored.headers['Location']}?X-Amz-Signature={CANARY}")
            assert b"content" == answer.content
            client.get("/attach/a%0aFORGED%1b[31m")
        second = subprocess.run(
            [BIN / "rex", "serve", "--port", str(served.port)],
            env={"PATH": os.environ["PATH"], "ATTACH_DIR": str(tmp_path / "attachments")},
            cwd=tmp_path,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (9, True) == (second.returncode, b"Cannot listen" in second.stderr)
    said = served.log.read_text()
    assert 0 == served.program.returncode
    assert f"Serving on {served.url}" in said
    assert '"GET /attach/20' in said
    assert "/attach/a%0aFORGED%1b[31m" in said
    assert CANARY not in said


def test_a_wrong_configuration_is_told_before_serving(tmp_path: Path) -> None:
    """Once, in one paragraph, with its exit code."""
    done = subprocess.run(
        [BIN / "rex", "serve"],
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 9 == done.returncode
    assert "No storage is configured" in done.stderr
    assert "Traceback" not in done.stderr


def test_examples_are_served_only_where_they_are_named(tmp_path: Path) -> None:
    """What shows how it is done is not what an operator wants to run."""
    settings = {"attach_dir": tmp_path / "attachments"}
    with rex_serving(tmp_path, **settings) as served:
        assert httpx.get(f"{served.url}/attach/").is_success
        assert httpx.codes.NOT_FOUND == httpx.get(f"{served.url}/attach_demo/").status_code
    (tmp_path / "rex.toml").write_text('packages = ["rex.attach_demo"]')
    with rex_serving(tmp_path, **settings) as served:
        assert httpx.get(f"{served.url}/attach_demo/").is_success
