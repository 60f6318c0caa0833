"""Links of a storage whose downloads lead to a CDN, and whose uploads lead to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.backend.abilities import LinkSigner

if TYPE_CHECKING:
    from rex.attach.links.cloudfront import CloudFront
    from rex.attach.links.link import PresignedLink
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["CdnLinks"]


class CdnLinks(LinkSigner):
    """Signs downloads for a CDN; everything else is that of the server's signer."""

    is_fetchable = False
    """A proxy fetches from the server, and a CDN is one already."""

    def __init__(self, links: LinkSigner, cdn: CloudFront, prefix: str) -> None:
        """Sign for the objects below a prefix."""
        self._links = links
        self._cdn = cdn
        self._prefix = prefix
        self.signs_uploads = links.signs_uploads
        self.post_links = links.post_links
        self.pins_type = links.pins_type
        self.limits_put = links.limits_put

    @property
    def is_served(self) -> bool:
        """Whether the service answers some of the upload links, as Azure's forms."""
        return self._links.is_served

    @property
    def is_offline(self) -> bool:
        """Whether signing uploads needs no server; downloads never need one."""
        return self._links.is_offline

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        """Sign a form upload to the server."""
        return self._links.post(key, content_type, max_size, seconds)

    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        """Sign an upload to the server."""
        return self._links.put(key, content_type, max_size, seconds)

    def get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        """Sign a download from the CDN."""
        path = f"{self._prefix}{key}"
        return self._cdn.download_link(path, content_disposition, content_type, seconds, window)

    def compare(self, link: SignedLink) -> Comparison | None:
        """Compare a link of the server."""
        return self._links.compare(link)
