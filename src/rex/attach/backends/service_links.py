"""Storages that have no server of their own: their links lead to the service."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from rex.attach.backend.abilities import LinkSigner
from rex.attach.links.link import PresignedLink
from rex.attach.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.links.grant import Grant
    from rex.attach.links.token import TokenSigner

__all__ = ["ServiceLinks", "ServiceLinksStorage"]


class ServiceLinksStorage(Storage):
    """A storage whose links the service answers (`rex.attach.web.service_links`), below `url`."""

    def _links(self) -> LinkSigner | None:
        """Return what signs the links, where the address of the service is known."""
        return None if self.url is None else ServiceLinks(self.url, lambda: self.tokens)


class ServiceLinks(LinkSigner):
    """Links to the service; they permit what those of S3 permit.

    Each is for one request, all of whose parts are pinned.
    """

    is_service = True

    def __init__(self, url: str, tokens: Callable[[], TokenSigner]) -> None:
        """Sign for the service at `url`; the first link makes the tokens' secret."""
        self._url = f"{url.rstrip('/')}/signed"
        self._tokens = tokens

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        from rex.attach.links.grant import Grant

        permission = Grant(key, content_type, max_size)
        token, expires_at = self._sign(permission, "POST", seconds)
        fields = {"key": key, "Content-Type": content_type}
        # The token is part of the address, which the service reads before the form.
        return PresignedLink("POST", f"{self._url}/{token}/", {}, fields, expires_at)

    def put(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        from rex.attach.links.grant import Grant

        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        return self._sign_url("PUT", Grant(key, content_type), headers, seconds)

    def get(
        self, key: str, content_disposition: str, content_type: str | None, seconds: float
    ) -> PresignedLink:
        from rex.attach.links.grant import Grant

        permission = Grant(key, content_type, disposition=content_disposition)
        return self._sign_url("GET", permission, {}, seconds)

    def _sign_url(
        self, method: str, permission: Grant, headers: dict[str, str], seconds: float
    ) -> PresignedLink:
        from rex.attach.links.sigv4 import encode_path

        token, expires_at = self._sign(permission, method, seconds)
        url = f"{self._url}/{encode_path(permission.key)}?token={token}"
        return PresignedLink(method, url, headers, {}, expires_at)

    def _sign(
        self, permission: Grant, method: str, seconds: float
    ) -> tuple[str, datetime.datetime]:
        """Return the token, and when it ends."""
        expires = time.time() + seconds
        token = permission.sign(self._tokens(), method, expires=expires)
        return token, datetime.datetime.fromtimestamp(expires, datetime.UTC)
