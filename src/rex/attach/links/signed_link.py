"""Parser of signed links: Signature Version 4 and V4, SAS, CloudFront, service links."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rex.attach.links.sigv4 import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["METHODS", "SignedLink", "part_of"]

METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")

_IN_QUERY = (
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
)
_IN_FORM = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_AMAZON, _GOOGLE = "x-amz-", "x-goog-"
_IN_SAS = ("sv", "sr", "sp", "se", "sig")
_METHODS_OF_SAS = {"r": "GET", "c": "PUT", "w": "PUT", "d": "DELETE"}
_FORM_TOKEN = re.compile(r"/signed/([A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)/?\Z")
"""The token of a form for the service, at the end of the form's URL."""
_SCOPE_PARTS = 5
_AMAZON_SCOPE, _GOOGLE_SCOPE = ("s3", "aws4_request"), ("storage", "goog4_request")
SHOWN_OF_KEY = 4


class SignedLink:
    """A parsed link; its contents are untrusted.

    `url` includes the query and has no white space; `fields` are those of a form. `method` and
    `headers` are the signed ones, `asked` and `sent` are the method and headers that the client
    used, as far as known. The texts in `secrets` must not be shown.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        asked: str | None = None,
        sent: Mapping[str, str] | None = None,
    ) -> None:
        address, _, query = url.partition("#")[0].partition("?")
        # A service link is a path if attach_url is one.
        self.scheme, _, rest = ("", "", address) if address[:1] == "/" else address.partition("://")
        authority, slash, path = rest.partition("/")
        self.host = authority.rpartition("@")[2].lower()
        if self.scheme.lower() in DEFAULT_PORTS:
            self.host = self.host.removesuffix(DEFAULT_PORTS[self.scheme.lower()])
        self.path = slash + path or "/"
        form_token = _FORM_TOKEN.search(self.path)
        self.is_form = form_token is not None or bool(fields)
        self.method = "POST" if self.is_form else method
        self.headers = _lower(headers)
        self.asked = asked
        self.sent = _lower(sent)
        self.fields = dict(fields or {})
        self.pairs = [_decode(pair) for pair in query.split("&") if pair]
        given = self.fields.items() if self.fields else self.pairs
        self._given = {name.lower(): value for name, value in given}
        if form_token is not None:
            self._given["token"] = form_token[1]
        self.is_google = any(
            name.replace(_AMAZON, _GOOGLE) in self._given for name in _IN_QUERY[:4] + _IN_QUERY[5:]
        )
        """Whether the link has parameters or fields of a V4 signature of Google."""

    def __repr__(self) -> str:
        return f"SignedLink({self.host!r}, ...)"

    def __getitem__(self, name: str) -> str:
        """Return a parameter or form field by its name in lower case, or an empty text.

        V4 of Google has the parameters of Signature Version 4 under other names, so that the names
        of the latter find either.
        """
        return self._given.get(self._name(name), "")

    def _name(self, name: str) -> str:
        return name.replace(_AMAZON, _GOOGLE) if self.is_google else name

    @property
    def missing(self) -> list[str]:
        """Names of missing parameters or fields that a signature needs."""
        if self.is_sas:
            return [name for name in _IN_SAS if not self[name]]
        names = _IN_FORM if self.fields else _IN_QUERY
        return [self._name(name) for name in names if not self[name]]

    @property
    def is_signed(self) -> bool:
        """Whether the link has any part of a signature."""
        return any(self[name] for name in (*_IN_QUERY, "policy"))

    @property
    def is_sas(self) -> bool:
        """Whether the link has any part of a shared access signature of Azure."""
        is_likely = bool(self["sig"]) or sum(bool(self[name]) for name in _IN_SAS) > 1
        return is_likely and not self.is_signed

    @property
    def is_cloudfront(self) -> bool:
        """Whether the link has a signature of CloudFront."""
        return bool(self["signature"] and self["key-pair-id"])

    @property
    def is_service(self) -> bool:
        """Whether the link is a service link, which has a token."""
        return bool(self["token"]) and not self.is_signed

    @property
    def likely_method(self) -> str | None:
        """The signed method, or the most likely one, or None."""
        names = {name.lower() for name, _ in self.pairs}
        if self.method is None and self.is_sas:
            return _METHODS_OF_SAS.get(self["sp"][:1])
        if self.method is not None or not self.is_signed:
            return self.method
        if "uploads" in names:
            return "POST"
        is_once = {"if-none-match", "x-goog-if-generation-match"} & {*self.signed_headers}
        if "partnumber" in names or is_once:
            return "PUT" if "uploadid" not in names or "partnumber" in names else "POST"
        return "GET" if any(name.startswith("response-") for name in names) else None

    @property
    def repeated(self) -> list[str]:
        """Parameters that occur more than once."""
        names = [name for name, _ in self.pairs]
        return sorted({name for name in names if names.count(name) > 1})

    @property
    def query(self) -> list[tuple[str, str]]:
        """The signed parameters of the query."""
        signature = self._name("x-amz-signature")
        return [pair for pair in self.pairs if pair[0].lower() != signature]

    @property
    def extra(self) -> list[str]:
        """Parameters that do not belong to the signature."""
        known = {self._name(name) for name in (*_IN_QUERY, "x-amz-security-token")}
        return [name for name, _ in self.pairs if name.lower() not in known]

    @property
    def secrets(self) -> list[str]:
        """Texts that must never be shown."""
        names = ("x-amz-signature", "x-amz-security-token", "x-amz-credential", "policy", "token")
        signature = [self["sig"]] if self.is_sas else []
        signature += [self["signature"]] if self.is_cloudfront else []
        return [self.access_key, *(self[name] for name in names), *signature]

    @property
    def _scope(self) -> list[str]:
        parts = self["x-amz-credential"].rsplit("/", _SCOPE_PARTS - 1)
        return parts if len(parts) == _SCOPE_PARTS else [parts[0], "", "", "", ""]

    @property
    def access_key(self) -> str:
        """The access key of the signature."""
        return self._scope[0]

    @property
    def region(self) -> str:
        """The region of the signature."""
        return self._scope[2]

    @property
    def is_well_formed(self) -> bool:
        """Whether the credential is complete, its day is that of the date, and times are valid."""
        day, _, service, end = self._scope[1:]
        return (
            self["x-amz-date"][:8] == day
            and (service, end) == (_GOOGLE_SCOPE if self.is_google else _AMAZON_SCOPE)
            and self.signed_at is not None
            and self.ends_at is not None
        )

    @property
    def signed_headers(self) -> list[str]:
        """Names of the signed headers."""
        return [name for name in self["x-amz-signedheaders"].lower().split(";") if name]

    @property
    def signed_at(self) -> datetime | None:
        """Time of signing, or the start of a SAS, by the signer's clock."""
        if self.is_sas:
            return _iso_time(self["st"])
        return _time(self["x-amz-date"], r"\d{8}T\d{6}Z", "%Y%m%dT%H%M%SZ")

    @property
    def ends_at(self) -> datetime | None:
        """Time of expiry, from the duration or from the policy of the form."""
        if self.is_sas:
            return _iso_time(self["se"])
        if self.is_cloudfront:
            return _epoch_time(self["expires"])
        if self.fields:
            return _time(
                str(self.policy.get("expiration", ""))[:19] + "Z",
                r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z",
                "%Y-%m-%dT%H:%M:%SZ",
            )
        signed_at = self.signed_at
        if signed_at is None or self.seconds is None:
            return None
        try:
            return signed_at + timedelta(seconds=self.seconds)
        except OverflowError:
            return None

    @property
    def seconds(self) -> int | None:
        """Duration of the link in seconds."""
        given = self["x-amz-expires"]
        return int(given) if re.fullmatch("[0-9]{1,9}", given) else None

    @property
    def policy(self) -> dict[str, Any]:
        """The signed policy of the form; empty if it cannot be parsed."""
        try:
            policy = json.loads(base64.b64decode(self["policy"], validate=True))
        except (ValueError, RecursionError):
            return {}
        return policy if isinstance(policy, dict) else {}


def part_of(access_key: str) -> str:
    """Return the part of an access key that may be shown."""
    is_long = len(access_key) >= 2 * SHOWN_OF_KEY and access_key.isprintable()
    return f"{access_key[:SHOWN_OF_KEY]}..." if is_long else "***"


def _lower(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if headers is None else {name.lower(): headers[name] for name in headers}


def _decode(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return unquote(name), unquote(value)


def _epoch_time(text: str) -> datetime | None:
    """Parse a time in seconds since 1970."""
    return datetime.fromtimestamp(int(text), UTC) if re.fullmatch("[0-9]{1,11}", text) else None


def _iso_time(text: str) -> datetime | None:
    """Parse a time of a SAS, which may have a date only."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,7})?)?Z)?", text, re.ASCII):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC)


def _time(text: str, form: str, strptime: str) -> datetime | None:
    if not (text.isascii() and re.fullmatch(form, text)):
        return None
    try:
        return datetime.strptime(text, strptime).replace(tzinfo=UTC)
    except ValueError:
        return None
