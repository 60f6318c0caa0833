"""What connections cost that bring nothing: how long others wait, when they are closed, memory.

``PYTHONPATH=tests python benchmarks/silent.py`` runs ``rex serve`` with one worker, plain and with
TLS, and opens 1,100 connections of each kind: that send nothing, one byte, half of a head, the
preface of HTTP/2, or that were used once; with TLS before and after the handshake. It prints how
long another client waits meanwhile, when the last of them is closed, and the peak of the memory.
Then it sends 200 streams of HTTP/2 with 4,000 references to a header each. Linux only.
"""

from __future__ import annotations

import argparse
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from served import HOST, UNVERIFIED, Served, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024
LIMIT_SECONDS = 40
LONGEST_SECONDS = 120
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
ASKED = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"
KINDS = {
    "nothing": b"",
    "one byte": b"G",
    "half of a head": b"GET / HTTP/1.1\r\nHost: he",
    "the preface of HTTP/2": PREFACE + SETTINGS,
    "one request": ASKED,
}
HEADER = b"a" * 4000
REFERENCES, STREAMS = 4000, 200
TAKING_SECONDS = 15
"""How long the server has to take the headers in."""


def connect(port: int, *, with_tls: bool) -> socket.socket:
    """Connect, with a handshake if there is TLS."""
    connection = socket.create_connection((HOST, port), LONGEST_SECONDS)
    return UNVERIFIED.wrap_socket(connection) if with_tls else connection


def silent(port: int, sent: bytes, *, with_tls: bool) -> socket.socket:
    """Open a connection that sends a few bytes and then nothing."""
    connection = connect(port, with_tls=with_tls)
    connection.sendall(sent)
    if sent is ASKED:
        connection.recv(1000)
    return connection


def other(server: Served) -> float:
    """Send the request of another client; return the seconds that it took."""
    began = time.monotonic()
    client = server.connection()
    client.request("GET", "/health")
    client.getresponse().read()
    client.close()
    return time.monotonic() - began


def wait_until_closed(connections: list[socket.socket], began: float) -> int:
    """Wait until the server has closed all; return how many are open after a long time."""
    poll, left = select.poll(), {connection.fileno(): connection for connection in connections}
    for number in left:
        poll.register(number, select.POLLIN | select.POLLRDHUP)
    while left and time.monotonic() - began < LONGEST_SECONDS:
        for number, events in poll.poll(500):
            is_closed = bool(events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR))
            if not is_closed:
                try:
                    is_closed = not left[number].recv(65536)
                except OSError:
                    is_closed = True
            if is_closed:
                poll.unregister(number)
                del left[number]
    return len(left)


def measure(server: Served, name: str, open_one: Callable[[], socket.socket], number: int) -> bool:
    """Open connections, and print when they are closed and how long another client waits."""
    idle = server.memory()
    server.forget_peak()
    began = time.monotonic()
    connections: list[socket.socket] = []
    refused = 0
    for _ in range(number):
        try:
            connections.append(open_one())
        except OSError:
            refused += 1
    opened = time.monotonic() - began
    waited = other(server)
    left = wait_until_closed(connections, began)
    took = time.monotonic() - began
    peak = server.peak_memory()
    for connection in connections:
        connection.close()
    good = waited < LIMIT_SECONDS and not left
    print(
        f"{'' if good else 'MISSED '}{number} connections, {'TLS, ' * server.has_tls}{name}: "
        f"opened in {opened:.1f} s ({refused} closed at once), another client answered after "
        f"{waited:.1f} s, {left} not closed after {took:.0f} s; memory {idle // MIB} MiB, at most "
        f"{peak // MIB}",
        flush=True,
    )
    return good


def bomb(server: Served) -> bool:
    """Send streams of HTTP/2 whose headers refer to one long header again and again (RFC 7541)."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return (
            len(payload).to_bytes(3, "big")
            + bytes([kind, flags])
            + stream.to_bytes(4, "big")
            + payload
        )

    def length(size: int, bits: int) -> bytes:
        most = (1 << bits) - 1
        if size < most:
            return bytes([size])
        size -= most
        written = bytearray([most])
        while size >= 128:
            written.append(size % 128 | 128)
            size //= 128
        return bytes([*written, size])

    # POST, http, a path and an authority that are not indexed, and a header that is: 62.
    path = b"/attach/?name=a"
    head = b"\x83\x86" + b"\x04" + length(len(path), 7) + path + b"\x01\x04here"
    indexed = b"\x40\x01x" + length(len(HEADER), 7) + HEADER
    idle = server.memory()
    server.forget_peak()
    refused = False
    try:
        with socket.create_connection((HOST, server.port), LONGEST_SECONDS) as connection:
            connection.sendall(PREFACE + SETTINGS)
            for stream in range(STREAMS):
                block = head + (b"" if stream else indexed) + b"\xbe" * REFERENCES
                connection.sendall(frame(1, 4, 2 * stream + 1, block))
            connection.settimeout(TAKING_SECONDS)
            while connection.recv(65536):
                pass
            refused = True
    except ConnectionError:
        refused = True
    except TimeoutError:
        pass
    peak = server.peak_memory()
    good = peak - idle <= 64 * MIB
    print(
        f"{'' if good else 'MISSED '}{STREAMS} streams of HTTP/2 with {REFERENCES} references to a "
        f"header each: memory {idle // MIB} MiB, at most {peak // MIB}; "
        f"{'refused' if refused else 'taken'}",
        flush=True,
    )
    return good


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1100)
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="rex-silent-") as directory:
        cert, key = f"{directory}/cert.pem", f"{directory}/key.pem"
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
            f"-keyout {key} -out {cert}".split(),
            check=True,
            capture_output=True,
        )
        settings = {"attach_dir": f"{directory}/attachments"}
        with rex_serving(Path(directory), **settings) as server:
            good &= bomb(server)
            for name, sent in KINDS.items():
                good &= measure(
                    server,
                    name,
                    lambda sent=sent: silent(server.port, sent, with_tls=False),
                    options.connections,
                )
        with rex_serving(
            Path(directory), "--tls-cert", cert, "--tls-key", key, **settings
        ) as server:
            good &= measure(
                server,
                "no handshake",
                lambda: connect(server.port, with_tls=False),
                options.connections,
            )
            for name, sent in KINDS.items():
                good &= measure(
                    server,
                    name,
                    lambda sent=sent: silent(server.port, sent, with_tls=True),
                    options.connections,
                )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
