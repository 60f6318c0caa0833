"""Links of storages without a server of their own: the service answers them."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from rex.attach.backend.abilities import LinkSigner
from rex.attach.links.link import PresignedLink, round_down
from rex.attach.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.links.grant import Grant
    from rex.attach.links.token import TokenSigner

__all__ = ["ServiceLinks", "ServiceLinksStorage"]


class ServiceLinksStorage(Storage):
    """A storage with service links below `url`, answered by `rex.attach.web.service_links`."""

    def _links(self) -> LinkSigner | None:
        """Return the signer of the links, or None if the address of the service is not set."""
        return None if self.url is None else ServiceLinks(self.url, lambda: self.tokens)


class ServiceLinks(LinkSigner):
    """Signs service links, which allow the same as the links of S3.

    A link is for one request, and the client cannot change any part of it.
    """

    is_service = True

    def __init__(self, url: str, tokens: Callable[[], TokenSigner]) -> None:
        """Sign for the service at `url`; the first link generates the secret of the tokens."""
        self._url = f"{url.rstrip('/')}/signed"
        self._tokens = tokens

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        from rex.attach.links.grant import Grant

        grant = Grant(key, content_type, max_size)
        token, expires_at = self._sign(grant, "POST", seconds)
        fields = {"key": key, "Content-Type": content_type}
        # The service reads the path, with the token, before it reads the form.
        return PresignedLink("POST", f"{self._url}/{token}/", {}, fields, expires_at)

    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size  # the service limits all uploads alike
        from rex.attach.links.grant import Grant

        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        return self._sign_url("PUT", Grant(key, content_type), headers, seconds)

    def get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        from rex.attach.links.grant import Grant

        grant = Grant(key, content_type, disposition=content_disposition)
        return self._sign_url("GET", grant, {}, seconds, window)

    def _sign_url(
        self, method: str, grant: Grant, headers: dict[str, str], seconds: float, window: int = 0
    ) -> PresignedLink:
        from rex.attach.links.sigv4 import encode_path

        token, expires_at = self._sign(grant, method, seconds, window)
        url = f"{self._url}/{encode_path(grant.key)}?token={token}"
        return PresignedLink(method, url, headers, {}, expires_at)

    def _sign(
        self, grant: Grant, method: str, seconds: float, window: int = 0
    ) -> tuple[str, datetime.datetime]:
        """Return the token, and the time when it expires."""
        expires = round_down(time.time(), window) + seconds
        token = grant.sign(self._tokens(), method, expires=expires)
        return token, datetime.datetime.fromtimestamp(expires, datetime.UTC)
