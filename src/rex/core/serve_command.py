"""The command `rex serve`: serve the application over HTTP with granian."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import re
import socket
import ssl
import stat
from typing import TYPE_CHECKING

import click

from rex.core import typed
from rex.core.click_types import TIMEOUT
from rex.core.configuration import Configuration
from rex.core.error import Error, Kind
from rex.core.forwarded import TrustedProxies, trusted_proxies
from rex.core.log import FORMATS, LEVELS
from rex.core.server import CONNECTIONS, IDLE_SECONDS, Loader, check_packages, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serve"]

PROBE_SECONDS = 5
"""Timeout to connect to a server that may listen on a Unix socket already."""


def _parse_root(_: click.Context, __: click.Parameter, given: str) -> str:
    try:
        return typed.path_prefix.read(given) if given else ""
    except ValueError:
        raise click.BadParameter(f"expected {typed.path_prefix.expected}") from None


def _parse_proxies(_: click.Context, __: click.Parameter, given: str) -> TrustedProxies:
    try:
        return trusted_proxies.read(given)
    except ValueError:
        raise click.BadParameter(f"expected {trusted_proxies.expected}") from None


def _parse_mode(_: click.Context, __: click.Parameter, given: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", given):
        raise click.BadParameter("expected an octal number such as 660")
    return int(given, 8)


@click.command("serve", short_help="Serve the application over HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port to listen on.",
)
@click.option("--unix", metavar="PATH", help="Unix socket to listen on, instead of a port.")
@click.option(
    "--unix-mode",
    default="660",
    show_default=True,
    callback=_parse_mode,
    help="Permissions of the Unix socket; a client needs to write.",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    callback=_parse_root,
    help="Path at which a proxy serves the application, such as /files.",
)
@click.option(
    "--trusted-proxies",
    "trusted",
    default="",
    metavar="LIST",
    callback=_parse_proxies,
    help="Proxies whose X-Forwarded-For, -Proto, -Host and -Prefix count: addresses and networks "
    "separated by commas, or unix for every client of the Unix socket.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Number of worker processes.",
)
@click.option(
    "--connections",
    default=CONNECTIONS,
    show_default=True,
    type=click.IntRange(1, 65536),
    help="Maximum number of connections per process; more connections wait.",
)
@click.option(
    "--idle-timeout",
    default=str(IDLE_SECONDS),
    show_default=True,
    type=TIMEOUT,
    help="Close a connection after this time without a request.",
)
@click.option(
    "--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Certificate file, for HTTPS."
)
@click.option(
    "--tls-key",
    type=click.Path(exists=True, dir_okay=False),
    help="Private key file of the certificate.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="warning",
    show_default=True,
    help="Least severe log line; info has a line for each change and each failure.",
)
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Format of all log lines, on stderr; json is one object per line.",
)
@click.option("--access-log", is_flag=True, help="Log each request, without its query.")
@click.option(
    "--metrics",
    is_flag=True,
    help="Serve metrics for Prometheus at /metrics, without authentication. Restrict access to "
    "/metrics in a proxy.",
)
@click.pass_context
def serve(
    ctx: click.Context,
    *,
    host: str,
    port: int,
    unix: str | None,
    unix_mode: int,
    root_path: str,
    trusted: TrustedProxies,
    workers: int,
    connections: int,
    idle_timeout: float,
    tls_cert: str | None,
    tls_key: str | None,
    log_level: str,
    log_format: str,
    access_log: bool,
    metrics: bool,
) -> None:
    """Serve the routes of all packages until Ctrl-C or SIGTERM.

    The packages are those in rex.toml, or else all installed packages with routes except examples.
    Running requests are finished before the server exits. /health is the health check.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key must be given together.")
    if unix is not None and any(map(_is_given, ("host", "port", "tls_cert"))):
        raise click.UsageError("--unix excludes --host, --port and --tls-cert.")
    check_packages()
    with contextlib.ExitStack() as stack:
        if metrics:
            from rex.core.metrics import share

            stack.enter_context(share())
        root = ctx.find_root()
        loader = Loader(
            root.params["overrides"],
            root.params["config"],
            access_log=access_log,
            metrics=metrics,
            trusted=trusted,
            root_path=root_path,
        )
        with _quiet():
            notes = loader.check(root.ensure_object(Configuration))
        address = _free_address(host, port) if unix is None else _free_socket(unix)
        tls = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
        _check_tls(tls_cert, tls_key)
        shown = _url(address, port, tls_cert) if unix is None else f"unix:{unix}"
        click.echo(f"Serving on {shown}", err=True)
        for note in notes:
            click.echo(f"rex: {note}", err=True)
        run_server(
            loader,
            address=address,
            port=port,
            unix=None if unix is None else (unix, unix_mode),
            workers=workers,
            connections=connections,
            idle_seconds=idle_timeout,
            log_level=log_level,
            log_format=log_format,
            tls=tls,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log: the command reports an error itself."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _free_address(host: str, port: int) -> str:
    """Return a free address to listen on; two servers on one port would share its requests."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as failure:
        raise Error(
            "Cannot listen on this address (options --host and --port)",
            f"{host}, port {port}: {failure.strerror}",
            kind=Kind.CONFIGURATION,
            code="cannot-listen",
        ) from None
    return str(address[0])


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def _free_socket(path: str) -> str:
    """Remove a Unix socket that a killed server left; return the address for granian's log."""
    try:
        _remove_stale(path)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(path)
        os.unlink(path)  # noqa: PTH108 - as short as the others
    except OSError as failure:
        raise Error(
            "Cannot listen on this Unix socket (option --unix)",
            f"{path}: {failure.strerror or failure}",
            kind=Kind.CONFIGURATION,
            code="cannot-listen",
        ) from None
    return path


def _remove_stale(path: str) -> None:
    """Remove a socket on which no server listens; `OSError` for anything else at its path."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.ENOTSOCK, "exists, and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 - as short as the others
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _check_tls(cert: str | None, key: str | None) -> None:
    if cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as failure:
        raise Error(
            "Cannot use the certificate and its key (options --tls-cert and --tls-key)",
            f"{cert}, {key}: {failure.strerror or failure}",
            kind=Kind.CONFIGURATION,
        ) from None


def _url(host: str, port: int, tls_cert: str | None) -> str:
    try:
        shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    except ValueError:
        shown = host
    return f"{'https' if tls_cert else 'http'}://{shown}:{port}"
