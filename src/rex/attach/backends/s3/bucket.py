"""A bucket: its address and credentials, and how requests to it are signed and sent."""

from __future__ import annotations

import copy
import datetime
import functools
import re
import time
from email.utils import format_datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from rex.attach.backend.diagnostics import MAX_ANSWER
from rex.attach.backends.objects import native
from rex.attach.backends.objects.connection import (
    CONNECT_SECONDS,
    check_name,
    client_options,
    origin,
    retry_options,
)
from rex.attach.backends.objects.objects import Objects
from rex.attach.backends.s3.certificates import read_certificates, trust
from rex.attach.backends.s3.codes import PLACE
from rex.attach.backends.s3.control import S3Control
from rex.attach.backends.s3.credentials import AwsChain, static_credentials
from rex.attach.links.link import PresignedLink, round_down
from rex.attach.links.sigv4 import Credentials, encode_path, endpoint_for, presign_url
from rex.core import Error, Kind, Secret
from rex.core.log import get_logger
from rex.core.secret import reveal

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import S3Credential, S3Store

    from rex.attach.backends.s3.config import Addressing, S3Config
    from rex.attach.backends.s3.credentials import CredentialsProvider
    from rex.attach.links.client import Client
    from rex.core.secret import AnySecret

__all__ = ["Bucket", "Term"]

log = get_logger("rex.attach")

DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""The bucket names that any server accepts; AWS is stricter."""
_REGION_RULE = "The region must consist of lower-case letters, digits and single hyphens"
_BUCKET_RULE = (
    "The bucket name must consist of 1 to 255 letters, digits, dots, hyphens and underscores, and "
    "begin with a letter or digit"
)


class Term(NamedTuple):
    """When a link is signed and expires, and with which credentials."""

    now: datetime.datetime
    credentials: Credentials
    lifetime: int
    """In seconds."""
    expires_at: datetime.datetime


class Bucket(Objects):
    """A bucket on Amazon S3 or on a compatible server; see `S3Storage`."""

    def __init__(self, config: S3Config) -> None:
        super().__init__(config.prefix, setting="attach_s3_prefix")
        secret_key, session_token = _secret(config.secret_key), _secret(config.session_token)
        given = static_credentials(config.access_key, secret_key, session_token)
        chain = AwsChain() if given is None else None
        self.config = config
        self.name = check_name(config.bucket, _BUCKET, "attach_s3_bucket", _BUCKET_RULE)
        self.credentials: CredentialsProvider = given or chain or AwsChain()
        region = config.region or (chain and chain.region()) or DEFAULT_REGION
        self.region = check_name(region, _REGION, "attach_s3_region", _REGION_RULE)
        self.is_aws = config.endpoint is None or ".amazonaws.com" in config.endpoint
        self.endpoint = origin(config.endpoint or endpoint_for(self.region))
        self.addressing: Addressing = config.addressing or _usual_addressing(config)
        self._newest: tuple[str, datetime.datetime] = "", _now()
        """The last session token that signed a link with a window, and when it first did."""
        self._public_endpoint = origin(config.public_endpoint or self.endpoint)

    def with_addressing(self, addressing: Addressing) -> Self:
        """Return the same bucket with a different addressing."""
        other = copy.copy(self)
        other.addressing = addressing
        other.close()
        for name in ("control", "url", "public_url"):
            other.__dict__.pop(name, None)
        return other

    @functools.cached_property
    def url(self) -> str:
        """The address of the bucket for the application."""
        return self._locate(self.endpoint)

    @functools.cached_property
    def public_url(self) -> str:
        """The address of the bucket for clients."""
        return self._locate(self._public_endpoint)

    def _locate(self, endpoint: str) -> str:
        if self.addressing == "path":
            return f"{endpoint}/{self.name}"
        scheme, _, rest = endpoint.partition("://")
        return f"{scheme}://{self.name}.{rest}"

    @property
    def has_keys(self) -> bool:
        """Whether the credentials are cached, so that signing needs no request."""
        return not isinstance(self.credentials, AwsChain) or self.credentials.is_at_hand

    def _connect(self) -> S3Store:
        virtual = self.addressing == "virtual"
        endpoint = self.url if virtual else self.endpoint
        options = client_options(self.endpoint, endpoint, self.config.timeout)
        if self.config.ca_file is not None:
            options["root_certificate"] = read_certificates(self.config.ca_file)
        return native.obstore.store.S3Store(
            self.name,
            # Override all that obstore would read from the environment.
            config={
                "endpoint": endpoint,
                "aws_endpoint_url_s3": endpoint,
                "skip_signature": False,
                "s3_express": False,
                "conditional_put": "etag",
                **({"checksum_algorithm": "sha256"} if self.config.checksums else {}),
            },
            region=self.region,
            virtual_hosted_style_request=virtual,
            # Not every server supports the request that deletes several objects.
            disable_bulk_delete=True,
            # Must not refer to the bucket, which has the client: no collector sees such a cycle.
            credential_provider=_adapt_credentials(self.credentials),
            client_options=options,
            retry_config=retry_options(self.config.timeout),
        )

    @functools.cached_property
    def control(self) -> S3Control:
        """The client for all requests other than those for objects."""
        return S3Control(
            self.name,
            endpoint=self.endpoint,
            region=self.region,
            addressing=self.addressing,
            credentials=self.credentials,
            certificates=self.config.ca_file,
            timeout=self.config.timeout,
            checksums=self.config.checksums,
            folder=self.path(f"{PLACE}/"),
        )

    def check(self) -> None:
        """Check that the bucket can be listed. Errors: those of `check_bucket`."""
        from rex.attach.backends.s3.check import check_bucket

        url = presign_url(
            "GET",
            f"{self.url}/",
            query={"list-type": "2", "max-keys": "1", "prefix": self.prefix},
            credentials=self.credentials(),
            region=self.region,
            expires=60,
            now=_now(),
        )
        check_bucket(
            url,
            bucket=self.name,
            endpoint=self.url if self.addressing == "virtual" else self.endpoint,
            region=self.region,
            client=self.http_client(2 * CONNECT_SECONDS),
        )

    def http_client(self, seconds: float) -> Client:
        """Return an HTTP client without credentials; its timeout is at most `seconds`.

        Errors: `CONFIGURATION` if the certificate file cannot be used.
        """
        from rex.attach.links.client import Client

        context = trust(self.config.ca_file)
        return Client(context=context, timeout=min(seconds, self.config.timeout), most=MAX_ANSWER)

    def presign(
        self,
        method: str,
        key: str,
        seconds: float,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        window: int = 0,
        is_kept: bool = False,
    ) -> PresignedLink:
        """Sign a request; `is_kept` lets browsers cache the response until the link expires.

        With a `window` in seconds, the time of signing is rounded down to a multiple of it.
        """
        now, credentials, lifetime, expires_at = self.term(seconds, window)
        if is_kept:
            # Sorted, as in the signature, so that they are joined once.
            query = {
                "response-cache-control": "private, immutable",
                **(query or {}),
                "response-expires": _http_date(expires_at),
            }
        url = presign_url(
            method,
            f"{self.public_url}/{encode_path(self.path(key))}",
            headers=headers,
            query=query,
            credentials=credentials,
            region=self.region,
            expires=lifetime,
            now=now,
        )
        return PresignedLink(method, url, headers or {}, {}, expires_at)

    def term(self, seconds: float, window: int = 0) -> Term:
        """Return when a new link is signed and expires, and with which credentials.

        The time is the current time, or the start of the window that contains it. A link expires
        with the temporary credentials that sign it, at the latest. Errors: `UNAVAILABLE` if they
        have expired.
        """
        credentials = self.credentials()
        now = self._signing_time(credentials, window)
        lifetime = int(seconds)
        if credentials.expires_at is not None:
            left = int((credentials.expires_at - now).total_seconds())
            if credentials.expires_at - _now() < datetime.timedelta(seconds=1):
                raise Error(
                    "The temporary S3 credentials have expired, so they cannot sign a link",
                    kind=Kind.UNAVAILABLE,
                    code="credentials-expired",
                )
            if left < lifetime:
                log.info("a link expires in %d seconds, with its temporary credentials", left)
                lifetime = left
        return Term(now, credentials, lifetime, _add_seconds(now, lifetime))

    def _signing_time(self, credentials: Credentials, window: int) -> datetime.datetime:
        now = _now()
        if not window:
            return now
        start = datetime.datetime.fromtimestamp(round_down(now.timestamp(), window), datetime.UTC)
        if credentials.session_token is None:
            return start
        # The credentials may be younger than the window: a server need not accept a time before
        # they were issued, which is not after this process first saw them.
        if self._newest[0] != credentials.session_token:
            self._newest = credentials.session_token, now
        return max(start, self._newest[1])


def _adapt_credentials(provider: CredentialsProvider) -> Callable[[], S3Credential]:
    """Return the provider of credentials in the form that obstore expects."""

    def provide() -> S3Credential:
        credentials = provider()
        return {
            "access_key_id": credentials.access_key,
            "secret_access_key": credentials.secret_key,
            "token": credentials.session_token,
            "expires_at": credentials.expires_at,
        }

    return provide


def _usual_addressing(config: S3Config) -> Addressing:
    # The certificate of AWS does not cover bucket names with dots.
    return "path" if config.endpoint is not None or "." in config.bucket else "virtual"


def _secret(value: AnySecret | None) -> Secret | None:
    return None if value is None else Secret(str(reveal(value)))


@functools.lru_cache(maxsize=16)
def _http_date(date: datetime.datetime) -> str:
    return format_datetime(date, usegmt=True)


@functools.lru_cache(maxsize=16)
def _add_seconds(date: datetime.datetime, seconds: int) -> datetime.datetime:
    return date + datetime.timedelta(seconds=seconds)


def _now() -> datetime.datetime:
    return _second(int(time.time()))


@functools.lru_cache(maxsize=16)
def _second(seconds: int) -> datetime.datetime:
    """Return a time; the same object within a second, whose hash the caches of signing share."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
