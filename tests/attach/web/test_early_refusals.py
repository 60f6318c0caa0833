"""A refusal that comes before the body was sent is read by the clients that people use.

In full, with Chromium: ``PYTHONPATH=tests python benchmarks/refusals.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attach.web.impatient import CLIENTS, slowly, statuses
from programs import PATIENCE
from served import PORT, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

PATIENT = Path(__file__).with_name("patient.py")
KEY = "the-key-of-a-test"
RAW = {"Content-Type": "application/octet-stream"}
ALLOWED = {**RAW, "Authorization": f"Bearer {KEY}"}
MIB = 80
"""More than the server discards."""
TIMES = 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve with a key, and with a limit of 1 MiB."""
    directory = tmp_path_factory.mktemp("refusing")
    settings = {
        "attach_dir": directory / "attachments",
        "attach_access": "bearer",
        "attach_access_keys": KEY,
        "attach_max_size": "1 MiB",
        "attach_stall_timeout": PATIENCE,
    }
    command = [sys.executable, PATIENT, "serve", "--port", PORT]
    with serving(command, directory, settings) as served:
        yield served


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_why_its_large_body_is_refused(served: Served, client: str) -> None:
    """Each time: that the key is missing, and that the body is too large."""
    url = f"{served.url}/attach/?name=a.bin"
    for headers, expected in ((RAW, "401 401"), (ALLOWED, "413 413")):
        assert {expected: TIMES} == statuses(CLIENTS[client](url, headers, MIB, TIMES))


@pytest.mark.parametrize(
    ("path", "status"),
    [("/attach/nothing", 404), ("/nothing", 404), ("/health", 405), ("/attach/tus/", 412)],
)
def test_every_early_answer_is_read(served: Served, path: str, status: int) -> None:
    """Also of paths without a route, and of routes besides those of the attachments."""
    (read,) = slowly(f"{served.url}{path}", ALLOWED, MIB, 1)
    assert str(status) in read
