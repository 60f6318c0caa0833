"""The address of a server, and how obstore connects to it."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rex.attach.backends.objects.requests import FIRST_PAUSE, LONGEST_PAUSE
from rex.attach.handle import show
from rex.attach.links.client import Client
from rex.core import Error, Kind

if TYPE_CHECKING:
    import re

    from obstore.store import ClientConfig, RetryConfig

__all__ = [
    "CONNECT_SECONDS",
    "check_name",
    "client_options",
    "origin",
    "proxy_for",
    "retry_options",
    "server_time",
]

CONNECT_SECONDS = 5
MAX_RETRIES = 1_000_000
"""So many that the timeout decides: the default of obstore, 10, is over within seconds."""
IDLE_CONNECTIONS = "32"
"""Connections kept for later requests: each keeps the buffer that it had, up to 400 KiB."""
NO_PROXY = "http://127.0.0.1:9"
"""A dead end for every host except the endpoint: obstore must not follow redirects to them."""


def proxy_for(endpoint: str) -> str | None:
    """Return the address of the proxy to an endpoint, or None for a direct connection.

    ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` have the meaning that they have
    for the HTTP clients of Python.
    """
    parts = urlsplit(endpoint)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or "://" in proxy:
        return proxy
    return f"http://{proxy}"


def client_options(endpoint: str, address: str, seconds: float) -> ClientConfig:
    """Return the options of a client of obstore for `address`, with the proxy to `endpoint`.

    `seconds` is how long to wait for a silent server.
    """
    options: ClientConfig = {
        "allow_http": address.startswith("http://"),
        "connect_timeout": datetime.timedelta(seconds=min(CONNECT_SECONDS, seconds)),
        "read_timeout": datetime.timedelta(seconds=seconds),
        # A large attachment may take long, provided that bytes keep arriving.
        "timeout": datetime.timedelta(days=7),
        "pool_max_idle_per_host": IDLE_CONNECTIONS,
        "user_agent": "rex-attach",
    }
    proxy = proxy_for(endpoint)
    options["proxy_url"] = proxy or NO_PROXY
    if proxy is None:  # or obstore would read the environment
        options["proxy_excludes"] = urlsplit(address).hostname or ""
    return options


def retry_options(seconds: float) -> RetryConfig:
    """Return the options with which obstore retries a failing request for `seconds`."""
    return {
        "retry_timeout": datetime.timedelta(seconds=seconds),
        "max_retries": MAX_RETRIES,
        "backoff": {
            "init_backoff": datetime.timedelta(seconds=FIRST_PAUSE),
            "max_backoff": datetime.timedelta(seconds=LONGEST_PAUSE),
            "base": 2,
        },
    }


def server_time(endpoint: str) -> datetime.datetime | None:
    """Return the time by the clock of a server; None if it is unknown."""
    try:
        answer = Client(timeout=CONNECT_SECONDS).send("GET", f"{endpoint}/")
        return parsedate_to_datetime(answer.headers.get("Date", ""))
    except (OSError, TypeError, ValueError):
        return None


def origin(endpoint: str) -> str:
    """Return the endpoint in the form to sign and compare: lower-case scheme, no final slash."""
    scheme, separator, rest = endpoint.partition("://")
    return f"{scheme.lower()}{separator}{rest}".rstrip("/")


def check_name(value: str, form: re.Pattern[str], setting: str, rule: str) -> str:
    """Return the name of a bucket or the like. Errors: `CONFIGURATION` with the rule."""
    if not form.fullmatch(value):
        raise Error(
            rule, show(value), kind=Kind.CONFIGURATION, code="wrong-setting", setting=setting
        )
    return value
