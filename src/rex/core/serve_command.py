"""The command `rex serve`: serve the application over HTTP with granian."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import ssl
from typing import TYPE_CHECKING

import click

from rex.core.click_types import TIMEOUT
from rex.core.configuration import Configuration
from rex.core.error import Error, Kind
from rex.core.server import CONNECTIONS, IDLE_SECONDS, Loader, check_packages, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serve"]


@click.command("serve", short_help="Serve the application over HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port to listen on.",
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
    workers: int,
    connections: int,
    idle_timeout: float,
    tls_cert: str | None,
    tls_key: str | None,
    access_log: bool,
    metrics: bool,
) -> None:
    """Serve the routes of all packages until Ctrl-C or SIGTERM.

    The packages are those in rex.toml, or else all installed packages with routes except examples.
    Running requests are finished before the server exits. /health is the health check.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key must be given together.")
    check_packages()
    with contextlib.ExitStack() as stack:
        if metrics:
            from rex.core.metrics import share

            stack.enter_context(share())
        root = ctx.find_root()
        loader = Loader(
            root.params["overrides"], root.params["config"], access_log=access_log, metrics=metrics
        )
        with _quiet():
            loader.check(root.ensure_object(Configuration))
        address = _free_address(host, port)
        tls = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
        _check_tls(tls_cert, tls_key)
        click.echo(f"Serving on {_url(address, port, tls_cert)}", err=True)
        run_server(
            loader,
            address=address,
            port=port,
            workers=workers,
            connections=connections,
            idle_seconds=idle_timeout,
            tls=tls,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log: the command reports an error itself."""
    log, quiet = logging.getLogger("rex"), logging.NullHandler()
    log.addHandler(quiet)
    try:
        yield
    finally:
        log.removeHandler(quiet)


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
