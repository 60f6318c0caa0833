"""A relay of TCP in front of a server: it counts what passes, holds it up, and cuts it off."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from programs import PATIENCE
from served import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_SIZE = 256 * 1024
SMALL = 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, so that closing resets the connection."""


class Relay:
    """Passes what clients send to a server, and its answers back: see `relaying`."""

    def __init__(self) -> None:
        self.target = 0
        """The port of the server."""
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._changed = threading.Condition()
        self._received = 0
        self._limit: int | None = None
        self._small = SMALL
        self._held = 0
        self._connections: set[socket.socket] = set()

    @property
    def received(self) -> int:
        """All bytes that clients have sent and that were passed on."""
        return self._received

    def hold_after(self, size: int, *, small: int = SMALL) -> None:
        """Pass on so many more bytes of the clients, and then none of uploads until `release`.

        A connection that has carried less than `small` passes all the same.
        """
        with self._changed:
            self._limit, self._small = self._received + size, small
            self._changed.notify_all()

    def wait_until_held(self) -> None:
        """Wait until an upload is held."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held > 0, PATIENCE), self._received

    def release(self) -> None:
        """Let everything pass again."""
        with self._changed:
            self._limit = None
            self._changed.notify_all()

    def cut(self) -> None:
        """Reset all connections on both sides; new ones are welcome."""
        for connection in [*self._connections]:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._close(connection)
        self.release()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cut all connections, and every new one, until the end of the block."""
        target, self.target = self.target, 0
        self.cut()
        try:
            yield
        finally:
            self.target = target

    @contextmanager
    def running(self) -> Iterator[Relay]:
        """Relay until the end of the block."""
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        try:
            yield self
        finally:
            self._close(self._listener)
            accepting.join()
            self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self.target))
            except OSError:
                client.close()
                continue
            self._connections |= {client, server}
            for source, sink, is_client in ((client, server, True), (server, client, False)):
                passing = partial(self._pass, source, sink, is_client=is_client)
                threading.Thread(target=passing, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, *, is_client: bool) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(CHUNK_SIZE):
                while data:
                    size = self._permitted(len(data), carried) if is_client else len(data)
                    sink.sendall(data[:size])
                    data = data[size:]
                    carried += size
        for connection in (source, sink):
            self._close(connection)

    def _permitted(self, size: int, carried: int) -> int:
        with self._changed:
            if carried >= self._small and self._limit is not None:
                self._wait()
                if self._limit is not None:
                    size = min(size, self._limit - self._received)
            self._received += size
            return size

    def _wait(self) -> None:
        """Wait until something may pass."""
        while self._limit is not None and self._received >= self._limit:
            self._held += 1
            self._changed.notify_all()
            self._changed.wait()
            self._held -= 1

    def _close(self, connection: socket.socket) -> None:
        self._connections.discard(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextmanager
def relaying(target: int = 0) -> Iterator[Relay]:
    """Relay to a port of this machine, which may become known later, until the end of the block."""
    relay = Relay()
    relay.target = target
    with relay.running():
        yield relay
