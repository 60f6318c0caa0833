"""The client that follows links in the promises on links."""

from __future__ import annotations

from rex.attach.links.client import Answer, Client

__all__ = ["Answer", "fetch", "put", "upload"]

_client = Client()
fetch, put, upload = _client.fetch, _client.put, _client.upload
