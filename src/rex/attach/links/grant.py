"""The grant of a service link: one request, described by the claims of a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rex.attach.links.token import TokenSigner

__all__ = ["Grant"]


class Grant(NamedTuple):
    """Permission for one request for one attachment; the method is the token's purpose."""

    key: str
    """The handle without its first slash."""
    content_type: str | None = None
    """Content type of an upload, or of a download if given."""
    max_size: int | None = None
    """Maximum size of an upload in bytes."""
    disposition: str | None = None
    """Content-Disposition of a download."""

    def sign(self, tokens: TokenSigner, method: str, *, expires: float) -> str:
        """Return a token for a link that is valid until `expires` (seconds since 1970, UTC)."""
        claims = {name: value for name, value in self._asdict().items() if value is not None}
        return tokens.sign(_purpose(method), claims, expires=expires)

    @classmethod
    def read(cls, tokens: TokenSigner, method: str, token: str) -> Grant:
        """Parse the token of a link for this method. Errors: `DENIED`, as `TokenSigner.read`."""
        return cls(**tokens.read(_purpose(method), token))

    @staticmethod
    def is_signed(tokens: TokenSigner, method: str, token: str) -> bool:
        """Check whether a token is signed for this method, regardless of its expiry."""
        return tokens.is_signed(_purpose(method), token)


def _purpose(method: str) -> str:
    return f"link {method}"
