"""A refusal that comes before the body was sent is read by the clients that people use.

In full, with Chromium: ``PYTHONPATH=tests python benchmarks/refusals.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.web.impatient import CLIENTS, slowly, statuses
from served import Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

KEY = "the-key-of-a-test"
RAW = {"Content-Type": "application/octet-stream"}
ALLOWED = {**RAW, "Authorization": f"Bearer {KEY}"}
MIB = 80
"""More than the server discards."""
ATTEMPTS = 3
TIMES = 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve with a key, and with a limit of 1 MiB."""
    directory = tmp_path_factory.mktemp("refusing")
    with rex_serving(
        directory,
        attach_dir=directory / "attachments",
        attach_access="bearer",
        attach_access_keys=KEY,
        attach_max_size="1 MiB",
    ) as served:
        yield served


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_why_its_large_body_is_refused(served: Served, client: str) -> None:
    """Each time: that the key is missing, and that the body is too large.

    On a busy machine, a client may be silent for longer than the service waits; it tries again.
    """
    url = f"{served.url}/attach/?name=a.bin"
    for headers, expected in ((RAW, "401 401"), (ALLOWED, "413 413")):
        tries = (statuses(CLIENTS[client](url, headers, MIB, TIMES)) for _ in range(ATTEMPTS))
        found = next((each for each in tries if {expected: TIMES} == each), None)
        assert found is not None


@pytest.mark.parametrize(
    ("path", "status"),
    [("/attach/nothing", 404), ("/nothing", 404), ("/health", 405), ("/attach/tus/", 412)],
)
def test_every_early_answer_is_read(served: Served, path: str, status: int) -> None:
    """Also of paths without a route, and of routes besides those of the attachments."""
    tries = (slowly(f"{served.url}{path}", ALLOWED, MIB, 1) for _ in range(ATTEMPTS))
    assert any(str(status) in read for (read,) in tries)
