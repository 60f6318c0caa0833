"""The command `rex serve`: the application over HTTP, on granian."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rex.core.configuration import Configuration
from rex.core.error import Error, Kind
from rex.core.package import installed, load

if TYPE_CHECKING:
    from rex.core.application import Rex

__all__ = ["serve"]

ACCESS_LOG = '%(addr)s "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).1f ms'
"""The path stands there without its query, in which signatures are."""


@click.command("serve", short_help="Serve the application over HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
@click.option("--workers", default=1, show_default=True, help="How many processes answer.")
@click.option(
    "--tls-cert", type=click.Path(exists=True, dir_okay=False), help="The certificate, for HTTPS."
)
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its private key.")
@click.option("--access-log", is_flag=True, help="Log each request, without its query.")
@click.pass_context
def serve(
    ctx: click.Context,
    *,
    host: str,
    port: int,
    workers: int,
    tls_cert: str | None,
    tls_key: str | None,
    access_log: bool,
) -> None:
    """Serve the routes of all packages, until Ctrl-C or SIGTERM.

    The packages are those that rex.toml names, or else all installed ones that have routes.
    A request that is being answered is finished first. /health answers when all is well.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    try:
        from granian import Granian
        from granian.constants import Interfaces
    except ModuleNotFoundError as missing:
        raise Error(
            "Serving needs more packages: pip install 'rex-attach[web]'",
            missing,
            kind=Kind.CONFIGURATION,
        ) from None
    root = ctx.find_root()
    loader = _Loader(root.params["overrides"], root.params["config"])
    loader.rex().close()  # what is configured wrongly is told now, and once
    click.echo(f"Serving on {_url(host, port, tls_cert)}", err=True)
    Granian(
        "rex",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        log_access=access_log,
        log_access_format=ACCESS_LOG,
        ssl_cert=None if tls_cert is None else Path(tls_cert),
        ssl_key=None if tls_key is None else Path(tls_key),
        websockets=False,
        # A worker that does not come to an end is ended.
        workers_kill_timeout=30,
    ).serve(target_loader=loader, wrap_loader=False)


class _Loader:
    """Makes the application in each worker, from what the command line was given."""

    def __init__(self, overrides: tuple[str, ...], config: str | None) -> None:
        self._overrides = overrides
        self._config = config

    def __call__(self, *_: object) -> Rex:
        return self.rex()

    def rex(self) -> Rex:
        configuration = Configuration(self._overrides, self._config)
        return configuration.rex(*(configuration.packages or _with_routes()))


def _with_routes() -> list[str]:
    return [name for name in installed() if load(name).routes is not None]


def _url(host: str, port: int, tls_cert: str | None) -> str:
    try:
        shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    except ValueError:
        shown = host
    return f"{'https' if tls_cert else 'http'}://{shown}:{port}"
