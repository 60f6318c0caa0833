"""Each command of the page of requests is one that the service answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from programs import run
from served import rex_serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Served

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "requests.md"
COMMANDS = re.findall(r"^\$ (curl .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
WRONG = ("400", "405", "411", "415", "500", "501")
"""Statuses of a request that the service does not understand, or should not have."""
EXPECTED = {
    'curl "$ATTACH/"': "200",
    'curl -F file=@scan.png "$ATTACH/"': "201",
    'curl "$ATTACH$HANDLE"': "200",
    'curl "$ATTACH/zip?handle=$HANDLE"': "200",
    'curl -X DELETE "$ATTACH$HANDLE"': "204",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run the service over a directory, with a file to send."""
    directory = tmp_path_factory.mktemp("requests")
    (directory / "scan.png").write_bytes(b"bytes")
    (directory / "event.json").write_text("{}")
    with rex_serving(directory, attach_dir=directory / "attachments") as served:
        yield served


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_the_service_understands_a_request(service: Served, command: str) -> None:
    """Tokens and uploads that do not exist are refused, but not as malformed."""
    names = {"attach": f"{service.url}/attach", "key": "k", "upload_id": "u", "receipt": "r.r"}
    stored = _status(service, 'curl -F file=@scan.png "$ATTACH/"', names, "%header{location}")
    handle = stored.partition("/attach")[2]
    status = _status(service, command, {**names, "handle": handle, "token": "t.t"}, "%{http_code}")
    assert status == EXPECTED.get(command, status)
    assert status not in WRONG


def _status(service: Served, command: str, settings: dict[str, str], shown: str) -> str:
    """Run a command; return what curl says of the response."""
    done = run(
        "bash",
        "-c",
        f"{command} --silent --output /dev/null --write-out '{shown}'",
        directory=service.directory,
        settings=settings,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
