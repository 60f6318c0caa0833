"""A copy that is killed again and again ends with everything copied, and little of it sent twice.

`REX_COPY_KILLS` says how often it is killed (3).
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from browser.relay import Relay
from programs import PATIENCE, REX, Program, started
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

        def run(place: str, kill_after: int | None = None) -> tuple[int, int]:
            """Copy until so many bytes were sent; return the exit code, and how many it copied.

            The bytes after these are held until the copy is killed, so that it cannot end before.
            """
            if kill_after is not None:
                relay.hold_after(kill_after, small=0)
            dest = f"s3://{seaweedfs.bucket}/{place}-{tmp_path.name}?endpoint={relay.url}"
            command = (REX, "attach", "copy", "--json", source, dest)
            with started(*command, settings={**keys, "pythonunbuffered": 1}) as process:
                if kill_after is not None:
                    threading.Thread(target=kill_held, args=[process]).start()
                copied = sum('"outcome": "copied"' in line for line in process.stdout)
                process.wait(PATIENCE)
            relay.cut()
            return process.returncode, copied

        def kill_held(process: Program) -> None:
            relay.wait_until_held()
            process.kill()

        assert (0, NUMBER) == run("whole")
        once = relay.received
        copied = 0
        for _ in range(KILLS):
            # At any moment, but all of them leave something to copy.
            code, more = run("killed", random.randrange(once // (KILLS + 1)))  # noqa: S311
            assert code == -signal.SIGKILL
            copied += more
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
    report_figure(
        f"a copy of {NUMBER:,} killed {KILLS} times: equal; "
        f"{(sent - once) / KILLS / 1e6:.1f} MB was sent again for each, of {once / 1e6:.0f}"
    )
