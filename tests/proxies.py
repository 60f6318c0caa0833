"""The service behind the proxies of docs/how-to/proxy.md, whose blocks are run as printed.

Only ports, paths, the host name and certificates are put in.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from programs import PATIENCE, REX, run, started
from served import (
    HOST,
    PAUSE_SECONDS,
    PORT,
    UNVERIFIED,
    Served,
    reserved_port,
    serving,
    wait_until_listening,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest

DOCS = Path(__file__).parent.parent / "docs" / "how-to"
PAGES = (DOCS / "proxy.md", DOCS / "delivery.md")
NAME = "files.example"
"""A host name that no browser trusts over plain HTTP, as it does `localhost`."""

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CADDY = shutil.which("caddy")
NEEDED = {"nginx": NGINX, "Caddy": CADDY}
LEFT_OUT = tuple(
    f"the service behind {name} (needs Debian's {name.lower()})"
    for name, program in NEEDED.items()
    if program is None
)

TRUSTED = ("--trusted-proxies", HOST)
BELOW = ("--root-path", "/files")
SPOOLED = "is buffered to a temporary file"
"""What nginx says of a body on its disk, sent or received."""

NGINX_CONF = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {blocks}
}}
"""
CADDY_CONF = """
{{
    admin off
    auto_https disable_redirects
    local_certs
    skip_install_trust
    default_bind {host}
}}
{blocks}
"""


@dataclass(frozen=True)
class Setup:
    """A proxy and its blocks, and the options of `rex serve`."""

    blocks: tuple[str, ...]
    options: tuple[str, ...] = TRUSTED
    prefix: str = ""
    has_tls: bool = True
    has_url: bool = False
    """Whether attach_url is the only way in which the service learns its address."""
    has_path: bool = False
    """Whether attach_url is a path."""
    locations: tuple[str, ...] = ()
    """Blocks that go into the server."""

    @property
    def program(self) -> str:
        """The name of the proxy."""
        return "Caddy" if self.blocks[0].startswith("caddy") else "nginx"

    @property
    def has_socket(self) -> bool:
        """Whether a Unix socket is between the two."""
        return "unix" in self.options


_SERVER = ("nginx upstream", "nginx server")
UNIX = ("--trusted-proxies", "unix")
SETUPS = {
    "nginx": Setup(_SERVER),
    "nginx prefix": Setup((*_SERVER, "nginx prefix"), (*TRUSTED, *BELOW), "/files"),
    "nginx unix": Setup(("nginx unix", "nginx server"), UNIX, has_path=True),
    "nginx alone": Setup(("nginx alone",), (), has_tls=False, has_url=True),
    "nginx alone, prefix removed": Setup(
        ("nginx alone, prefix removed",), (), "/files", has_tls=False, has_url=True
    ),
    "caddy": Setup(("caddy",)),
    "caddy prefix": Setup(("caddy prefix",), (*TRUSTED, *BELOW), "/files"),
    "caddy unix": Setup(("caddy unix",), UNIX),
    "caddy plain": Setup(("caddy",), has_tls=False, has_path=True),
}
HERE = [name for name, setup in SETUPS.items() if NEEDED[setup.program]]
"""The setups whose proxy this machine has."""
SETUPS |= {
    "nginx sendfile": Setup(_SERVER, has_path=True, locations=("nginx sendfile",)),
    "nginx fetch": Setup(
        ("nginx fetch upstream", *_SERVER), has_path=True, locations=("nginx fetch",)
    ),
    "caddy sendfile": Setup(("caddy sendfile",), has_path=True),
}


@dataclass(frozen=True)
class Deployment:
    """A running service behind a running proxy."""

    name: str
    setup: Setup
    origin: str
    url: str
    """Of the service, for clients of the proxy."""
    served: Served | None
    """The service; None on a Unix socket."""
    proxy: int
    """The process of the proxy."""
    directory: Path

    def spooled(self) -> list[str]:
        """Return the lines in which nginx says that a body is on its disk."""
        log = self.directory / "error.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if SPOOLED in line]

    def wait_for_log(self, text: str) -> list[str]:
        """Return the lines of the service's log with a text, once there are any."""
        log = self.served.log if self.served else self.directory / "rex.log"
        deadline = time.monotonic() + PATIENCE
        while not (found := [line for line in log.read_text().splitlines() if text in line]):
            assert time.monotonic() < deadline, text
            time.sleep(PAUSE_SECONDS)
        return found

    def peak_memory(self) -> int:
        """Return the highest resident memory of the proxy's processes, in bytes."""
        return max(self._figures("status", r"VmHWM:\s+(\d+) kB")) * 1024

    def written(self) -> int:
        """Return the bytes that the proxy has written to disks, also of removed files."""
        return sum(self._figures("io", r"\nwrite_bytes: (\d+)"))

    def _figures(self, file: str, pattern: str) -> list[int]:
        """Return a figure of each of the proxy's processes (proc(5))."""
        children = Path(f"/proc/{self.proxy}/task/{self.proxy}/children").read_text().split()
        found = []
        for process in (str(self.proxy), *children):
            match = re.search(pattern, Path("/proc", process, file).read_text())
            assert match is not None
            found.append(int(match[1]))
        return found


