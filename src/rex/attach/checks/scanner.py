"""A check for malware by ClamAV's daemon, over its socket."""

from __future__ import annotations

import functools
import re
import socket
from typing import TYPE_CHECKING

from rex.attach.checks.check import refuse
from rex.attach.handle import show
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.checks.check import Check, CheckedUpload

    Connect = Callable[[float], socket.socket]

__all__ = ["clamd"]

CHUNK_BYTES = 128 * 1024
MAX_REPLY_BYTES = 4096
LIMITS = "Heuristics.Limits.Exceeded"
"""What clamd finds in content that it does not scan completely, with AlertExceedsMax."""

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")
_FOUND = re.compile(r"stream: (.+) FOUND")


def clamd(address: str, *, timeout: float = 120) -> Check:
    """Return a check that has ClamAV's daemon scan the content, and refuses malware.

    `address` is ``unix:/path`` or ``host:port``. The bytes are sent in chunks (INSTREAM), up to
    clamd's StreamMaxLength. `timeout` (seconds) is the time to wait for clamd to connect, to
    accept a chunk, and to reply.

    A scanner that does not work accepts nothing. Errors, raised here: `ILL_FORMED` for the address.
    Errors of the check: `REFUSED`, with the code ``malware-found``; ``scanner-failed``:
    `UNAVAILABLE` if clamd cannot be reached, does not reply in time or fails, and `CONFIGURATION`
    if the content is larger than StreamMaxLength. Of content over its other limits, as MaxFileSize,
    clamd scans only a part, and reports an error if AlertExceedsMax is set.
    """
    connect = _parse(address)

    def check(upload: CheckedUpload) -> None:
        reply = _scan(upload, connect, timeout)
        if reply == "stream: OK":
            return
        found = _FOUND.fullmatch(reply)
        is_too_large = LIMITS in reply or "size limit exceeded" in reply
        if found is not None and not is_too_large:
            raise refuse(
                "The scanner found malware in the file", show(found[1]), code="malware-found"
            )
        if is_too_large:
            reason = f"{upload.info.size} bytes, {show(reply)}: raise the limits of clamd"
            message = "The upload is larger than clamd scans"
            raise Error(message, reason, kind=Kind.CONFIGURATION, code="scanner-failed")
        raise _failed(show(reply) if reply else "clamd closed the connection")

    return check


def _parse(address: str) -> Connect:
    """Return a function that connects to an address, with a timeout in seconds."""
    path = address.removeprefix("unix:")
    if path != address and path.startswith("/"):
        return functools.partial(_connect_unix, path)
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise Error(
            "The address of clamd must be unix:/path or host:port",
            show(address),
            kind=Kind.ILL_FORMED,
        )
    place = match["v6"] or match["host"], int(match["port"])
    return functools.partial(socket.create_connection, place)


def _connect_unix(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _scan(upload: CheckedUpload, connect: Connect, timeout: float) -> str:
    """Send the content to clamd; return its reply."""
    try:
        with upload.open() as file, connect(timeout) as connection:
            try:
                connection.sendall(b"zINSTREAM\0")
                while chunk := file.read(CHUNK_BYTES):
                    connection.sendall(len(chunk).to_bytes(4) + chunk)
                connection.sendall(bytes(4))
            except (BrokenPipeError, ConnectionResetError):
                pass  # clamd closes the connection after a reply that ends the scan
            return _receive(connection)
    except Error:  # of reading the content
        raise
    except OSError as failure:
        raise _failed(failure) from None


def _receive(connection: socket.socket) -> str:
    reply = b""
    while len(reply) < MAX_REPLY_BYTES and not reply.endswith(b"\0"):
        received = connection.recv(MAX_REPLY_BYTES)
        if not received:
            break
        reply += received
    return reply.rstrip(b"\0\n").decode(errors="replace")


def _failed(reason: object) -> Error:
    message = "Scanning for malware failed"
    return Error(message, reason, kind=Kind.UNAVAILABLE, code="scanner-failed")
