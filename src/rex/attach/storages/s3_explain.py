"""What the settings of a bucket and its keys tell of a link: where it differs, and for what."""

from __future__ import annotations

import hmac
import itertools
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rex.attach.content_type import content_type_for
from rex.attach.signing.credentials import AwsChain
from rex.attach.signing.reason import Comparison, Reason, certain, likely, quoted
from rex.attach.signing.signed_link import METHODS, part_of
from rex.attach.signing.sigv4 import canonical_request, sign_request, sign_text
from rex.core import Error

if TYPE_CHECKING:
    import datetime
    from collections.abc import Container, Iterator

    from rex.attach.signing.credentials import CredentialsProvider
    from rex.attach.signing.signed_link import SignedLink
    from rex.attach.signing.sigv4 import Credentials
    from rex.attach.storages.s3 import S3Storage

# It is the storage's own, in a file of its own.
# ruff: noqa: SLF001

__all__ = ["compare"]

MAKE_ANEW = "Make the link anew, with the settings that are right."


def compare(storage: S3Storage, link: SignedLink) -> Comparison:
    """Compare a link with the settings of a storage, and with what its keys would sign."""
    reasons = [*_place(storage, link)]
    checked = ["host", "bucket", "region"]
    keys = _keys(storage._credentials)
    if keys is None:
        return Comparison(reasons, checked)
    checked += ["access key", "session token"]
    reasons += _differing_keys(keys, link)
    if link.access_key != keys.access_key or not link.is_well_formed:
        return Comparison(reasons, checked)
    checked.append("signature")
    if link.fields:
        expected = sign_text(
            link["policy"], credentials=keys, region=link.region, now=_signed_at(link)
        )
        if not hmac.compare_digest(expected, link["x-amz-signature"]):
            reasons.append(_unlike("its policy was changed, or"))
        return Comparison(reasons, checked)
    method = _method(link, keys, link.host)
    if method is None:
        reasons.append(_changed(storage, link, keys))
    return Comparison(reasons, checked, method)


def _place(storage: S3Storage, link: SignedLink) -> Iterator[Reason]:
    public, inner = (urlsplit(url) for url in (storage._public_url, storage._bucket_url))
    if link.host == inner.netloc != public.netloc:
        yield likely(
            "The link leads to the address for the application, not to that for clients.",
            f"its host is {quoted(link.host)}; clients have {public.netloc}",
            "Make the link where attach_s3_public_endpoint is set.",
        )
    elif link.host != public.netloc:
        yield certain(
            "The host is not the one that links are made for.",
            f"it is {quoted(link.host)}; links are made for {public.netloc}",
            "Set attach_s3_public_endpoint to the address that clients use; a proxy must pass on "
            "the header Host as it is.",
        )
    elif not link.path.startswith(public.path.rstrip("/") + "/") and link.path != public.path:
        yield certain(
            "The link is for another bucket.",
            f"its path does not begin with {public.path}",
            "See attach_s3_bucket and attach_s3_addressing.",
        )
    if link.region and link.region != storage.region:
        yield certain(
            "The link is signed for another region.",
            f"it says {quoted(link.region)}; attach_s3_region is {storage.region}",
            MAKE_ANEW,
        )


def _differing_keys(keys: Credentials, link: SignedLink) -> Iterator[Reason]:
    if link.access_key and link.access_key != keys.access_key:
        yield likely(
            "The link is signed with another access key than the one configured.",
            f"it has {part_of(link.access_key)}, and the settings {part_of(keys.access_key)}",
            "If the key was replaced, make the link anew.",
        )
        return
    given = link["x-amz-security-token"]
    if keys.session_token is not None and not given:
        yield certain(
            "The session token of the temporary keys is missing.",
            "X-Amz-Security-Token is not there",
            "Use the whole link, with all of its parameters.",
        )
    elif keys.session_token is None and given:
        yield likely(
            "The link is signed with temporary keys, which may have ended.",
            "X-Amz-Security-Token is there, and the keys of the settings are not temporary",
            MAKE_ANEW,
        )


def _method(
    link: SignedLink, keys: Credentials, host: str, without: Container[str] = ()
) -> str | None:
    """Find the method for which the keys would sign this, `without` some parameters."""
    signature = link["x-amz-signature"]
    query = [(name, value) for name, value in link.query if name not in without]
    for method, headers in itertools.product(METHODS, _headers(link)):
        request = canonical_request(method, link.path, query, {**headers, "host": host})
        signed = sign_request(request, credentials=keys, region=link.region, now=_signed_at(link))
        if hmac.compare_digest(signed, signature):
            return method
    return None


def _headers(link: SignedLink) -> Iterator[dict[str, str]]:
    """Give the values that the signed headers may have had."""
    names = [name for name in link.signed_headers if name != "host"]
    name = unquote(link.path).rpartition("/")[2]
    ours = {"content-type": content_type_for(name), "if-none-match": "*"}
    given = {**ours, **(link.headers or {})}
    for known in (given, ours):
        yield {each: known.get(each, "") for each in names}


def _changed(storage: S3Storage, link: SignedLink, keys: Credentials) -> Reason:
    """Find what else it was signed for."""
    urls = [urlsplit(url) for url in (storage._public_url, storage._bucket_url)]
    for url in urls:
        if url.netloc != link.host and _method(link, keys, url.netloc):
            return certain(
                "The host was changed after the link was signed.",
                f"it was signed for {url.netloc}, and leads to {quoted(link.host)}",
                "Use the link as it is; where clients have another address, set "
                "attach_s3_public_endpoint.",
            )
    if link.extra and _method(link, keys, link.host, without=link.extra):
        return certain(
            "A parameter was added after the link was signed.",
            f"it is signed without {quoted(', '.join(link.extra), 80)}",
            "Use the link as it is; nothing can be added to it.",
        )
    return _unlike("its path or its query was changed, or")


def _unlike(what: str) -> Reason:
    return certain(
        "The signature is not that of our secret key for this link.",
        f"{what} attach_s3_secret_key is not the one that signed it",
        "Use the link as it was made. If it was, compare the secret key with the server's.",
    )


def _signed_at(link: SignedLink) -> datetime.datetime:
    signed_at = link.signed_at
    assert signed_at is not None  # noqa: S101 - it is well formed
    return signed_at


def _keys(provider: CredentialsProvider) -> Credentials | None:
    if isinstance(provider, AwsChain):
        return None  # it might ask a server
    try:
        return provider()
    except Error:
        return None
