"""Comparison of a link with the settings of a bucket and with its own signature.

The signature is recomputed with the secret key: for the link itself, and for variants of the link
with one part as it may have been when it was signed.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from rex.attach.backends.objects.objects import object_headers
from rex.attach.content.media_type import content_type_for
from rex.attach.links.reason import Comparison, Reason, certain, cite, likely
from rex.attach.links.signed_link import METHODS, part_of
from rex.attach.links.sigv4 import (
    DEFAULT_PORTS,
    canonical_request,
    encode_path,
    sign_policy_text,
    sign_request,
)
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.links.signed_link import SignedLink
    from rex.attach.links.sigv4 import Credentials

__all__ = ["compare"]

USUAL_SECONDS = ("60", "300", "600", "900", "1800", "3600", "7200", "43200", "86400", "604800")
SIGNATURE_LENGTH = 64
MAX_EXTRA = 20
"""The number of added parameters to try."""


def compare(
    link: SignedLink,
    *,
    bucket: str,
    region: str,
    bucket_urls: Sequence[str],
    credentials: Credentials | None,
) -> Comparison:
    """Compare a link with a bucket; the first of `bucket_urls` is the address for clients."""
    reasons: list[Reason] = []
    checked = ["host, bucket and region against the settings"]
    method: str | None = None
    found: list[Reason] = []
    places = [_Place.of(url, bucket) for url in bucket_urls]
    if credentials is None:
        checked.append("not the signature: the settings have no credentials")
    elif link.access_key and credentials.access_key != link.access_key:
        reasons.append(
            likely(
                "other-access-key",
                f"{part_of(link.access_key)} in the link, {part_of(credentials.access_key)} in the "
                "setting attach_s3_access_key",
                "If the credentials changed, create a new link; if not, find out who signed it.",
            )
        )
    elif link.is_well_formed and len(link["x-amz-signature"]) == SIGNATURE_LENGTH:
        method, found = _verify(link, credentials, bucket, places)
        reasons += found
        if method or found:
            checked.append("the signature, with the secret key of the settings")
        else:
            checked.append("not the signature: the signed headers are unknown (--header, --form)")
    if all(reason.code == _UNKNOWN.code for reason in found):  # no better reason
        reasons += _place_reasons(link, places, bucket)
    if link.region and link.region != region:
        reasons.append(
            likely(
                "wrong-region",
                f"{cite(link.region, 40)} in the link, {region} in the setting attach_s3_region",
                "Create a new link with the region of the bucket.",
            )
        )
    return Comparison(reasons, checked, method, is_changed=bool(found) and not method)


class _Place(NamedTuple):
    """The address of a bucket: the host without its name, and whether the path has the name."""

    host: str
    is_path: bool

    @classmethod
    def of(cls, url: str, bucket: str) -> _Place:
        scheme, _, rest = url.partition("://")
        authority, slash, _ = rest.partition("/")
        host = authority.lower().removesuffix(DEFAULT_PORTS.get(scheme, ""))
        return cls(host if slash else host.removeprefix(f"{bucket.lower()}."), bool(slash))

    def bucket_host(self, bucket: str) -> str:
        """Return the host of requests to the bucket."""
        return self.host if self.is_path else f"{bucket.lower()}.{self.host}"


def _place_reasons(link: SignedLink, places: Sequence[_Place], bucket: str) -> Iterator[Reason]:
    public = places[0]
    expected = public.bucket_host(bucket)
    if link.host != expected:
        yield likely(
            "other-host",
            f"{cite(link.host)} in the link, {expected} in the settings",
            "Set attach_s3_public_endpoint (and attach_s3_addressing) to the address at which "
            "clients reach the server, and create a new link.",
        )
        return
    named = unquote(link.path.lstrip("/").partition("/")[0])
    if public.is_path and named != bucket:
        yield likely(
            "other-bucket",
            f"{cite(named, 63)} in the link, {bucket} in the setting attach_s3_bucket",
            "Create a new link, or correct attach_s3_bucket.",
        )


class _Request(NamedTuple):
    """The signed parts of a link, besides its method."""

    host: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: dict[str, str]


def _verify(
    link: SignedLink, credentials: Credentials, bucket: str, places: Sequence[_Place]
) -> tuple[str | None, list[Reason]]:
    """Return the method that the link is signed for, or else reasons for the mismatch.

    Without the signed headers, return neither: they alone may cause the mismatch.
    """
    if link.fields:
        now = link.signed_at
        assert now is not None  # noqa: S101 - the link is well formed
        signature = sign_policy_text(
            link["policy"], credentials=credentials, region=link.region, now=now
        )
        return ("POST", []) if _same(signature, link) else (None, [_UNKNOWN])
    given = _Request(link.host, link.path, link.query, link.headers or link.sent or {})
    # If the headers of the client are unknown, try those that we sign.
    ours = given._replace(headers=_our_headers(link))
    for request in (ours, given) if link.headers is None else (given,):
        method = _method(link, request, credentials)
        if method is not None:
            return method, [*_header_reasons(link, request)]
    for base in (ours, given):
        for request, reason in _before(link, base, bucket, places, credentials):
            if _method(link, request, credentials):
                return None, [reason]
    is_known = {"host", *given.headers} >= {*link.signed_headers}
    return None, [_UNKNOWN] if is_known else []


_UNKNOWN = likely(
    "signature-mismatch",
    "recomputed with the secret key of the settings: for each method, for each host of the "
    "settings, and without parameters that may have been added",
    "Compare the link with the original. If they are equal, the link was signed with a different "
    "secret key than attach_s3_secret_key.",
)


def _method(link: SignedLink, request: _Request, credentials: Credentials) -> str | None:
    """Return the method for which the request is signed, or None."""
    headers = {name: request.headers.get(name, "") for name in link.signed_headers}
    headers = {name: " ".join(value.split()) for name, value in headers.items()}
    headers["host"] = request.host
    now = link.signed_at
    assert now is not None  # noqa: S101 - the link is well formed
    for method in METHODS:
        text = canonical_request(method, request.path, request.query, headers)
        signed = sign_request(text, credentials=credentials, region=link.region, now=now)
        if _same(signed, link):
            return method
    return None


def _same(signature: str, link: SignedLink) -> bool:
    return hmac.compare_digest(signature.encode(), link["x-amz-signature"].encode())


def _our_headers(link: SignedLink) -> dict[str, str]:
    key = unquote(link.path).lstrip("/")
    try:
        headers = object_headers(key, content_type_for(key.rpartition("/")[2]))
    except Error:
        headers = {}
    ours = {name.lower(): value for name, value in headers.items()} | {"if-none-match": "*"}
    if link.sent and "content-type" not in link.sent:
        return link.sent | ours
    # Only the type may differ: the creator of the link chooses it.
    return ours


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
    link: SignedLink,
    request: _Request,
    bucket: str,
    places: Sequence[_Place],
    credentials: Credentials,
) -> Iterator[tuple[_Request, Reason]]:
    """Yield variants of the request, each with one part as it may have been when signed."""
    for host, path in _places(link, bucket, places):
        yield (
            request._replace(host=host, path=path),
            certain(
                "signed-for-other-host",
                f"the link leads to {cite(link.host)}{_address(link.path)}, and its signature is "
                f"for {host}{_address(path)}",
                "Do not change the host of a link: set attach_s3_public_endpoint (and "
                "attach_s3_addressing) instead; and let no proxy rewrite the header Host.",
            ),
        )
    for path in _paths(link.path):
        yield (
            request._replace(path=path),
            certain(
                "path-encoded",
                f"the signature is for {_address(path)}",
                "Use the path of the original link; do not decode or encode it.",
            ),
        )
    for name, query in _queries(link, credentials):
        yield (
            request._replace(query=query),
            certain(
                "parameter-changed",
                "the signature is right with the original parameter",
                "Use the original link; for a different time, name or type, create a new link.",
                cite(name, 60),
            ),
        )


def _places(link: SignedLink, bucket: str, places: Sequence[_Place]) -> Iterator[tuple[str, str]]:
    key = link.path.removeprefix(f"/{bucket}/").lstrip("/")
    for place in places:
        yield place.host, f"/{bucket}/{key}"
        yield f"{bucket.lower()}.{place.host}", f"/{key}"


def _paths(path: str) -> Iterator[str]:
    yield path.replace("+", "%20")
    yield path.replace("+", "%2B")
    yield path.replace("%20", "%2B")
    yield path.replace("%25", "%")
    yield encode_path(unquote(path))
    yield path.rstrip(".,;:)")


def _queries(
    link: SignedLink, credentials: Credentials
) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    query = link.query
    extra = link.extra[:MAX_EXTRA]
    for name in extra:
        yield name, [pair for pair in query if pair[0] != name]
    if len(extra) > 1:
        yield ", ".join(extra), [pair for pair in query if pair[0] not in extra]
    for seconds in USUAL_SECONDS:
        yield (
            "X-Amz-Expires",
            [(name, seconds if name == "X-Amz-Expires" else value) for name, value in query],
        )
    if credentials.session_token is not None:
        others = [pair for pair in query if pair[0] != "X-Amz-Security-Token"]
        yield (
            "X-Amz-Security-Token",
            [*others, ("X-Amz-Security-Token", credentials.session_token)],
        )


def _address(path: str) -> str:
    return cite(path, 60)
