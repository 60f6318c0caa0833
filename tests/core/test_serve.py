"""The command `rex serve`, for real: granian on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

CANARY = "canary-signature"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_is_served_until_it_is_told_to_stop(tmp_path: Path, workers: int) -> None:
    """Stored, served, and stopped by SIGTERM; the access log shows no query."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [str(Path(sys.executable).with_name("rex")), "serve", "--port", str(port)]
    environment = {
        "PATH": os.environ["PATH"],
        "ATTACH_DIR": str(tmp_path / "attachments"),
        "ATTACH_ACCESS": "anybody",
    }
    program = subprocess.Popen(
        [*serve, "--access-log", "--workers", str(workers)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=8)) as client:
            assert "ok\n" == client.get("/health").text
            stored = client.post("/attach/", params={"name": "a.txt"}, content=b"content")
            answer = client.get(f"{stored.headers['Location']}?X-Amz-Signature={CANARY}")
            assert b"content" == answer.content
            client.get("/attach/a%0aFORGED%1b[31m")
            second = subprocess.run(serve, env=environment, capture_output=True, check=False)
            assert (9, True) == (second.returncode, b"Cannot listen" in second.stderr)
    finally:
        program.send_signal(signal.SIGTERM)
        said, _ = program.communicate(timeout=60)
    assert 0 == program.returncode
    assert f"Serving on {url}" in said
    assert '"GET /attach/20' in said
    assert "/attach/a%0aFORGED%1b[31m" in said
    assert CANARY not in said


def test_a_wrong_configuration_is_told_before_serving(tmp_path: Path) -> None:
    """Once, in one paragraph, with its exit code."""
    done = subprocess.run(
        [Path(sys.executable).with_name("rex"), "serve"],
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
