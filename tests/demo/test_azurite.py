"""The throwaway Azurite: it starts, takes its own credentials only, and leaves nothing behind."""

from __future__ import annotations

import base64
import socket
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from attach.azure_storage import azure_storage
from programs import started
from rex.attach_demo import azurite as launcher
from rex.attach_demo.azurite import Azurite
from rex.core import Error, Kind

if TYPE_CHECKING:
    from pathlib import Path


def test_it_stores_and_leaves_nothing_behind() -> None:
    """Only with its own key."""
    with Azurite("own-container") as server:
        settings = server.settings()
        assert "own-container" == settings["attach_azure_container"]
        assert server.key not in repr(server)
        given = {"account": server.account, "endpoint": server.endpoint}
        storage = azure_storage(server.container, key=server.key, **given)
        assert storage.add("a.txt", b"data") in storage
        other = base64.b64encode(b"another key").decode()
        with pytest.raises(Error) as caught:
            azure_storage(server.container, key=other, **given).check()
        assert "wrong-account-key" == caught.value.code
        directory = server.log_path.parent
        assert directory.exists()
        port = urlsplit(server.endpoint).port
    assert not directory.exists()
    with socket.socket() as client:
        assert 0 != client.connect_ex(("127.0.0.1", port))
    assert "" == server.endpoint


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says what to install."""
    monkeypatch.setattr(launcher, "_PROGRAM", tmp_path / "missing")
    with pytest.raises(Error, match="make azure") as caught:
        Azurite().__enter__()
    assert Kind.CONFIGURATION is caught.value.kind


def test_the_command_prints_the_settings() -> None:
    """As lines to paste into another terminal."""
    with started(sys.executable, "-m", "rex.attach_demo.azurite") as program:
        lines = [program.stdout.readline() for _ in range(4)]
    assert all(line.startswith("export ATTACH_AZURE_") for line in lines)
