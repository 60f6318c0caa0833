"""AWS Signature Version 4 for presigned links: query-signed URLs and POST policies.

The rules are those of the Amazon S3 API reference: "Authenticating Requests: Using Query Parameters
(AWS Signature Version 4)", below cited as SigV4, and "Browser-Based Uploads Using POST (AWS
Signature Version 4)", cited as POST policy. Signing is pure computation without requests: the same
arguments return the same signature.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import quote

from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Condition: TypeAlias = Mapping[str, str] | Sequence[str | int]

__all__ = [
    "DEFAULT_PORTS",
    "MAX_EXPIRES",
    "Credentials",
    "canonical_request",
    "encode_path",
    "endpoint_for",
    "presign_url",
    "sign_policy",
    "sign_policy_text",
    "sign_request",
]

MAX_EXPIRES = 7 * 24 * 60 * 60
"""Maximum duration of a link in seconds: seven days (SigV4, X-Amz-Expires)."""

_ALGORITHM = "AWS4-HMAC-SHA256"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
"""Ports that the Host header omits."""
_UNRESERVED = "-._~"
_ESCAPES = {
    code: f"%{code:02X}"
    for code in range(128)
    if not chr(code).isalnum() and chr(code) not in _UNRESERVED
}
"""Escapes of ASCII characters, for `str.translate`: much faster than `urllib.parse.quote`."""
_PLAIN_PATH = re.compile("[/0-9A-Za-z._~-]*")
"""The paths that need no escapes, the common case."""
_PATH_ESCAPES = {code: escape for code, escape in _ESCAPES.items() if chr(code) != "/"}
_PARTITIONS = {
    "cn": "amazonaws.com.cn",
    "us-iso": "c2s.ic.gov",
    "us-isob": "sc2s.sgov.gov",
    "us-isof": "csp.hci.ic.gov",
    "eu-isoe": "cloud.adc-e.uk",
    "eusc": "amazonaws.eu",
}


class Credentials(NamedTuple):
    """Credentials for signing; `repr` shows only the access key, which is in every link anyway."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    expires_at: datetime | None = None
    """Expiry of temporary credentials, and thus of the links signed with them (aware)."""

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, ...)"


def presign_url(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    credentials: Credentials,
    region: str,
    expires: int,
    now: datetime,
) -> str:
    """Return `url` signed for `method`, valid from `now` for `expires` seconds.

    `url` is ``scheme://host[:port]/path`` with an encoded path (`encode_path`). `headers` are the
    signed headers besides ``Host``: the client must send each with the same value, and may send
    others. `query` has additional parameters; the holder of the link can neither change nor add
    parameters. The body is not signed (SigV4, UNSIGNED-PAYLOAD).

    Errors: `ILL_FORMED` if `expires` is not between 1 and `MAX_EXPIRES`, if `url` has a query or a
    fragment, or if `now` has no time zone.
    """
    _check_expires(expires)
    origin, host, path = _split(url)
    signed = {"host": host}
    if headers:
        signed |= {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    lines, listed = _canonical_headers(signed)
    fixed = _fixed_query(credentials, region, now, expires, listed)
    # Only values that may contain reserved characters are encoded.
    pairs = [(_encode(name), _encode(value)) for name, value in (query or {}).items()]
    own = _join(pairs)
    sent = f"{own}&{fixed.sent}" if own else fixed.sent
    ordered = sorted(pairs)
    if ordered and ordered[0] > fixed.pairs[-1]:  # almost always, so that joined parts stay joined
        canonical = f"{fixed.canonical}&{own if ordered == pairs else _join(ordered)}"
    else:
        canonical = _join(sorted([*fixed.pairs, *pairs]))
    request = _canonical_request(method, path, canonical, lines, listed)
    signature = fixed.moment.sign_request(request)
    return f"{origin}{path}?{sent}&X-Amz-Signature={signature}"


def canonical_request(
    method: str, path: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str]
) -> str:
    """Return the canonical request, the input of a signature (SigV4, canonical request).

    `path` is encoded; `query` is not encoded, and has all parameters except the signature. The
    names of `headers` are in lower case.
    """
    # Sorted by the encoded name, then the encoded value.
    pairs = sorted([(_encode(name), _encode(value)) for name, value in query])
    return _canonical_request(method, path, _join(pairs), *_canonical_headers(headers))


def sign_request(request: str, *, credentials: Credentials, region: str, now: datetime) -> str:
    """Return the signature of a canonical request."""
    return _moment(credentials, region, now).sign_request(request)


def sign_policy_text(policy: str, *, credentials: Credentials, region: str, now: datetime) -> str:
    """Return the signature of a policy, which is in base64 as in a form."""
    return _moment(credentials, region, now).sign(policy)


def sign_policy(
    conditions: str,
    fields: Mapping[str, str],
    *,
    credentials: Credentials,
    region: str,
    expires: int,
    now: datetime,
) -> dict[str, str]:
    """Return the complete fields of a POST form: `fields`, the policy and its signature.

    The policy has `conditions`, one condition for each authentication field, and the expiry,
    `expires` seconds after `now`. The conditions are in JSON, separated by a comma and a blank,
    since most of them are the same in all links. The caller must give one for each field that needs
    one (POST policy, "Condition matching").

    Errors: `ILL_FORMED` if `expires` is not between 1 and `MAX_EXPIRES`, or if `now` has no time
    zone.
    """
    _check_expires(expires)
    frame = _policy_frame(credentials, region, now, expires)
    document = f"{frame.start}{conditions}{', ' if conditions else ''}{frame.end}"
    policy = binascii.b2a_base64(document.encode(), newline=False).decode()
    signature = frame.moment.sign(policy)
    return {**fields, **frame.authentication, "policy": policy, "x-amz-signature": signature}


