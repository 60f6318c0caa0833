"""Links to a container by SAS, which bypass the application; the service answers forms."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from rex.attach.backend.abilities import LinkSigner
from rex.attach.backends.azure.container import blob_headers
from rex.attach.content.media_type import content_type_for
from rex.attach.links.link import PresignedLink, round_down
from rex.attach.links.sas import sign_blob
from rex.attach.links.sigv4 import encode_path
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backends.azure.container import Container
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["AzureLinks"]


class AzureLinks(LinkSigner):
    """Signs links with the key of the account, or with a user delegation key.

    A SAS covers neither the headers nor the size of an upload, and Azure has no form uploads.
    """

    pins_type = False

    def __init__(self, container: Container, service: LinkSigner | None) -> None:
        """Sign for a container; `service` signs the forms, and is None if there are none."""
        self._container = container
        self._service = service

    @property
    def post_links(self) -> bool:  # type: ignore[override]  # it depends on the service
        """Whether there is a service, which answers forms."""
        return self._service is not None

    @property
    def is_served(self) -> bool:
        """Whether the service answers forms."""
        return self._service is not None

    @property
    def is_offline(self) -> bool:
        """Whether the key is cached."""
        return self._container.has_signing_key

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        if self._service is None:
            raise Error(
                "Azure has no form uploads",
                "set attach_url to the address of the service, which answers them, or use a PUT "
                "link",
                kind=Kind.UNSUPPORTED,
                code="no-form-links",
            )
        return self._service.post(key, content_type, max_size, seconds)

    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size  # Azure cannot limit it
        headers = blob_headers(key, content_type, digest=None, upload_metadata="")
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": content_type, **headers}
        # The permission to create does not allow replacing a blob: the link works once. Of clients
        # at the same time, the condition lets one win, also on Azurite.
        headers["If-None-Match"] = "*"
        return self._sign("PUT", key, "c", seconds, headers=headers)

    def get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        response = {
            # A SAS has no parameter for Expires: browsers compare the ETag each time.
            "rscc": "private, no-cache",
            "rscd": content_disposition,
            # The client of a PUT link may have stored any type and coding.
            "rsce": "identity",
            "rsct": content_type or content_type_for(key.rpartition("/")[2]),
        }
        return self._sign("GET", key, "r", seconds, response=response, window=window)

    def _sign(
        self,
        method: str,
        key: str,
        permissions: str,
        seconds: float,
        *,
        headers: dict[str, str] | None = None,
        response: dict[str, str] | None = None,
        window: int = 0,
    ) -> PresignedLink:
        container = self._container
        now = round_down(time.time(), window)
        expires_at = datetime.datetime.fromtimestamp(int(now + seconds), datetime.UTC)
        signing_key, expires_at = container.signing_key(expires_at)
        path = container.path(key)
        query = sign_blob(
            container.account,
            container.name,
            path,
            key=signing_key,
            permissions=permissions,
            expires_at=expires_at,
            protocol="https" if container.endpoint.startswith("https:") else None,
            response=response,
        )
        url = f"{container.url}/{encode_path(path)}?{query}"
        return PresignedLink(method, url, headers or {}, {}, expires_at)

    def compare(self, link: SignedLink) -> Comparison | None:
        from rex.attach.backends.azure.explain import compare

        return compare(link, self._container)