def block(name: str) -> str:
    """Return a block of the pages by its name."""
    pages = "\n".join(page.read_text() for page in PAGES)
    found = re.search(rf"<!--- block: {re.escape(name)} -->\n\n```\w+\n(.*?)```", pages, re.DOTALL)
    assert found is not None, name
    return found[1]


@contextmanager
def deployed(
    name: str, directory: Path, changes: Mapping[str, str] | None = None, **settings: object
) -> Iterator[Deployment]:
    """Run a setup in a directory until the end of the block; `changes` replaces text in it."""
    setup = SETUPS[name]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory / "attachments", ignore_errors=True)
        port = stack.enter_context(reserved_port())
        origin = f"http{'s' * setup.has_tls}://{NAME}:{port}"
        url = f"{origin}{setup.prefix}/attach"
        given = {"attach_dir": directory / "attachments", "attach_access": "public", **settings}
        if setup.has_url:
            given = {"attach_url": url, **given}
        if setup.has_path:
            given = {"attach_url": url.removeprefix(origin), **given}
        upstream = directory / "rex.sock"
        command: list[object] = [REX, "serve", "--access-log", *setup.options]
        served = None
        if setup.has_socket:
            log = stack.enter_context((directory / "rex.log").open("w"))
            options = {"stdout": log, "stderr": log}
            command += ["--unix", upstream]
            stack.enter_context(
                started(*command, directory=directory, options=options, settings=given)
            )
            _wait_for(upstream)
        else:
            served = stack.enter_context(
                serving([*command, "--port", PORT], directory, _upper(given))
            )
        place = f"{HOST}:{served.port}" if served else f"unix:{upstream}"
        text = _configure(setup, port, place, directory, changes or {})
        proxy = stack.enter_context(_proxying(setup, text, directory))
        wait_until_listening(port)
        if setup.has_tls:
            _wait_for_certificate(port)
        yield Deployment(name, setup, origin, url, served, proxy, directory)


def _upper(settings: Mapping[str, object]) -> dict[str, object]:
    return {key.upper(): value for key, value in settings.items()}


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(str(path)):
            assert time.monotonic() < deadline
            time.sleep(PAUSE_SECONDS)


def _wait_for_certificate(port: int) -> None:
    """Wait for the first handshake: Caddy makes its certificate while it listens already."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.create_connection((HOST, port)) as connection:
            try:
                UNVERIFIED.wrap_socket(connection, server_hostname=NAME).close()
            except OSError:  # such as ssl.SSLError
                assert time.monotonic() < deadline
                time.sleep(PAUSE_SECONDS)
            else:
                return


def _configure(
    setup: Setup, port: int, place: str, directory: Path, changes: Mapping[str, str]
) -> str:
    """Return the blocks of a setup with what differs here."""
    blocks = "\n".join(map(block, setup.blocks))
    if setup.program == "nginx" and "nginx prefix" in setup.blocks:
        location = block("nginx prefix")
        blocks = "\n".join(map(block, _SERVER))
        blocks = re.sub(r"location /attach/ \{.*?\}", location, blocks, flags=re.DOTALL)
    for location in setup.locations:
        head, end, _ = blocks.rstrip().rpartition("}")
        blocks = f"{head}{block(location)}{end}\n"
    scheme = "https" if setup.has_tls else "http"
    replaced = {
        "listen 443": f"listen {HOST}:{port}",
        "listen 80": f"listen {HOST}:{port}",
        "/etc/ssl/example.org": f"{directory}/server",
        "unix:/run/rex/rex.sock": place,
        "unix//run/rex/rex.sock": place.replace("unix:", "unix/"),
        "127.0.0.1:8000": place,
        "/srv/attachments": f"{directory}/attachments",
        "example.org {": f"{scheme}://{NAME}:{port} {{",
        "example.org": NAME,
        **changes,
    }
    for old, new in replaced.items():
        blocks = blocks.replace(old, new)
    return blocks


@contextmanager
def _proxying(setup: Setup, blocks: str, directory: Path) -> Iterator[int]:
    config = directory / "proxy.conf"
    command: list[object]
    if setup.program == "nginx":
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(NGINX_CONF.format(user=user, directory=directory, blocks=blocks))
        command = [NGINX, "-e", directory / "error.log", "-p", directory, "-c", config]
        _make_certificate(directory)
    else:
        config.write_text(CADDY_CONF.format(host=HOST, blocks=blocks))
        command = [CADDY, "run", "--config", config, "--adapter", "caddyfile"]
    settings = dict.fromkeys(("home", "xdg_data_home", "xdg_config_home"), directory)
    with (directory / "proxy.log").open("w") as log:
        options: dict[str, Any] = {"stdout": log, "stderr": log}
        with started(*command, directory=directory, options=options, settings=settings) as program:
            yield program.pid


def _make_certificate(directory: Path) -> None:
    done = run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
        *("-keyout", directory / "server.key", "-out", directory / "server.pem"),
    )
    assert 0 == done.returncode, done.stderr


def resolve_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the host name be this machine, as in a file of hosts, for clients in this process."""
    known = socket.getaddrinfo

    def find(host: Any, *args: Any, **options: Any) -> Any:
        return known(HOST if host in (NAME, NAME.encode()) else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", find)
