"""Clients that upload small attachments all the time, through failures."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import TYPE_CHECKING, Self

from programs import PATIENCE

if TYPE_CHECKING:
    from served import Served

__all__ = ["Load"]

CONTENT = b"content of an upload"


class Load:
    """Clients of a server until the end of the block; each connects again after a failure."""

    def __init__(self, server: Served, clients: int = 4) -> None:
        self._server = server
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self.stored: list[str] = []
        """The paths of what was acknowledged."""
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._repeat) for _ in range(clients)]

    def wait_for_more(self, number: int = 20) -> None:
        """Wait until the server has acknowledged this many more."""
        with self._changed:
            wanted = len(self.stored) + number
            assert self._changed.wait_for(lambda: len(self.stored) >= wanted, timeout=PATIENCE)

    def missing(self) -> list[str]:
        """Return the acknowledged paths whose content cannot be read."""
        with contextlib.closing(self._server.connection()) as connection:
            return [path for path in self.stored if self._read(connection, path) != CONTENT]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self) -> None:
        while not self._ended.is_set():
            with contextlib.closing(self._server.connection()) as connection:
                try:
                    while not self._ended.is_set():
                        self._store(connection)
                except (OSError, http.client.HTTPException) as failure:
                    self.failures.append(repr(failure))

    def _store(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/attach/?name=a.txt", CONTENT)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.CREATED:
            raise OSError(f"{answer.status} {content[:200]!r}")
        with self._changed:
            self.stored.append(json.loads(content)["attachments"][0]["url"])
            self._changed.notify_all()

    def _read(self, connection: http.client.HTTPConnection, path: str) -> bytes:
        connection.request("GET", path)
        return connection.getresponse().read()
