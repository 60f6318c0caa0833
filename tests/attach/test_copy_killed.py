"""A copy that is killed again and again ends with everything copied, and little of it sent twice.

`REX_COPY_KILLS` says how often it is killed (3).
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from browser.relay import Relay
from programs import PATIENCE, REX, started
from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("REX_COPY_KILLS", "3"))
NUMBER = 60 * KILLS
SIZES = (1, 100, 4096, 4096, 65_536)
LARGE = 9_000_000
"""More than S3 is sent in one request."""
REQUEST = 2000
"""No request that sends nothing has so many bytes."""


def test_a_copy_killed_at_random_moments_is_taken_up_again(
    tmp_path: Path, seaweedfs: SeaweedFS, report_figure: Callable[[str], None]
) -> None:
    """What is there is not sent again, but for what was on its way."""
    keys = {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
    }
    source = f"file://{tmp_path}/files"
    expected = {}
    with open_storage(source) as storage:
        storage.check()
        for each in range(NUMBER):
            size = LARGE if each % 60 == 59 else SIZES[each % len(SIZES)]
            content = random.randbytes(size)  # noqa: S311 - no secret
            handle = storage.add(f"{each}.bin", content)
            expected[handle] = hashlib.sha256(content).hexdigest()

    with Relay().running() as relay:
        relay.target = int(seaweedfs.endpoint.rpartition(":")[2])

        def run(place: str, kill_at: int | None = None) -> tuple[int, int]:
            """Copy until it has told of so many; give the exit code, and how many were copied."""
            dest = f"s3://{seaweedfs.bucket}/{place}-{tmp_path.name}?endpoint={relay.url}"
            command = (REX, "attach", "copy", "--json", source, dest)
            with started(*command, settings={**keys, "pythonunbuffered": 1}) as process:
                copied = 0
                for told, line in enumerate(process.stdout):
                    copied += '"outcome": "copied"' in line
                    if told == kill_at:
                        process.send_signal(signal.SIGKILL)
                process.wait(PATIENCE)
            return process.returncode, copied

        assert (0, NUMBER) == run("whole")
        once = relay.received
        copied, killed = 0, 0
        for kill in range(KILLS):
            # What comes later is killed later, but each at any moment.
            moment = NUMBER * kill // (KILLS + 1) + random.randrange(NUMBER // KILLS)  # noqa: S311
            code, more = run("killed", moment)
            assert code in (0, -signal.SIGKILL)  # it may just have ended
            copied, killed = copied + more, killed + (code != 0)
        code, more = run("killed")
        assert code == 0
        sent = relay.received - once
        assert (0, 0) == run("killed")
        assert relay.received - once - sent < NUMBER * REQUEST

    with open_storage(
        f"s3://{seaweedfs.bucket}/killed-{tmp_path.name}?endpoint={seaweedfs.endpoint}",
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
    ) as there:
        found = {}
        for handle in there:
            with there.open(handle) as stream:
                found[handle] = hashlib.file_digest(stream, "sha256").hexdigest()
    assert expected == found
    # Those that it had copied and not told of were found, and only compared.
    assert copied + more <= NUMBER
    assert killed  # not each time: it may be quicker than the kill
    report_figure(
        f"a copy of {NUMBER:,} killed {killed} times: equal; "
        f"{(sent - once) / killed / 1e6:.1f} MB was sent again for each, of {once / 1e6:.0f}"
    )
