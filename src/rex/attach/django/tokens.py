"""The signed texts of a direct upload: the offer in a form, and the token in place of a file.

Both are signed with ``SECRET_KEY`` (``SECRET_KEY_FALLBACKS`` are accepted). A browser can read
them, but not change them. The token does what the receipts of `rex.attach.Storage` do, and names
the field as well; and it needs no secret in the storage.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.core import signing

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OFFER_SECONDS", "UPLOAD_SECONDS", "Offer", "Upload"]

OFFER_SECONDS = 24 * 3600
"""The age at which the offer in a page expires."""

UPLOAD_SECONDS = 12 * 3600
"""The age at which a token expires: before `attach_sweep` may remove the upload (24 hours)."""

_SALT = "rex.attach.django"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a form lets its user upload: a form field asks for links with it."""

    field: str
    """The label of the field, such as ``shop.Document.file``."""
    storage: str
    """The key of the storage (`AttachmentStorage.key`)."""
    user: str | None
    """The identity of the user (`users_of`); None for a visitor without a session."""
    max_size: int | None = None
    """The size limit in bytes; None for no limit."""
    max_length: int | None = None
    """The length of the column in characters."""
    allows_empty: bool = False

    def sign(self) -> str:
        """Return the signed offer."""
        return _sign("offer", self)

    @classmethod
    def read(cls, text: str, users: Sequence[str]) -> Offer:
        """Return a signed offer to one of the `users`.

        Errors: `DENIED` for an offer that is forged, expired, or made for another user.
        """
        offer = cls(**_read("offer", text, OFFER_SECONDS))
        if offer.user is not None and offer.user not in users:
            raise _other_user()
        return offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a form sends in place of a file: an upload of this user for this field."""

    handle: str
    field: str
    user: str
    max_size: int | None = None
    """The size limit in bytes; None for no limit."""

    def sign(self) -> str:
        """Return the token."""
        return _sign("upload", self)

    @classmethod
    def read(cls, text: str, field: str, users: Sequence[str]) -> Upload:
        """Return the upload of a token for this field, by one of the `users`.

        Errors: `DENIED` for a token that is forged or expired, for a bare handle, and for the token
        of another user or of another field.
        """
        upload = cls(**_read("upload", text, UPLOAD_SECONDS))
        if upload.user not in users:
            raise _other_user()
        if upload.field != field:
            raise Error(
                "This upload belongs to another field", kind=Kind.DENIED, code="other-field"
            )
        return upload


def _sign(purpose: str, signed: Offer | Upload) -> str:
    return signing.dumps(asdict(signed), salt=f"{_SALT}.{purpose}")


def _read(purpose: str, text: str, seconds: int) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = signing.loads(text, salt=f"{_SALT}.{purpose}", max_age=seconds)
    except signing.SignatureExpired:
        raise Error("The receipt has expired", kind=Kind.DENIED, code="receipt-expired") from None
    except signing.BadSignature:
        raise Error("The signature is wrong", kind=Kind.DENIED, code="bad-signature") from None
    return claims


def _other_user() -> Error:
    return Error("This upload belongs to another user", kind=Kind.DENIED, code="not-owner")