def encode_path(key: str) -> str:
    """Return the path of an object's key, percent-encoded once as SigV4 requires for S3.

    Unreserved characters and slashes are not encoded. The result has a leading slash only if the
    key has one.
    """
    if _PLAIN_PATH.fullmatch(key):
        return key
    return key.translate(_PATH_ESCAPES) if key.isascii() else quote(key, safe=f"/{_UNRESERVED}")


def endpoint_for(region: str) -> str:
    """Return the regional endpoint of AWS S3, ``https://s3.<region>.<domain>``, in any partition.

    Errors: `ILL_FORMED` if `region` cannot be part of a host name.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", region):
        raise Error(
            "A region must be lower-case letters, digits and hyphens", region, kind=Kind.ILL_FORMED
        )
    words = region.split("-")
    domain = _PARTITIONS.get("-".join(words[:2])) or _PARTITIONS.get(words[0]) or "amazonaws.com"
    return f"https://s3.{region}.{domain}"


def _join(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in pairs])


def _canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the lines of the signed headers, and the list of their names."""
    names = sorted(headers)
    return "".join([f"{name}:{headers[name]}\n" for name in names]), ";".join(names)


def _canonical_request(method: str, path: str, query: str, lines: str, listed: str) -> str:
    return f"{method.upper()}\n{path}\n{query}\n{lines}\n{listed}\nUNSIGNED-PAYLOAD"


def _check_expires(expires: int) -> None:
    if not 1 <= expires <= MAX_EXPIRES:
        raise Error(
            f"The duration of a link must be 1 to {MAX_EXPIRES} seconds (7 days)",
            expires,
            kind=Kind.ILL_FORMED,
        )


def _split(url: str) -> tuple[str, str, str]:
    """Return the unchanged origin, the value of the Host header, and the path."""
    scheme, separator, rest = url.partition("://")
    if not separator or "?" in rest or "#" in rest:
        raise Error(
            "The URL to sign must be scheme://host/path, encoded and without a query",
            url,
            kind=Kind.ILL_FORMED,
        )
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}", _host(scheme, authority), f"/{path}"


@lru_cache(maxsize=16)
def _host(scheme: str, authority: str) -> str:
    return authority.lower().removesuffix(DEFAULT_PORTS.get(scheme.lower(), ""))


class _Moment(NamedTuple):
    """The parts of a signature that links share if signed in one second with one credential."""

    timestamp: str
    scope: str
    credential: str
    mac: hmac.HMAC
    """That of the key, to copy: its start is the same for every text."""

    def __repr__(self) -> str:
        return f"_Moment({self.timestamp!r}, ...)"

    def sign(self, text: str) -> str:
        mac = self.mac.copy()
        mac.update(text.encode())
        return mac.hexdigest()

    def sign_request(self, request: str) -> str:
        digest = hashlib.sha256(request.encode()).hexdigest()
        return self.sign(f"{_ALGORITHM}\n{self.timestamp}\n{self.scope}\n{digest}")


@lru_cache(maxsize=16)
def _moment(credentials: Credentials, region: str, now: datetime) -> _Moment:
    if now.tzinfo is None:
        raise Error("The time of signing must have a time zone", now, kind=Kind.ILL_FORMED)
    timestamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    scope = f"{timestamp[:8]}/{region}/s3/aws4_request"
    credential = f"{credentials.access_key}/{scope}"
    key = _derive_key(credentials.secret_key, timestamp[:8], region)
    return _Moment(timestamp, scope, credential, hmac.new(key, digestmod="sha256"))


class _FixedQuery(NamedTuple):
    """Parameters, encoded: in the order in which they are sent, and sorted."""

    sent: str
    canonical: str
    pairs: list[tuple[str, str]]
    """The sorted parameters."""
    moment: _Moment


@lru_cache(maxsize=16)
def _fixed_query(
    credentials: Credentials, region: str, now: datetime, expires: int, listed: str
) -> _FixedQuery:
    """Return the parameters, encoded, that links share if signed with the same headers."""
    moment = _moment(credentials, region, now)
    pairs = [
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", _encode(moment.credential)),
        ("X-Amz-Date", moment.timestamp),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", _encode(listed)),
    ]
    if credentials.session_token is not None:
        pairs.append(("X-Amz-Security-Token", _encode(credentials.session_token)))
    return _FixedQuery(_join(pairs), _join(sorted(pairs)), sorted(pairs), moment)


class _Frame(NamedTuple):
    """The parts of a policy that forms share, in JSON, and their fields."""

    start: str
    end: str
    authentication: dict[str, str]
    moment: _Moment


@lru_cache(maxsize=16)
def _policy_frame(credentials: Credentials, region: str, now: datetime, expires: int) -> _Frame:
    moment = _moment(credentials, region, now)
    authentication = {
        "x-amz-algorithm": _ALGORITHM,
        "x-amz-credential": moment.credential,
        "x-amz-date": moment.timestamp,
    }
    if credentials.session_token is not None:
        authentication["x-amz-security-token"] = credentials.session_token
    expiration = now.astimezone(UTC) + timedelta(seconds=expires)
    conditions = json.dumps([{name: text} for name, text in authentication.items()])
    start = f'{{"expiration": "{expiration:%Y-%m-%dT%H:%M:%SZ}", "conditions": ['
    return _Frame(start, f"{conditions[1:]}}}", authentication, moment)


@lru_cache(maxsize=1024)
def _encode(text: str) -> str:
    return text.translate(_ESCAPES) if text.isascii() else quote(text, safe=_UNRESERVED)


def _derive_key(secret_key: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
