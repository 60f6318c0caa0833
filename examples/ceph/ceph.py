"""A throwaway Ceph with its S3 gateway, on this machine, until Ctrl-C: `make ceph`.

One monitor, one OSD that has its objects in memory, and radosgw, from the packages of Debian. They
listen only on 127.0.0.1 and leave no files behind.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import sys
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach.links.sigv4 import Credentials, presign_url
from rex.attach_demo.temporary import HOST, TemporaryServer, run
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rex.attach_demo import supervise

HERE = Path(__file__).parent
PROGRAMS = {
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
}
"""The Debian package of each program."""
PORTS = range(10_000, 32_000)
"""Below Linux's range of ephemeral ports."""


class Ceph(TemporaryServer):
    """A Ceph that runs inside a ``with`` block; it takes some seconds to start.

    `bucket` exists when the block begins, and belongs to the user of `settings`. Errors are those
    of `TemporaryServer`.
    """

    name = "Ceph"

    def __init__(self, bucket: str = "attachments") -> None:
        super().__init__()
        self.bucket = bucket
        self.region = "us-east-1"

    def settings(self) -> dict[str, str]:
        """Return the settings of `rex.attach` for this server."""
        (keys,) = json.loads(self._user.read_text())["keys"]
        return {
            "attach_s3_bucket": self.bucket,
            "attach_s3_endpoint": self.endpoint,
            "attach_s3_region": self.region,
            "attach_s3_access_key": keys["access_key"],
            "attach_s3_secret_key": keys["secret_key"],
        }

    @property
    def _user(self) -> Path:
        """The file that radosgw-admin prints when the user exists."""
        return self._directory / "user.json"

    def _find_program(self) -> Sequence[str]:
        missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
        if missing:
            packages = " ".join(missing)
            raise Error(
                f"Ceph is not installed; missing packages of Debian: {packages}",
                f"apt-get install --no-install-recommends {packages}",
                kind=Kind.CONFIGURATION,
                code="missing-package",
            )
        return ["/bin/sh", str(HERE / "start.sh")]

    def _prepare(self, program: Sequence[str]) -> tuple[supervise.Task, Mapping[str, str]]:
        monitor, gateway = (f"{HOST}:{port}" for port in _choose_ports(2))
        self.endpoint = f"http://{gateway}"
        fsid = str(uuid.uuid4())
        task: supervise.Task = {
            "command": [*program],
            "directory": str(self._directory),
            "log": str(self.log_path),
            "leftovers": [],
        }
        return task, {
            "CEPH_CONF": str(HERE / "ceph.conf"),
            "CEPH_ARGS": f"--fsid={fsid} --mon-host=v2:{monitor}",
            "FSID": fsid,
            "OSD": str(uuid.uuid4()),
            "MONITOR": f"v2:{monitor}",
            "GATEWAY": gateway,
        }

    def _answers(self) -> bool:
        """Create the bucket."""
        if not self._user.exists():
            return False
        settings = self.settings()
        url = presign_url(
            "PUT",
            f"{self.endpoint}/{self.bucket}",
            credentials=Credentials(
                settings["attach_s3_access_key"], settings["attach_s3_secret_key"]
            ),
            region=self.region,
            expires=60,
            now=datetime.now(UTC),
        )
        request = urllib.request.Request(url, b"", method="PUT")  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            return True


def _choose_ports(number: int) -> list[int]:
    """Return free ports."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(PORTS, k=len(PORTS)):
            with contextlib.suppress(OSError):
                held.enter_context(socket.socket()).bind((HOST, port))
                ports.append(port)
            if len(ports) == number:
                break
    return ports


if __name__ == "__main__":
    sys.exit(run(Ceph()))
