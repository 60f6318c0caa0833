"""A stand-in for ClamAV's daemon: its protocol, with one signature instead of millions."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import socket
    from pathlib import Path

__all__ = ["SIGNATURE", "StandInClamd"]

SIGNATURE = b"this is the malware"


class StandInClamd:
    """Scans what it receives by INSTREAM, on a Unix socket or on TCP.

    `reply`, if given, is sent in place of the result; None as the reply never answers. More than
    `most` bytes are too many, as StreamMaxLength says.
    """

    def __init__(
        self, path: Path | None = None, *, reply: bytes | None = b"", most: int = 1 << 20
    ) -> None:
        self.reply = reply
        self.most = most
        self.received: list[bytes] = []
        self.ended = threading.Event()
        stand_in = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                stand_in.answer(self.connection, self.rfile)  # type: ignore[arg-type]

        kind = socketserver.ThreadingTCPServer if path is None else _UnixServer
        self._server = kind(("127.0.0.1", 0) if path is None else str(path), Handler)  # type: ignore[arg-type]
        self._server.daemon_threads = True
        port = self._server.socket.getsockname()[1] if path is None else None
        self.address = f"127.0.0.1:{port}" if path is None else f"unix:{path}"

    def answer(self, connection: socket.socket, file: socket.SocketIO) -> None:
        """Answer one request, as clamd does."""
        assert b"zINSTREAM\0" == file.read(10)
        data = b""
        while size := int.from_bytes(file.read(4) or b""):
            data += file.read(size) or b""
            if len(data) > self.most:
                connection.sendall(b"INSTREAM size limit exceeded. ERROR\0")
                return  # and the connection is closed, whatever is still coming
        self.received.append(data)
        if self.reply is None:
            self.ended.wait()
        elif self.reply:
            connection.sendall(self.reply)
        elif SIGNATURE in data:
            connection.sendall(b"stream: Stand-In.Malware FOUND\0")
        else:
            connection.sendall(b"stream: OK\0")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A server that answers each client in a thread."""
