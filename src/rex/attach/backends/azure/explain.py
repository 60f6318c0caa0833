"""Comparison of a link with the settings of a container and with its own signature.

The signature is recomputed with the account key: for the link itself, and for variants of the link
with one part as it may have been when it was signed.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rex.attach.backends.azure.credentials import AccountKey
from rex.attach.links.reason import Comparison, Reason, certain, cite, likely
from rex.attach.links.sas import FIELDS, sign, string_to_sign
from rex.attach.links.sigv4 import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach.backends.azure.container import Container
    from rex.attach.links.signed_link import SignedLink

__all__ = ["compare"]

SIGNATURE_LENGTH = 44
"""A SHA-256 in Base64; another length is a damage that `explain` names."""
PERMISSIONS = ("r", "c", "w", "cw", "rw", "d", "rl", "racwd")
_OPTIONAL = ("st", "si", "sip", "spr", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")
_METHODS = {"r": "GET", "c": "PUT", "w": "PUT", "d": "DELETE"}


def compare(link: SignedLink, container: Container) -> Comparison | None:
    """Compare a link with a container; return None for a link of another kind."""
    if not link.is_sas:
        return None
    checked = ["host, account and container against the settings"]
    reasons = [*_place_reasons(link, container)]
    credentials = container.credentials
    method: str | None = None
    is_changed = False
    if link["skoid"]:
        checked.append("not the signature: a user delegation key made it")
    elif not isinstance(credentials, AccountKey):
        checked.append("not the signature: the settings have no account key")
    elif len(link["sig"]) == SIGNATURE_LENGTH and not link.missing:
        checked.append("the signature, with the account key of the settings")
        found = [*_verify(link, container, credentials.key)]
        is_changed = bool(found)
        # A link to another place cannot match; the place is the better reason.
        reasons += [each for each in found if each.code != _UNKNOWN.code or not reasons]
        method = None if found else _METHODS.get(link["sp"][:1])
    return Comparison(reasons, checked, method, is_changed=is_changed)


def _place_reasons(link: SignedLink, container: Container) -> Iterator[Reason]:
    parts = urlsplit(container.endpoint)
    host = parts.netloc.lower().removesuffix(DEFAULT_PORTS.get(parts.scheme, ""))
    change = "Correct attach_azure_account or attach_azure_endpoint, or make a new link."
    if link.host != host:
        evidence = f"{cite(link.host)} in the link, {host} in the settings"
        yield likely("other-host", evidence, change)
        return
    root = parts.path.rstrip("/")
    if not link.path.startswith(f"{root}/"):
        evidence = f"{cite(link.path, 60)} in the link, {root} in the settings"
        yield likely("other-account", evidence, change)
        return
    named = unquote(link.path.removeprefix(root).lstrip("/").partition("/")[0])
    if named != container.name:
        yield likely(
            "other-container",
            f"{cite(named, 63)} in the link, {container.name} in the setting "
            "attach_azure_container",
            "Make a new link, or correct attach_azure_container.",
        )


def _verify(link: SignedLink, container: Container, key: str) -> Iterator[Reason]:
    """Yield a reason unless the signature is right."""
    root = urlsplit(container.endpoint).path.rstrip("/")
    path = link.path.removeprefix(root)
    fields = {name: link[name] for name in FIELDS if link[name]}
    if _matches(link, container.account, path, fields, key):
        return
    for changed in _paths(path, container):
        if _matches(link, container.account, changed, fields, key):
            evidence = f"the signature is for {cite(changed, 100)}"
            yield certain("path-changed", evidence, "Make a separate link for each attachment.")
            return
    for name, variant in _variants(fields):
        if _matches(link, container.account, path, variant, key):
            yield certain(
                "parameter-changed",
                "the signature is right with the original parameter",
                "Use the original link; for another time, name or type, make a new link.",
                f"{name} ({FIELDS[name]})",
            )
            return
    yield _UNKNOWN


_UNKNOWN = likely(
    "signature-mismatch",
    "recomputed with the account key of the settings, and with single parameters changed",
    "Compare the link with the original. If they are equal, another key than attach_azure_key "
    "signed it: keys of an account are replaced from time to time.",
)


def _matches(
    link: SignedLink, account: str, path: str, fields: Mapping[str, str], key: str
) -> bool:
    place = f"/blob/{account}{unquote(path)}"
    return hmac.compare_digest(
        sign(key, string_to_sign(place, fields)).encode(), link["sig"].encode()
    )


def _paths(path: str, container: Container) -> Iterator[str]:
    yield path.replace("+", "%20")
    yield path.replace("%20", "+")
    yield path.replace("%25", "%")
    yield path.rstrip(".,;:)/")
    yield f"/{container.name}/{path.lstrip('/').partition('/')[2]}"
    yield re.sub("/{2,}", "/", path)


def _variants(fields: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    for permissions in PERMISSIONS:
        yield "sp", {**fields, "sp": permissions}
    for name in _OPTIONAL:
        if name in fields:
            yield name, {other: value for other, value in fields.items() if other != name}
    for protocol in ("https", "https,http"):
        yield "spr", {**fields, "spr": protocol}
    yield "sr", {**fields, "sr": "b"}
