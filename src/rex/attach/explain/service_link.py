"""Reasons for which the service refuses a service link."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rex.attach.links.grant import Grant
from rex.attach.links.reason import Reason, certain, cite, likely
from rex.attach.links.token import MAX_TOKEN_LENGTH
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.links.signed_link import SignedLink
    from rex.attach.storage import Storage

__all__ = ["claims_of", "ends_at", "service_reasons"]

SIGNED_FOR = ("GET", "PUT", "POST")
MAX_TIME = 2**33
"""In seconds since 1970; later times are not plausible."""
UNCHANGED = "Use the complete, unchanged link."


def claims_of(link: SignedLink) -> dict[str, Any]:
    """Return the unverified claims of the token; empty if they cannot be parsed."""
    text = link["token"].partition(".")[0]
    if len(text) > MAX_TOKEN_LENGTH:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def ends_at(link: SignedLink) -> float | None:
    """Return the unverified expiry of the link in seconds since 1970 (UTC)."""
    ends = claims_of(link).get("exp")
    return float(ends) if isinstance(ends, int | float) and 0 <= ends < MAX_TIME else None


def service_reasons(
    link: SignedLink, storage: Storage | None, checked: list[str]
) -> Iterator[Reason]:
    """Compare a service link with its token, and the token with the storage's secret."""
    claims = claims_of(link)
    checked.append("path, parameters and fields against the token")
    if not isinstance(claims.get("key"), str):
        yield certain(
            "unreadable-token",
            "the token cannot be parsed",
            UNCHANGED,
        )
        return
    yield from _form_reasons(link, claims) if link.is_form else _query_reasons(link, claims)
    if storage is not None:
        yield from _storage_reasons(link, storage, checked)


def _query_reasons(link: SignedLink, claims: dict[str, Any]) -> Iterator[Reason]:
    signed = f"/signed/{claims['key']}"
    if not unquote(link.path).endswith(signed):
        yield certain(
            "path-changed",
            f"the token is for {cite(signed)}",
            "Make a separate link for each attachment.",
        )
    yield from _unknown_parts([name for name, _ in link.pairs if name != "token"])
    if link.sent is None or "disposition" in claims:
        return
    for name, value in (("content-type", claims.get("content_type")), ("if-none-match", "*")):
        if link.sent.get(name) != value:
            yield certain(
                "header-changed" if name in link.sent else "header-missing",
                f"signed: {cite(str(value), 100)}; sent: "
                f"{cite(link.sent.get(name, 'nothing'), 100)}",
                "Send the headers of the link.",
                name,
            )


def _form_reasons(link: SignedLink, claims: dict[str, Any]) -> Iterator[Reason]:
    yield from _unknown_parts([name for name, _ in link.pairs])
    if not link.path.endswith("/"):
        yield certain(
            "path-changed",
            "the URL of a form must end with /",
            UNCHANGED,
        )
    signed = {"key": claims["key"], "Content-Type": claims.get("content_type")}
    # A URL without fields does not show the form.
    for name in sorted({*signed, *link.fields} if link.fields else ()):
        if link.fields.get(name) != signed.get(name):
            yield certain(
                "field-changed",
                f"signed: {cite(str(signed.get(name, 'no such field')), 100)}; in the form: "
                f"{cite(link.fields.get(name, 'nothing'), 100)}",
                "Send all fields of the link, and only those.",
                cite(name, 60),
            )


def _unknown_parts(names: list[str]) -> Iterator[Reason]:
    if names:
        yield certain(
            "parameter-added",
            f"not part of the link: {cite(', '.join(names), 100)}",
            UNCHANGED,
        )


def _storage_reasons(link: SignedLink, storage: Storage, checked: list[str]) -> Iterator[Reason]:
    links = storage.abilities.links
    if links is None or not links.is_served:
        yield likely(
            "no-links",
            "attach_url is not set, or the backend makes its own links",
            "Set attach_url to the URL at which clients reach the service.",
        )
        return
    base = (storage.url or "").rstrip("/")
    is_path = not base or base.startswith("/")
    address = link.path if is_path else f"{link.scheme}://{link.host}{link.path}"
    if not address.startswith(f"{base if is_path else base.lower()}/signed/"):
        yield likely(
            "other-service",
            f"link: {cite(link.host)}; attach_url: {storage.url}",
            "Set attach_url to the URL at which clients reach the service, and make a new link.",
        )
    try:
        tokens = storage.tokens
    except Error as error:
        checked.append(f"not the signature ({error.message})")
        return
    checked.append("the signature, with the secret of the storage")
    signed_for = [each for each in SIGNED_FOR if Grant.is_signed(tokens, each, link["token"])]
    if not signed_for:
        yield likely(
            "other-secret",
            "the recomputed signatures for GET, PUT and POST differ",
            "Make a new link. Servers that share a storage need the same attach_secret, and a "
            "restored directory needs its file .secret.",
        )
    elif (asked := link.asked or link.method) and asked not in signed_for:
        yield certain(
            "wrong-method",
            "recomputed with the secret of the storage",
            f"Use {signed_for[0]}, or make a link for the other method.",
            cite(asked, 20),
            expected=signed_for[0],
        )
