"""How a link differs from the settings of a bucket, and which part its signature was not made for.

With the secret key, the signature is computed anew: over the link as it stands, and over the link
with one part as it may have been before.
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
"""Of so many added parameters, each is tried."""


def compare(
    link: SignedLink,
    *,
    bucket: str,
    region: str,
    bucket_urls: Sequence[str],
    credentials: Credentials | None,
) -> Comparison:
    """Compare a link with a bucket: where it is for clients, and then for the application."""
    reasons: list[Reason] = []
    checked = ["host, bucket and region against the settings"]
    method: str | None = None
    found: list[Reason] = []
    places = [_Place.of(url, bucket) for url in bucket_urls]
    if credentials is None:
        checked.append("not the signature, since no keys are given in the settings")
    elif link.access_key and credentials.access_key != link.access_key:
        reasons.append(
            likely(
                "other-access-key",
                f"{part_of(link.access_key)} in the link, {part_of(credentials.access_key)} in the "
                "setting attach_s3_access_key",
                "Make a new link if the keys were changed; otherwise see who made this one.",
            )
        )
    elif link.is_well_formed and len(link["x-amz-signature"]) == SIGNATURE_LENGTH:
        method, found = _verify(link, credentials, bucket, places)
        reasons += found
        if method or found:
            checked.append("the signature, with the secret key of the settings")
        else:
            checked.append("not the signature, for want of the signed headers (--header, --form)")
    if all(
        reason.code == _UNKNOWN.code for reason in found
    ):  # where it was signed for is not known better
        reasons += _place_reasons(link, places, bucket)
    if link.region and link.region != region:
        reasons.append(
            likely(
                "wrong-region",
                f"{cite(link.region, 40)} in the link, {region} in the setting attach_s3_region",
                "Make a new link with the region of the bucket.",
            )
        )
    return Comparison(reasons, checked, method, is_changed=bool(found) and not method)


class _Place(NamedTuple):
    """Where a bucket is: the host without its name, and whether the name is in the path."""

    host: str
    is_path: bool

    @classmethod
    def of(cls, url: str, bucket: str) -> _Place:
        scheme, _, rest = url.partition("://")
        authority, slash, _ = rest.partition("/")
        host = authority.lower().removesuffix(DEFAULT_PORTS.get(scheme, ""))
        return cls(host if slash else host.removeprefix(f"{bucket.lower()}."), bool(slash))

    def bucket_host(self, bucket: str) -> str:
        """Give the host at which the bucket is asked."""
        return self.host if self.is_path else f"{bucket.lower()}.{self.host}"


def _place_reasons(link: SignedLink, places: Sequence[_Place], bucket: str) -> Iterator[Reason]:
    public = places[0]
    expected = public.bucket_host(bucket)
    if link.host != expected:
        yield likely(
            "other-host",
            f"{cite(link.host)} in the link, {expected} in the settings",
            "Set attach_s3_public_endpoint (and attach_s3_addressing) to where clients reach the "
            "server, and make a new link.",
        )
        return
    named = unquote(link.path.lstrip("/").partition("/")[0])
    if public.is_path and named != bucket:
        yield likely(
            "other-bucket",
            f"{cite(named, 63)} in the link, {bucket} in the setting attach_s3_bucket",
            "Make a new link, or set the bucket right.",
        )


class _Request(NamedTuple):
    """What of a link is signed, besides its method."""

    host: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: dict[str, str]


def _verify(
    link: SignedLink, credentials: Credentials, bucket: str, places: Sequence[_Place]
) -> tuple[str | None, list[Reason]]:
    """Give the method that the link is signed for as it stands, or else what was changed.

    Nothing is said where the signed headers are not known: they alone may make the difference.
    """
    if link.fields:
        now = link.signed_at
        assert now is not None  # noqa: S101 - it is well formed
        signature = sign_policy_text(
            link["policy"], credentials=credentials, region=link.region, now=now
        )
        return ("POST", []) if _same(signature, link) else (None, [_UNKNOWN])
    asis = _Request(link.host, link.path, link.query, link.headers or link.sent or {})
    # What the client sends may be missing; then it is what we sign.
    ours = asis._replace(headers=_our_headers(link))
    for request in (ours, asis) if link.headers is None else (asis,):
        method = _method(link, request, credentials)
        if method is not None:
            return method, [*_header_reasons(link, request)]
    for base in (ours, asis):
        for request, reason in _before(link, base, bucket, places, credentials):
            if _method(link, request, credentials):
                return None, [reason]
    is_known = {"host", *asis.headers} >= {*link.signed_headers}
    return None, [_UNKNOWN] if is_known else []


_UNKNOWN = likely(
    "signature-mismatch",
    "recomputed with the secret key of the settings, for each method, for each host of the "
    "settings and without what may have been added",
    "Compare the link with what was made. If it is the same, it was signed with another secret "
    "key than attach_s3_secret_key.",
)


def _method(link: SignedLink, request: _Request, credentials: Credentials) -> str | None:
    """Give the method for which this request was signed, if any."""
    headers = {name: request.headers.get(name, "") for name in link.signed_headers}
    headers = {name: " ".join(value.split()) for name, value in headers.items()}
    headers["host"] = request.host
    now = link.signed_at
    assert now is not None  # noqa: S101 - it is well formed
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
    # The type alone may have been chosen by who made the link.
    return ours


def _header_reasons(link: SignedLink, signed: _Request) -> Iterator[Reason]:
    """Tell what was sent otherwise than it is signed."""
    for name in link.signed_headers:
        value = signed.headers.get(name, "")
        if name != "host" and link.sent and link.sent.get(name, value) != value:
            yield certain(
                "header-changed",
                f"signed: {cite(value, 100)}; sent: {cite(link.sent[name], 100)}",
                "Send it just as the link says.",
                cite(name, 40),
            )


def _before(
    link: SignedLink,
    request: _Request,
    bucket: str,
    places: Sequence[_Place],
    credentials: Credentials,
) -> Iterator[tuple[_Request, Reason]]:
    """Give the request as it may have been before one part of it was changed."""
    for host, path in _places(link, bucket, places):
        yield (
            request._replace(host=host, path=path),
            certain(
                "signed-for-other-host",
                f"it leads to {cite(link.host)}{_address(link.path)}, and its signature is for "
                f"{host}{_address(path)}",
                "Change no host in a link: have it made with attach_s3_public_endpoint (and "
                "attach_s3_addressing), and have no proxy rewrite the header Host.",
            ),
        )
    for path in _paths(link.path):
        yield (
            request._replace(path=path),
            certain(
                "path-encoded",
                f"its signature is for {_address(path)}",
                "Use the path as it was made; neither decode nor encode it.",
            ),
        )
    for name, query in _queries(link, credentials):
        yield (
            request._replace(query=query),
            certain(
                "parameter-changed",
                "with it as it was, the signature is right",
                "Use the link as it was made; another time, name or type is given when it is made.",
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
