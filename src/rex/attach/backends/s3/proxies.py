"""The proxy to an endpoint, from the environment, for every HTTP client."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["proxy_for"]


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
