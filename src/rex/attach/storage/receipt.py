"""Receipts: what a client presents to claim an upload."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

from rex.attach.handle import parse_handle, show
from rex.attach.owner import owner_of
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.storage.storage import Storage

__all__ = ["Receipt", "make_receipt", "read_receipt"]

PURPOSE = "receipt"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an owner may claim."""

    handle: str
    max_size: int | None = None
    """The size limit in bytes; None for no limit."""


def make_receipt(
    storage: Storage, handle: str, owner: object, max_size: int | None, seconds: float
) -> str:
    """Return the receipt of an upload whose link works for `seconds`; see `Storage.receipt`."""
    expires = time.time() + seconds + storage.upload_expires
    claims = {"handle": handle, "max": max_size, "owner": _tag(storage, handle, owner)}
    return storage.tokens.sign(PURPOSE, claims, expires=expires)


def read_receipt(storage: Storage, claimed: str, owner: object) -> Receipt:
    """Return what a client may claim; `claimed` is a receipt or a handle.

    Errors: `DENIED`; `ILL_FORMED` for a text that is neither.
    """
    if not isinstance(claimed, str):
        raise Error("A claim must be a receipt or a handle", show(claimed), kind=Kind.ILL_FORMED)
    is_handle = claimed.startswith("/")
    receipt = Receipt(claimed) if is_handle else _verified(storage, claimed, owner)
    # A handle without a mark belongs to no owner: only a receipt can vouch for it.
    has_owner = is_handle or parse_handle(receipt.handle).is_marked
    if has_owner and (owner is None or not storage.is_owned_by(receipt.handle, owner)):
        raise _not_owner()
    return receipt


def _verified(storage: Storage, token: str, owner: object) -> Receipt:
    try:
        claims = storage.tokens.read(PURPOSE, token)
    except Error as error:
        if error.code == "link-expired":
            raise Error(
                "The receipt has expired", kind=Kind.DENIED, code="receipt-expired"
            ) from None
        raise
    if claims["owner"] is not None:
        tag = None if owner is None else _tag(storage, claims["handle"], owner)
        if tag is None or not compare_digest(tag, claims["owner"]):
            raise _not_owner()
    return Receipt(claims["handle"], claims["max"])


def _tag(storage: Storage, handle: str, owner: object) -> str | None:
    """Return a text that only this owner has for this handle; None without an owner."""
    return None if owner is None else storage.tokens.mac(PURPOSE, owner_of(owner), handle).hex()


def _not_owner() -> Error:
    return Error("This upload belongs to another user", kind=Kind.DENIED, code="not-owner")
