"""What a link to the service permits: one request, told by the claims of its token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rex.attach.links.token import TokenSigner

__all__ = ["Grant"]


class Grant(NamedTuple):
    """One request for one attachment; the method is the purpose of the token."""

    key: str
    """The handle without its first slash."""
    content_type: str | None = None
    """What it is uploaded or, if given, downloaded as."""
    max_size: int | None = None
    """The largest size of an upload, in bytes."""
    disposition: str | None = None
    """The Content-Disposition of a download."""

    def sign(self, tokens: TokenSigner, method: str, *, expires: float) -> str:
        """Make the token of a link that is valid until `expires` (seconds since 1970, UTC)."""
        claims = {name: value for name, value in self._asdict().items() if value is not None}
        return tokens.sign(_purpose(method), claims, expires=expires)

    @classmethod
    def read(cls, tokens: TokenSigner, method: str, token: str) -> Grant:
        """Read the token of a link for this method. Errors: `DENIED`, as `TokenSigner.read`."""
        return cls(**tokens.read(_purpose(method), token))

    @staticmethod
    def is_signed(tokens: TokenSigner, method: str, token: str) -> bool:
        """Tell whether a token is of a link for this method, be it expired or not."""
        return tokens.is_signed(_purpose(method), token)


def _purpose(method: str) -> str:
    return f"link {method}"
