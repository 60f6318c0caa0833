"""What `rex serve --metrics` tells Prometheus, whichever of its processes is asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from programs import REX, run
from served import reserved_port, rex_serving

if TYPE_CHECKING:
    from pathlib import Path

    from served import Served

KEY = "canary-key-of-somebody"
SECRET = "canary-attach-secret-of-forty-characters"
NAME = "canary name.txt"
WORKERS = 2

REQUESTS = "rex_http_request_duration_seconds_count"
OPERATIONS = "rex_attach_operation_duration_seconds_count"
BYTES = "rex_attach_bytes_total"


def metrics(served: Served) -> dict[tuple[str, ...], float]:
    """Ask on a connection of its own; give each count by its name and labels."""
    answer = httpx.get(f"{served.url}/metrics")
    assert "text/plain" == answer.headers["Content-Type"].partition(";")[0]
    assert "no-store" == answer.headers["Cache-Control"]
    assert not [hidden for hidden in (KEY, SECRET, "canary", "/2") if hidden in answer.text]
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum", "_created"))
    }


def busy_workers(directory: Path) -> int:
    """Tell how many processes have answered a request."""
    read: Any = MmapedDict.read_all_values_from_file
    found = [read(str(file)) for file in directory.glob("histogram_*.db")]
    return sum(any("rex_http" in key and value for key, value, *_ in values) for values in found)


@pytest.mark.long
def test_metrics_are_those_of_all_processes(tmp_path: Path) -> None:
    """Every request and verb once, the same from each process; nothing stays in the end."""
    (tmp_path / "tmp").mkdir()
    settings = {
        "attach_dir": tmp_path / "attachments",
        "attach_access": "bearer",
        "attach_access_keys": KEY,
        "attach_secret": SECRET,
        "tmpdir": tmp_path / "tmp",
    }
    options = ("--metrics", "--access-log", "--workers", WORKERS)
    with rex_serving(tmp_path, *options, **settings) as served:
        (directory,) = (tmp_path / "tmp").iterdir()
        assert 0o700 == directory.stat().st_mode & 0o777
        asked = 0
        headers = {"Authorization": f"Bearer {KEY}"}

        def ask(method: str, path: str, content: bytes = b"") -> httpx.Response:
            nonlocal asked
            asked += 1
            return httpx.request(method, f"{served.url}{path}", content=content, headers=headers)

        def both_have_answered() -> bool:
            places.append(ask("POST", f"/attach/?name={NAME}", b"content").headers["Location"])
            return busy_workers(directory) == WORKERS

        places: list[str] = []
        served.until(both_have_answered)
        for place in places:
            assert b"content" == ask("GET", place).content
        ask("GET", places[0].replace("/20", "/19"))
        for method, path in (("BREW", "/attach/"), ("GET", "/canary"), ("GET", "/%0aFORGED")):
            ask(method, path)

        def all_is_told() -> bool:
            # What comes after an answer is counted after it.
            told = metrics(served)
            requests = sum(told[key] for key in told if key[0] == REQUESTS and "/health" not in key)
            return asked <= requests and told.get((BYTES, "out")) == stored * len(b"content")

        stored = len(places)
        served.until(all_is_told)
        told = [metrics(served) for _ in range(20)]
        first = told[0]
        assert all(first == other for other in told)
        requests = {key[1:]: first[key] for key in first if key[0] == REQUESTS}
        assert asked == sum(requests[key] for key in requests if "/health" not in key)
        assert stored == requests["POST", "/attach", "201"]
        assert stored == requests["GET", "/attach", "200"]
        assert 1 == requests["GET", "/attach", "404"]
        assert 2 == requests["GET", "_OTHER", "404"]
        assert 1 == sum(requests[key] for key in requests if key[:2] == ("_OTHER", "/attach"))
        assert stored == first[OPERATIONS, "add", "ok"]
        reads = [first.get((OPERATIONS, name, "ok"), 0) for name in ("open", "read_cached")]
        assert stored == sum(reads)
        assert stored * len(b"content") == first[BYTES, "in"]
        assert 405 == httpx.post(f"{served.url}/metrics").status_code
        assert httpx.get(f"{served.url}/metrics", headers={b"Accept": b"\xff"}).is_success
    assert 0 == served.program.returncode
    assert [] == [*(tmp_path / "tmp").iterdir()]
    said = served.log.read_text()
    assert '"GET /attach/20' in said
    assert "/metrics" not in said
    assert "Traceback" not in said


def test_metrics_are_told_only_where_they_are_asked_for(tmp_path: Path) -> None:
    """Otherwise there is nothing, not even a directory."""
    (tmp_path / "tmp").mkdir()
    settings = {"attach_dir": tmp_path / "attachments", "tmpdir": tmp_path / "tmp"}
    with rex_serving(tmp_path, **settings) as served:
        assert 404 == httpx.get(f"{served.url}/metrics").status_code
        assert [] == [*(tmp_path / "tmp").iterdir()]


def test_metrics_need_a_package(tmp_path: Path) -> None:
    """Which the error names."""
    program = """
import sys
sys.modules["prometheus_client"] = None
sys.argv[1:] = ["serve", "--metrics"]
from rex.core.cli import main
main()
"""
    done = run(sys.executable, "-c", program, directory=tmp_path)
    assert (9, True) == (done.returncode, "pip install 'rex-attach[metrics]'" in done.stderr)


@pytest.mark.parametrize("command", [["attach", "ls"], ["serve"]])
def test_a_failure_is_told_once(tmp_path: Path, command: list[str]) -> None:
    """By the command, and not by the log of the verb too."""
    (tmp_path / "file").touch()
    with reserved_port() as port:
        listen = ["--port", str(port)] if command == ["serve"] else []
        broken = f"attach_dir={tmp_path / 'file'}"
        done = run(REX, "--set", broken, *command, *listen, directory=tmp_path)
    assert 9 == done.returncode
    assert done.stderr.startswith("rex: ")
    assert " ms" not in done.stderr
