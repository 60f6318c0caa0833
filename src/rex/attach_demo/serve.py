"""The page on this machine, until Ctrl-C: ``python -m rex.attach_demo.serve [--s3]``."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach import open_storage
from rex.attach_demo.seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["main"]

HOST = "127.0.0.1"
PORT = 8000


def main() -> int:
    """Serve the page over a directory, or over a throwaway S3 server; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m rex.attach_demo.serve", description="Serve the page until Ctrl-C."
    )
    parser.add_argument("--s3", action="store_true", help="on a throwaway S3 server (SeaweedFS)")
    parser.add_argument("--dir", help="keep the files there; without it, they go at the end")
    parser.add_argument("--max-size", default="", help="the largest file, as 100MB; no limit")
    parser.add_argument(
        "--port", type=int, help=f"the port to listen on; {PORT}, or any other if that is taken"
    )
    options = parser.parse_args()
    if options.s3 and options.dir:
        parser.error("--dir is for files in a directory, not on S3")
    port = options.port or _free_port()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="rex-demo-"))
        kept = _kept(options.dir or f"{scratch}/files", port, on_s3=options.s3)
        settings = {
            "attach_access": "anybody",
            "attach_max_size": options.max_size,
            **stack.enter_context(kept),
        }
        file = Path(scratch, "rex.toml")
        _write(file, settings)
        return _serve(file, port)


@contextlib.contextmanager
def _kept(directory: str, port: int, *, on_s3: bool) -> Iterator[Mapping[str, str]]:
    """Give the settings of the storage, which is there until the end of the block."""
    if not on_s3:
        yield {"attach_dir": directory, "attach_url": f"http://{HOST}:{port}/attach"}
        return
    print("Starting SeaweedFS ...", flush=True)  # noqa: T201 - a program for people
    with SeaweedFS() as server:
        settings = server.settings()
        url = f"s3://{server.bucket}?endpoint={server.endpoint}"
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        with open_storage(url, **keys) as storage:
            storage.cors.allow([f"http://{name}:{port}" for name in (HOST, "localhost")])
        yield {**settings, "attach_redirect": "true"}


def _serve(file: Path, port: int) -> int:
    from rex.core.command import root

    url = f"http://{HOST}:{port}/attach_demo/"
    print(f"Open {url} and press Ctrl-C to end.", flush=True)  # noqa: T201 - a program for people
    arguments = ["--config", str(file), "serve", "--host", HOST, "--port", str(port)]
    code: int | None = root.main(arguments, prog_name="rex", standalone_mode=False)
    return code or 0


def _write(file: Path, settings: Mapping[str, str]) -> None:
    """Write a rex.toml that nobody else can read: there are keys in it."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    file.touch(mode=0o600)
    file.write_text("\n".join(['packages = ["rex.attach_demo"]', "[settings]", *lines]), "utf-8")


def _free_port() -> int:
    """Give the usual port if nobody has it, or any."""
    for port in (PORT, 0):
        with contextlib.suppress(OSError), socket.create_server((HOST, port)) as free:
            return int(free.getsockname()[1])
    raise SystemExit("There is no free port.")


if __name__ == "__main__":
    sys.exit(main())
