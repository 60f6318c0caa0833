"""Downloads by X-Accel-Redirect: nginx after the service, beside nginx alone and the service alone.

nginx alone sends the same file from the same directory, and asks no program who may read it: the
limit. "nginx, no check" asks a program that lets it send everything, on the server of `rex serve`:
the limit of Python. Behind "nginx, unassisted", the service sends the bytes through nginx. The
rates of 4 KiB and of 256 KiB are those of wrk, 32 connections at a time; 64 MiB is received by
curl.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from measure import OURS, Figure, compare, progress
from serving import BIN, curl, free_port, on_granian, rates_of, ratio, running

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench import Bench

SIZES = {"4 KiB": 4096, "256 KiB": 256 * 1024, "64 MiB": 64 * 1024 * 1024}
ALONE = "nginx alone"
UNASSISTED = "nginx, unassisted"
ANY = "nginx, no check"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

CONF = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{}}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream handing {{ server 127.0.0.1:{handing}; keepalive 32; }}
    upstream any {{ server 127.0.0.1:{any}; keepalive 32; }}
    upstream sending {{ server 127.0.0.1:{sending}; keepalive 32; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    server {{
        listen 127.0.0.1:{port};
        location /attach/ {{ proxy_pass http://handing; }}
        location /alone/ {{ alias {files}/; }}
        location /sent/attach/ {{ proxy_pass http://sending/attach/; }}
        location /any/attach/ {{ proxy_pass http://any; }}
        location /_attach/ {{ internal; alias {files}/; }}
    }}
}}
"""


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    if NGINX is None or shutil.which("wrk") is None:
        progress("nginx or wrk is missing (Debian's packages): delivery is left out\n")
        return []
    files = bench.directory / "files"
    with open_storage(f"file://{files}") as storage:
        storage.check()
        handles = {name: storage.add("a.bin", os.urandom(size)) for name, size in SIZES.items()}
    with _nginx(bench.directory, files) as url:
        paths = {OURS: "attach", ALONE: "alone", ANY: "any/attach", UNASSISTED: "sent/attach"}
        places = {peer: f"{url}/{path}" for peer, path in paths.items()}
        figures = []
        for name in bench.choose(("4 KiB",), ("4 KiB", "256 KiB")):
            urls = {peer: f"{place}{handles[name]}" for peer, place in places.items()}
            rates = rates_of(bench, urls)
            goals = {ALONE: 0.25 if name == "4 KiB" else None, ANY: None, UNASSISTED: None}
            figures += [ratio(f"deliver {name}", peer, rates, goal) for peer, goal in goals.items()]
        return figures + _large(bench, places, handles["64 MiB"])


def _large(bench: Bench, places: dict[str, str], handle: str) -> list[Figure]:
    def fetch(url: str) -> Callable[[], None]:
        return lambda: curl("-o", "/dev/null", url)

    return compare(
        "deliver 64 MiB",
        {peer: fetch(f"{place}{handle}") for peer, place in places.items()},
        {ALONE: 0.95, ANY: None, UNASSISTED: None},
        rounds=bench.choose(3, 9),
        number=2,
        sense="at least",
    )


@contextlib.contextmanager
def _nginx(directory: Path, files: Path) -> Iterator[str]:
    """Run nginx before two services of one directory."""
    ports = {name: free_port() for name in ("handing", "any", "sending", "port")}
    settings = {"ATTACH_DIR": str(files), "ATTACH_ACCESS": "public"}
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONF.format(user=user, directory=directory, files=files, **ports))
    command = [NGINX, "-p", directory, "-e", directory / "error.log", "-c", config]
    handing = settings | {"ATTACH_SENDFILE": "/_attach"}
    rex = [BIN / "rex", "serve", "--port"]
    no_check = on_granian("handing_app:app", ports["any"])
    with (
        running([*rex, ports["handing"]], ports["handing"], handing),
        running(no_check, ports["any"], {}),
        running([*rex, ports["sending"]], ports["sending"], settings),
        running(command, ports["port"], {}),
    ):
        yield f"http://127.0.0.1:{ports['port']}"
