"""Serve the demo page locally until Ctrl-C: ``python -m rex.attach_demo.serve [--s3]``."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rex.attach import open_storage
from rex.attach_demo.seaweedfs import SeaweedFS
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["main"]

HOST = "127.0.0.1"
PORT = 8000
PAUSE_SECONDS = 0.05
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the server as Ctrl-C does, with all temporary files deleted."""


def main() -> int:
    """Serve the page over a directory or a temporary S3 server; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m rex.attach_demo.serve", description="Serve the demo page until Ctrl-C."
    )
    parser.add_argument(
        "--s3", action="store_true", help="store files on a temporary S3 server (SeaweedFS)"
    )
    parser.add_argument(
        "--dir", help="store files here, and their list beside it (default: temporary)"
    )
    parser.add_argument(
        "--max-size", default="", help="maximum size of a file, such as 100MB (default: no limit)"
    )
    parser.add_argument(
        "--port", type=int, help=f"port to listen on (default: {PORT}, or any free port)"
    )
    options = parser.parse_args()
    if options.s3 and options.dir:
        parser.error("--dir cannot be combined with --s3")
    for end in ENDS:
        signal.signal(end, _end)
    try:
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="rex-demo-"))
            port = _free_port(*([PORT, 0] if options.port is None else [options.port]))
            directory = options.dir or f"{scratch}/files"
            kept = _keep_server(directory, port, on_s3=options.s3)
            settings = {
                "attach_max_size": options.max_size,
                "attach_demo_database": f"{Path(directory).absolute()}.db",
                **stack.enter_context(kept),
            }
            file = Path(scratch, "rex.toml")
            _write(file, settings)
            return stack.enter_context(_serving(file, port)).wait()
    except KeyboardInterrupt:
        return 0
    except Error as error:
        sys.stderr.write(f"{error}\n")
        return 1


@contextlib.contextmanager
def _keep_server(directory: str, port: int, *, on_s3: bool) -> Iterator[Mapping[str, str]]:
    """Yield the settings of a storage that exists until the end of the block."""
    if not on_s3:
        yield {"attach_dir": directory, "attach_url": f"http://{HOST}:{port}/attach"}
        return
    _say("Starting SeaweedFS ...")
    with SeaweedFS() as server:
        settings = server.settings()
        url = f"s3://{server.bucket}?endpoint={server.endpoint}"
        credentials = {"access_key": server.access_key, "secret_key": server.secret_key}
        with open_storage(url, **credentials) as storage:
            storage.cors.allow([f"http://{name}:{port}" for name in (HOST, "localhost")])
        yield {**settings, "attach_redirect": "true"}


@contextlib.contextmanager
def _serving(file: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `rex serve`, and print the address of the page once the server listens."""
    command = [sys.executable, "-c", "from rex.core.cli import main; main()"]
    command += ["--config", str(file), "serve", "--host", HOST, "--port", str(port)]
    with subprocess.Popen(command) as program:  # noqa: S603 - ours
        try:
            while program.poll() is None and not _listens(port):
                time.sleep(PAUSE_SECONDS)
            if program.poll() is None:
                _say(f"Open http://{HOST}:{port}/attach_demo/ (press Ctrl-C to stop).")
            yield program
        finally:
            program.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _write(file: Path, settings: Mapping[str, str]) -> None:
    """Write a rex.toml with mode 0600, since it has credentials."""
    given = {"attach_access": "public", **settings}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    file.touch(mode=0o600)
    file.write_text("\n".join(['packages = ["rex.attach_demo"]', "[settings]", *lines]), "utf-8")


def _free_port(*ports: int) -> int:
    """Return the first of these ports that is free; 0 means any port."""
    for port in ports:
        with (
            contextlib.suppress(OSError, OverflowError),
            socket.create_server((HOST, port)) as free,
        ):
            return int(free.getsockname()[1])
    raise Error(
        "Cannot listen on this port (option --port)",
        port,
        kind=Kind.CONFIGURATION,
        code="cannot-listen",
    )


def _end(*_: object) -> NoReturn:
    for end in ENDS:
        signal.signal(end, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
