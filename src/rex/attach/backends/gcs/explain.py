"""Comparison of a link with the settings of a bucket and with its own signature.

The signature is recomputed with the private key: for the link itself, and for variants of the link
with one part as it may have been when it was signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from rex.attach.backends.gcs.credentials import ServiceAccount
from rex.attach.backends.objects.objects import object_headers
from rex.attach.content.media_type import content_type_for
from rex.attach.links.reason import Comparison, Reason, certain, cite, likely
from rex.attach.links.signed_link import METHODS
from rex.attach.links.sigv4 import canonical_request, encode_path
from rex.attach.links.v4 import host_of, string_to_sign
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backends.gcs.bucket import GCSBucket
    from rex.attach.links.signed_link import SignedLink

__all__ = ["compare"]

USUAL_SECONDS = ("60", "300", "600", "900", "1800", "3600", "7200", "43200", "86400", "604800")
MAX_EXTRA = 20
"""The number of added parameters to try."""


class _Request(NamedTuple):
    """The signed parts of a link, besides its method."""

    host: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: dict[str, str]


def compare(link: SignedLink, bucket: GCSBucket) -> Comparison | None:
    """Compare a link with a bucket; return None for a link of another kind."""
    if not link.is_google:
        return None
    checked = ["host, bucket and service account against the settings"]
    reasons: list[Reason] = []
    method: str | None = None
    found: list[Reason] = []
    credentials = bucket.credentials
    if not isinstance(credentials, ServiceAccount):
        checked.append("not the signature: the settings have no private key")
    elif link.access_key and credentials.email != link.access_key:
        reasons.append(
            likely(
                "other-access-key",
                f"{cite(link.access_key, 100)} in the link, {credentials.email} in the file of the "
                "setting attach_gcs_key",
                "If the service account changed, create a new link; if not, find out who signed "
                "it.",
            )
        )
    elif link.is_well_formed and _is_hex(link["x-amz-signature"]):
        method, found = _verify(link, credentials, bucket)
        reasons += found
        if method or found:
            checked.append("the signature, with the private key of the settings")
        else:
            checked.append("not the signature: the signed headers are unknown (--header, --form)")
    if all(reason.code == _UNKNOWN.code for reason in found):  # no better reason
        reasons += _place_reasons(link, bucket)
    return Comparison(reasons, checked, method, is_changed=bool(found) and not method)


def _place_reasons(link: SignedLink, bucket: GCSBucket) -> Iterator[Reason]:
    host = host_of(bucket.endpoint)
    if link.host != host:
        yield likely(
            "other-host",
            f"{cite(link.host)} in the link, {host} in the settings",
            "Set attach_gcs_endpoint to the address of the server, and create a new link.",
        )
        return
    named = unquote(link.path.lstrip("/").partition("/")[0])
    if named != bucket.name:
        yield likely(
            "other-bucket",
            f"{cite(named, 63)} in the link, {bucket.name} in the setting attach_gcs_bucket",
            "Create a new link, or correct attach_gcs_bucket.",
        )


def _verify(
    link: SignedLink, credentials: ServiceAccount, bucket: GCSBucket
) -> tuple[str | None, list[Reason]]:
    """Return the method that the link is signed for, or else reasons for the mismatch.

    Without the signed headers, return neither: they alone may cause the mismatch.
    """
    signature = bytes.fromhex(link["x-amz-signature"])
    if link.fields:
        is_right = credentials.verifies(link["policy"].encode(), signature)
        return ("POST", []) if is_right else (None, [_UNKNOWN])
    given = _Request(link.host, link.path, link.query, link.headers or link.sent or {})
    # If the headers of the client are unknown, try those that we sign.
    ours = given._replace(headers=_our_headers(link))
    bases = (given,) if link.headers is not None else (ours, given)
    for request in bases:
        method = _method(link, request, credentials, signature)
        if method is not None:
            return method, [*_header_reasons(link, request)]
    for base in bases:
        for request, reason in _before(link, base, bucket):
            if _method(link, request, credentials, signature):
                return None, [reason]
    is_known = {"host", *given.headers} >= {*link.signed_headers}
    return None, [_UNKNOWN] if is_known else []


_UNKNOWN = likely(
    "signature-mismatch",
    "recomputed with the private key of the settings: for each method, for the host of the "
    "settings, and without parameters that may have been added",
    "Compare the link with the original. If they are equal, the link was signed with a different "
    "key than that in attach_gcs_key.",
)


def _method(
    link: SignedLink, request: _Request, credentials: ServiceAccount, signature: bytes
) -> str | None:
    """Return the method for which the request is signed, or None."""
    headers = {name: request.headers.get(name, "") for name in link.signed_headers}
    headers = {name: " ".join(value.split()) for name, value in headers.items()}
    headers["host"] = request.host
    for method in METHODS:
        text = canonical_request(method, request.path, request.query, headers)
        if credentials.verifies(string_to_sign(text, link["x-amz-date"]), signature):
            return method
    return None


def _our_headers(link: SignedLink) -> dict[str, str]:
    key = unquote(link.path).lstrip("/")
    try:
        headers = object_headers(key, content_type_for(key.rpartition("/")[2]))
    except Error:
        headers = {}
    ours = {name.lower(): value for name, value in headers.items()}
    return (link.sent or {}) | ours | {"x-goog-if-generation-match": "0"}


def _header_reasons(link: SignedLink, signed: _Request) -> Iterator[Reason]:
    """Yield a reason for each header that was sent with a value that is not signed."""
    for name in link.signed_headers:
        value = signed.headers.get(name, "")
        if name != "host" and link.sent and link.sent.get(name, value) != value:
            yield certain(
                "header-changed",
                f"signed: {cite(value, 100)}; sent: {cite(link.sent[name], 100)}",
                "Send the header with the value in the link.",
                cite(name, 40),
            )


def _before(
    link: SignedLink, request: _Request, bucket: GCSBucket
) -> Iterator[tuple[_Request, Reason]]:
    """Yield variants of the request, each with one part as it may have been when signed."""
    host = host_of(bucket.endpoint)
    yield (
        request._replace(host=host),
        certain(
            "signed-for-other-host",
            f"the link leads to {cite(link.host)}, and its signature is for {host}",
            "Do not change the host of a link; and let no proxy rewrite the header Host.",
        ),
    )
    yield (
        request._replace(path=f"/{bucket.name}/{link.path.lstrip('/').partition('/')[2]}"),
        certain(
            "other-bucket",
            f"the link leads to {cite(link.path, 60)}, and its signature is for {bucket.name}",
            "Do not change the bucket of a link: make a link with the other bucket's settings.",
        ),
    )
    for path in _paths(link.path):
        yield (
            request._replace(path=path),
            certain(
                "path-encoded",
                f"the signature is for {cite(path, 60)}",
                "Use the path of the original link; do not decode or encode it.",
            ),
        )
    for name, query in _queries(link):
        yield (
            request._replace(query=query),
            certain(
                "parameter-changed",
                "the signature is right with the original parameter",
                "Use the original link; for a different time, name or type, create a new link.",
                cite(name, 60),
            ),
        )


def _paths(path: str) -> Iterator[str]:
    yield path.replace("+", "%20")
    yield path.replace("%25", "%")
    yield encode_path(unquote(path))
    yield path.rstrip(".,;:)")


def _queries(link: SignedLink) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    query = link.query
    extra = link.extra[:MAX_EXTRA]
    for name in extra:
        yield name, [pair for pair in query if pair[0] != name]
    if len(extra) > 1:
        yield ", ".join(extra), [pair for pair in query if pair[0] not in extra]
    for seconds in USUAL_SECONDS:
        yield (
            "X-Goog-Expires",
            [(name, seconds if name == "X-Goog-Expires" else value) for name, value in query],
        )


def _is_hex(text: str) -> bool:
    try:
        return bool(bytes.fromhex(text))
    except ValueError:
        return False
