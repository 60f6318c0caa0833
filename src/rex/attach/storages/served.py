"""Storages that have no server of their own: their links lead to the service."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from rex.attach.link import PresignedLink
from rex.attach.storage import Storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.signing.permission import Permission

__all__ = ["ServedStorage"]


class ServedStorage(Storage):
    """A storage whose links the service answers (`rex.attach.web.signed`), below `url`.

    The links are those of S3 in what they permit: one request each, all of whose parts are
    pinned. Without `url` there are none.
    """

    @property
    def links_are_served(self) -> bool:
        """Whether there are links."""
        return self.url is not None

    def _sign_post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        from rex.attach.signing.permission import Permission

        permission = Permission(key, content_type, max_size)
        token, expires_at = self._sign(permission, "POST", seconds)
        fields = {"key": key, "Content-Type": content_type}
        # The token is part of the address, which the service reads before the form.
        return PresignedLink("POST", f"{self._links_url()}/{token}/", {}, fields, expires_at)

    def _sign_put(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        from rex.attach.signing.permission import Permission

        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        return self._signed_url("PUT", Permission(key, content_type), headers, seconds)

    def _sign_get(
        self, key: str, content_disposition: str, content_type: str | None, seconds: float
    ) -> PresignedLink:
        from rex.attach.signing.permission import Permission

        permission = Permission(key, content_type, disposition=content_disposition)
        return self._signed_url("GET", permission, {}, seconds)

    def _signed_url(
        self, method: str, permission: Permission, headers: dict[str, str], seconds: float
    ) -> PresignedLink:
        from rex.attach.signing.sigv4 import encode_path

        token, expires_at = self._sign(permission, method, seconds)
        url = f"{self._links_url()}/{encode_path(permission.key)}?token={token}"
        return PresignedLink(method, url, headers, {}, expires_at)

    def _sign(
        self, permission: Permission, method: str, seconds: float
    ) -> tuple[str, datetime.datetime]:
        """Give the token, and when it ends; a storage without links makes no secret."""
        self._links_url()
        expires = time.time() + seconds
        token = permission.sign(self.tokens, method, expires=expires)
        return token, datetime.datetime.fromtimestamp(expires, datetime.UTC)

    def _links_url(self) -> str:
        """Give the address below which the service answers links."""
        if self.url is None:
            raise self._cannot_sign()
        return f"{self.url.rstrip('/')}/signed"

    def _cannot_sign(self) -> Error:
        return Error(
            "This storage cannot make links",
            "links need a server that a client can reach; say where the service is (setting "
            "attach_url), or keep the attachments on an S3-compatible server",
            kind=Kind.UNSUPPORTED,
            code="no-links",
        )
