"""The servers of node in `benchmarks/node`, as programs on ports of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from measure import progress
from serving import BIN, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench import Bench

__all__ = ["is_installed", "node_serving", "rex_serving", "s3_environment"]

PROGRAMS = Path(__file__).parent / "node"
NODE = os.environ.get("NODE") or shutil.which("node", path=BIN) or shutil.which("node")


def is_installed() -> bool:
    """Check that node and the packages are there; otherwise report that the case is omitted."""
    found = NODE is not None and (PROGRAMS / "node_modules").is_dir()
    if not found:
        progress("node or benchmarks/node/node_modules is missing (make bench): left out\n")
    return found


@contextlib.contextmanager
def node_serving(program: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a program of node until the end of the block; yield its address."""
    port = free_port()
    given = {"NODE_ENV": "production", **environment, "PORT": str(port)}
    with running([NODE, PROGRAMS / program], port, given):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def rex_serving(settings: Mapping[str, object]) -> Iterator[str]:
    """Run `rex serve` until the end of the block; yield the address of the service."""
    port = free_port()
    given = {name.upper(): str(value) for name, value in settings.items()}
    command = [BIN / "rex", "serve", "--port", port]
    with running(command, port, {"ATTACH_ACCESS": "public", **given}):
        yield f"http://127.0.0.1:{port}/attach"


def s3_environment(bench: Bench) -> dict[str, str]:
    """Return what tells a program of node where the S3 server is."""
    server = bench.server
    return {
        "ENDPOINT": server.endpoint,
        "BUCKET": server.bucket,
        "REGION": server.region,
        "ACCESS_KEY": server.access_key,
        "SECRET_KEY": server.secret_key,
    }
