"""Why the service refuses one of its own links."""

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
"""In seconds; what is later is no time that anybody meant."""
UNCHANGED = "Use the link as it was made, all of it and nothing else."


def claims_of(link: SignedLink) -> dict[str, Any]:
    """Give what the token says, which anybody can have written; nothing if it says nothing."""
    text = link["token"].partition(".")[0]
    if len(text) > MAX_TOKEN_LENGTH:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def ends_at(link: SignedLink) -> float | None:
    """Give when the link ends, in seconds since 1970, UTC."""
    ends = claims_of(link).get("exp")
    return float(ends) if isinstance(ends, int | float) and 0 <= ends < MAX_TIME else None


def service_reasons(
    link: SignedLink, storage: Storage | None, checked: list[str]
) -> Iterator[Reason]:
    """Compare a link of the service with its token, and the token with the storage's secret."""
    claims = claims_of(link)
    checked.append("path, parameters and fields against the token")
    if not isinstance(claims.get("key"), str):
        yield certain(
            "unreadable-token",
            "it cannot be read",
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
            f"its token is for {cite(signed)}",
            "Make a link for each attachment; a link is for one.",
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
                "Send the headers that the link came with.",
                name,
            )


def _form_reasons(link: SignedLink, claims: dict[str, Any]) -> Iterator[Reason]:
    yield from _unknown_parts([name for name, _ in link.pairs])
    if not link.path.endswith("/"):
        yield certain(
            "path-changed",
            "the address of a form ends with /, which is missing",
            UNCHANGED,
        )
    signed = {"key": claims["key"], "Content-Type": claims.get("content_type")}
    # An address alone says nothing of the form.
    for name in sorted({*signed, *link.fields} if link.fields else ()):
        if link.fields.get(name) != signed.get(name):
            yield certain(
                "field-changed",
                f"signed: {cite(str(signed.get(name, 'no such field')), 100)}; in the form: "
                f"{cite(link.fields.get(name, 'nothing'), 100)}",
                "Send the fields that the link came with, all of them and no other.",
                cite(name, 60),
            )


def _unknown_parts(names: list[str]) -> Iterator[Reason]:
    if names:
        yield certain(
            "parameter-added",
            f"{cite(', '.join(names), 100)} is not part of it",
            UNCHANGED,
        )


def _storage_reasons(link: SignedLink, storage: Storage, checked: list[str]) -> Iterator[Reason]:
    links = storage.abilities.links
    if links is None or not links.is_service:
        yield likely(
            "no-links",
            "the setting attach_url is not given, or the storage has links of its own",
            "Set attach_url to where clients reach the service.",
        )
        return
    address = f"{link.scheme}://{link.host}{link.path}"
    if not address.startswith(f"{(storage.url or '').rstrip('/').lower()}/signed/"):
        yield likely(
            "other-service",
            f"{cite(link.host)} in the link, {storage.url} in the setting attach_url",
            "Set attach_url to where clients reach the service, and make a new link.",
        )
    try:
        tokens = storage.tokens
    except Error as error:
        checked.append(f"not the signature: {error.message}")
        return
    checked.append("the signature, with the secret of the storage")
    signed_for = [each for each in SIGNED_FOR if Grant.is_signed(tokens, each, link["token"])]
    if not signed_for:
        yield likely(
            "other-secret",
            "recomputed for GET, PUT and POST",
            "Make a new link. Servers that share a storage need the same attach_secret, and a "
            "directory that was restored needs its file .secret.",
        )
    elif (asked := link.asked or link.method) and asked not in signed_for:
        yield certain(
            "wrong-method",
            "recomputed with the secret of the storage",
            f"Ask with {signed_for[0]}, or have a link for the other method made.",
            cite(asked, 20),
            expected=signed_for[0],
        )
