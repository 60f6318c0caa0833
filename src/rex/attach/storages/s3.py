"""Attachments on an S3-compatible server, with links that bypass the application."""

from __future__ import annotations

import datetime
import functools
import hashlib
import hmac
import logging
import re
from contextlib import suppress
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Literal, Unpack
from urllib.parse import urlsplit

from obstore.exceptions import UnauthenticatedError
from obstore.store import S3Store

from rex.attach.failures import Meaning
from rex.attach.handle import shown
from rex.attach.link import PresignedLink
from rex.attach.signing.credentials import AwsChain, given_keys
from rex.attach.signing.sigv4 import (
    Credentials,
    encode_path,
    endpoint_for,
    presign_url,
    sign_policy,
)
from rex.attach.storages.objectstore import (
    ObjectStorage,
    digest_metadata,
    note_metadata,
    object_headers,
)
from rex.attach.storages.proxies import proxy_for
from rex.attach.storages.s3_codes import PLACE
from rex.attach.storages.s3_completion import complete
from rex.attach.storages.s3_control import FIRST_PAUSE, LONGEST_PAUSE, S3Control, S3Failure
from rex.attach.storages.s3_multipart import S3Multipart, send_parts
from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from obstore.store import ClientConfig, S3Credential

    from rex.attach.content import Content
    from rex.attach.doctor import Doctor
    from rex.attach.drafts import Drafts
    from rex.attach.leftover import Leftover
    from rex.attach.signing.credentials import CredentialsProvider
    from rex.attach.signing.reason import Comparison
    from rex.attach.signing.signed_link import SignedLink
    from rex.attach.signing.sigv4 import Condition
    from rex.attach.storage import StorageOptions

__all__ = ["Addressing", "S3Storage"]

log = logging.getLogger("rex.attach")

Addressing = Literal["path", "virtual"]

DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""What any server takes for the name of a bucket; AWS takes less."""
CONNECT_SECONDS = 5
MAX_RETRIES = 1_000_000
"""obstore stops after 10 otherwise, within seconds; the time that is given decides."""
NO_PROXY = "http://127.0.0.1:9"
"""A dead end for every host but the endpoint, to which a redirect may lead."""
MAX_POST_BYTES = 5 * 1024**3
"""The most that S3 takes in one form upload."""
TOKENS_PURPOSE = b"rex.attach: the secret of tokens"
ABSENT_FIELDS = ("acl", "Expires", "success_action_redirect", "redirect")
"""Fields that some servers take into account although no condition of the policy names them."""


class S3Storage(ObjectStorage):
    """Attachments in a bucket of Amazon S3 or of a server that speaks its protocol."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str | None = None,
        public_endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | Secret | None = None,
        session_token: str | Secret | None = None,
        prefix: str = "",
        addressing: Addressing | None = None,
        ca_file: str | None = None,
        timeout: float = 30,
        checksums: bool = True,
        **options: Unpack[StorageOptions],
    ) -> None:
        """Use a bucket; nothing is asked of the server yet.

        Without `endpoint` it is one of AWS, in `region`. Links point to `public_endpoint` where
        clients reach the server at another address than we do. Without keys, the usual AWS chain
        provides them. `addressing` says where the bucket's name goes: into the host (the default
        at AWS) or into the path (elsewhere). `ca_file` is a PEM file of certificates to trust
        besides the system's. A request that fails is repeated for `timeout` seconds, and
        a server that is silent for so long has failed. With `checksums`, the SHA-256 of whatever is
        sent goes along, and the server refuses what was damaged on the way.
        """
        super().__init__(prefix=prefix, **options)
        keys = given_keys(access_key, _secret(secret_key), _secret(session_token))
        chain = AwsChain() if keys is None else None
        self.bucket = _checked(bucket, _BUCKET, "name of a bucket", "attach_s3_bucket")
        self.timeout = timeout
        self._credentials = keys or chain or AwsChain()
        region = region or (chain and chain.region()) or DEFAULT_REGION
        self.region = _checked(region, _REGION, "region", "attach_s3_region")
        self._is_aws = endpoint is None or ".amazonaws.com" in endpoint
        self.endpoint = _origin(endpoint or endpoint_for(self.region))
        self.addressing: Addressing = addressing or _usual_addressing(endpoint, bucket)
        self._ca_file = ca_file
        self._checksums = checksums
        self._bucket_url = self._place_bucket(self.endpoint)
        self._public_url = self._place_bucket(_origin(public_endpoint or self.endpoint))

    def __repr__(self) -> str:
        return f"S3Storage('s3://{self.bucket}/{self.prefix}', endpoint={self.endpoint!r})"

    def _place_bucket(self, endpoint: str) -> str:
        if self.addressing == "path":
            return f"{endpoint}/{self.bucket}"
        scheme, _, rest = endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{rest}"

    def _make_store(self) -> S3Store:
        virtual = self.addressing == "virtual"
        endpoint = self._bucket_url if virtual else self.endpoint
        options: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": datetime.timedelta(seconds=min(CONNECT_SECONDS, self.timeout)),
            "read_timeout": datetime.timedelta(seconds=self.timeout),
            # A large attachment may take as long as it needs, as long as it moves.
            "timeout": datetime.timedelta(days=7),
            "user_agent": "rex-attach",
        }
        if self._ca_file is not None:
            options["root_certificate"] = read_ca_file(self._ca_file)
        proxy = proxy_for(self.endpoint)
        options["proxy_url"] = proxy or NO_PROXY
        if proxy is None:  # or obstore would look at the environment for itself
            options["proxy_excludes"] = urlsplit(endpoint).hostname or ""
        return S3Store(
            self.bucket,
            # All that the environment of the process could turn against our settings.
            config={
                "endpoint": endpoint,
                "aws_endpoint_url_s3": endpoint,
                "skip_signature": False,
                "s3_express": False,
                "conditional_put": "etag",
                **({"checksum_algorithm": "sha256"} if self._checksums else {}),
            },
            region=self.region,
            virtual_hosted_style_request=virtual,
            # Not every server takes the request that deletes many at once.
            disable_bulk_delete=True,
            # This must not hold the storage, which holds the client: no collector sees into that.
            credential_provider=_keys_for_obstore(self._credentials),
            client_options=options,
            retry_config={
                "retry_timeout": datetime.timedelta(seconds=self.timeout),
                "max_retries": MAX_RETRIES,
                "backoff": {
                    "init_backoff": datetime.timedelta(seconds=FIRST_PAUSE),
                    "max_backoff": datetime.timedelta(seconds=LONGEST_PAUSE),
                    "base": 2,
                },
            },
        )

    @functools.cached_property
    def _control(self) -> S3Control:
        return S3Control(
            self.bucket,
            endpoint=self.endpoint,
            region=self.region,
            addressing=self.addressing,
            credentials=self._credentials,
            ca_file=self._ca_file,
            timeout=self.timeout,
            checksums=self._checksums,
            folder=self._path(f"{PLACE}/"),
        )

    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        control, path = self._control, self._path(key)
        headers = object_headers(key, content_type)
        metadata = note_metadata(content.note) | digest_metadata(content.known_digest)
        upload_id = control.create_multipart(path, headers, metadata)
        try:
            parts = send_parts(control, path, upload_id, content)
            complete(control, path, upload_id, parts)
        except BaseException:
            with suppress(S3Failure):  # it may be complete, and is over then
                control.abort(path, upload_id)
            raise

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        folder = self.prefix if day is None else self._path(day.isoformat().replace("-", "/") + "/")
        for found in self._control.objects(folder, None if after is None else self._path(after)):
            key = found.key.removeprefix(self.prefix)
            if not key.startswith(f"{PLACE}/"):
                yield key

    def _doctors(self) -> Sequence[Doctor]:
        from rex.attach.storages.s3_doctor import S3Doctor

        return (S3Doctor(self),)

    def _drafts(self) -> Drafts:
        from rex.attach.storages.s3_drafts import S3Drafts

        return S3Drafts(self)

    def _multipart(self) -> S3Multipart:
        return S3Multipart(self._control, self._presigned, bucket=self.bucket, prefix=self.prefix)

    def _leftovers(self, before: datetime.datetime) -> Iterator[Leftover]:
        from rex.attach.storages.s3_leftovers import s3_leftovers

        return s3_leftovers(self, before)

    def _lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        from rex.attach.storages.s3_leftovers import lifecycle

        return lifecycle(self.prefix, days, noncurrent)

    def _cors(self) -> list[dict[str, Any]]:
        return self._control.cors()

    def _set_cors(self, rules: list[dict[str, Any]]) -> None:
        self._control.set_cors(rules)

    def _own_secret(self) -> bytes:
        keys = self._credentials
        credentials = None if isinstance(keys, AwsChain) else keys()
        if credentials is None or credentials.session_token is not None:
            # Keys that change are no secret that lasts.
            return super()._own_secret()
        return hmac.digest(credentials.secret_key.encode(), TOKENS_PURPOSE, hashlib.sha256)

    def _explain(self, failure: Exception) -> Meaning | None:
        if isinstance(failure, S3Failure):
            return failure.meaning
        if isinstance(failure, UnauthenticatedError):
            # It may be that no request was made: obstore does not say why there are no keys.
            try:
                self._credentials()
            except Error as error:
                meaning = Meaning(error.kind, error.message, error.code, error.setting)
                return meaning.because("" if error.payload is None else str(error.payload))
        return super()._explain(failure)

    def _check(self, *, create: bool) -> None:
        del create  # nothing is made in a bucket
        from rex.attach.storages.s3_check import check_bucket

        url = presign_url(
            "GET",
            f"{self._bucket_url}/",
            query={"list-type": "2", "max-keys": "1", "prefix": self.prefix},
            credentials=self._credentials(),
            region=self.region,
            expires=60,
            now=_now(),
        )
        check_bucket(
            url,
            bucket=self.bucket,
            endpoint=self._bucket_url if self.addressing == "virtual" else self.endpoint,
            region=self.region,
            ca_file=self._ca_file,
            timeout=min(2 * CONNECT_SECONDS, self.timeout),
        )

    # Links.

    @property
    def signs_at_once(self) -> bool:
        """Whether the keys are at hand."""
        return not isinstance(self._credentials, AwsChain) or self._credentials.is_at_hand

    def _sign_post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        now, credentials, lifetime = self._lifetime(seconds)
        fields = {
            "key": self._path(key),
            **object_headers(key, content_type),
            "success_action_status": "204",
        }
        signed = sign_policy(
            self._conditions(fields, max_size),
            fields,
            credentials=credentials,
            region=self.region,
            expires=lifetime,
            now=now,
        )
        return PresignedLink(
            method="POST",
            url=f"{self._public_url}/",
            headers={},
            fields=signed,
            expires_at=now + datetime.timedelta(seconds=lifetime),
        )

    def _conditions(self, fields: dict[str, str], max_size: int | None) -> list[Condition]:
        """Pin every field that is in the form, and every one that could be added to it."""
        largest = MAX_POST_BYTES if max_size is None else min(max_size, MAX_POST_BYTES)
        # AWS refuses a field that no condition names, so there is nothing to add.
        absent = () if self._is_aws else ABSENT_FIELDS
        return [
            {"bucket": self.bucket},
            *(["eq", f"${name}", value] for name, value in fields.items()),
            *(["eq", f"${name}", ""] for name in absent),
            ["content-length-range", 0, largest],
        ]

    def _sign_put(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        headers = {**object_headers(key, content_type), "If-None-Match": "*"}
        return self._presigned("PUT", key, seconds, headers=headers)

    def _sign_get(
        self, key: str, content_disposition: str, content_type: str | None, seconds: float
    ) -> PresignedLink:
        query = {"response-content-disposition": content_disposition}
        if content_type is not None:
            query["response-content-type"] = content_type
        return self._presigned("GET", key, seconds, query=query, is_kept=True)

    def _compare_link(self, link: SignedLink) -> Comparison:
        from rex.attach.storages.s3_explain import compare

        return compare(
            link,
            bucket=self.bucket,
            region=self.region,
            bucket_urls=(self._public_url, self._bucket_url),
            # Where they are not at hand, somebody would have to be asked.
            credentials=self._credentials() if self.signs_at_once else None,
        )

    def _presigned(
        self,
        method: str,
        key: str,
        seconds: float,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        is_kept: bool = False,
    ) -> PresignedLink:
        """Sign a request; a browser keeps the answer, if at all, for as long as the link works."""
        now, credentials, lifetime = self._lifetime(seconds)
        expires_at = now + datetime.timedelta(seconds=lifetime)
        if is_kept:
            end = format_datetime(expires_at, usegmt=True)
            caching = {"response-cache-control": "private, immutable", "response-expires": end}
            query = {**(query or {}), **caching}
        url = presign_url(
            method,
            f"{self._public_url}/{encode_path(self._path(key))}",
            headers=headers,
            query=query,
            credentials=credentials,
            region=self.region,
            expires=lifetime,
            now=now,
        )
        return PresignedLink(method, url, headers or {}, {}, expires_at)

    def _lifetime(self, seconds: float) -> tuple[datetime.datetime, Credentials, int]:
        """Give the time, the keys, and for how many seconds a link made now will work.

        A link made with temporary keys ends with them at the latest.
        """
        now = _now()
        credentials = self._credentials()
        lifetime = int(seconds)
        if credentials.expires_at is not None:
            left = int((credentials.expires_at - now).total_seconds())
            if left < 1:
                raise Error(
                    "Our temporary keys have expired, so no link can be made with them",
                    kind=Kind.UNAVAILABLE,
                    code="credentials-expired",
                )
            if left < lifetime:
                log.info("a link ends in %d seconds, with the temporary keys it is made with", left)
                lifetime = left
        return now, credentials, lifetime


def read_ca_file(path: str) -> bytes:
    """Read a PEM file of certificates. Errors: `CONFIGURATION`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as failure:
        raise Error(
            "The file of certificates cannot be read",
            f"{path}: {failure.strerror}",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_s3_ca_file",
        ) from None


def _keys_for_obstore(provider: CredentialsProvider) -> Callable[[], S3Credential]:
    """Give the keys of the moment as obstore takes them."""

    def provide() -> S3Credential:
        credentials = provider()
        return {
            "access_key_id": credentials.access_key,
            "secret_access_key": credentials.secret_key,
            "token": credentials.session_token,
            "expires_at": credentials.expires_at,
        }

    return provide


def _checked(value: str, form: re.Pattern[str], what: str, setting: str) -> str:
    if not form.fullmatch(value):
        raise Error(
            f"This is no {what}",
            shown(value),
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting=setting,
        )
    return value


def _origin(endpoint: str) -> str:
    """Give the endpoint as it is signed and compared: the scheme in lower case, no last slash."""
    scheme, separator, rest = endpoint.partition("://")
    return f"{scheme.lower()}{separator}{rest}".rstrip("/")


def _usual_addressing(endpoint: str | None, bucket: str) -> Addressing:
    # The certificate of AWS does not cover a bucket whose name has dots.
    return "path" if endpoint is not None or "." in bucket else "virtual"


def _secret(value: str | Secret | None) -> Secret | None:
    return Secret(value) if isinstance(value, str) else value


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
