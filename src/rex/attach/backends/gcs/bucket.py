"""A bucket: its address and credentials, and how objects are stored in it."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rex.attach.backends.gcs.chain import find_credentials
from rex.attach.backends.gcs.control import GCSControl
from rex.attach.backends.gcs.credentials import read_key, service_account
from rex.attach.backends.objects import native
from rex.attach.backends.objects.connection import (
    check_name,
    client_options,
    origin,
    retry_options,
    server_time,
)
from rex.attach.backends.objects.objects import (
    Objects,
    digest_metadata,
    encode_upload_metadata,
    object_headers,
)
from rex.attach.backends.objects.parts import cut
from rex.attach.links.link import PresignedLink, round_down
from rex.attach.links.sigv4 import encode_path
from rex.attach.links.v4 import V4Signer, presign_v4
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import GCSStore

    from rex.attach.backends.gcs.config import GCSConfig
    from rex.attach.backends.gcs.credentials import Credentials
    from rex.attach.content.content import Content

__all__ = ["GCSBucket", "object_resource"]

MAX_SKEW = 15 * 60
"""Seconds between the clocks from which Google refuses signatures."""
DEFAULT = "https://storage.googleapis.com"
_BUCKET = re.compile(r"(?=.{3,222}\Z)[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_BUCKET_RULE = (
    "The bucket name must consist of 3 to 222 lower-case letters, digits, hyphens, underscores and "
    "dots, and begin and end with a letter or digit"
)


class GCSBucket(Objects):
    """A bucket on Google Cloud Storage; see `GCSStorage`."""

    def __init__(self, config: GCSConfig) -> None:
        super().__init__(config.prefix, setting="attach_gcs_prefix")
        self.config = config
        self.name = check_name(config.bucket, _BUCKET, "attach_gcs_bucket", _BUCKET_RULE)
        self.endpoint = origin(config.endpoint)
        self.credentials = _credentials(config)

    @property
    def url(self) -> str:
        """The address of the bucket."""
        return f"{self.endpoint}/{self.name}"

    @property
    def is_default(self) -> bool:
        """Whether the server is that of Google."""
        return self.endpoint == DEFAULT

    # Links.

    def signer(self) -> V4Signer:
        """Return the signer of links. Errors: `UNSUPPORTED` without a service account."""
        email = self.credentials.email
        if not email:
            raise Error(
                "The Google credentials cannot sign links",
                "set attach_gcs_key to the key of a service account, or use the service account "
                "of a machine or workload",
                kind=Kind.UNSUPPORTED,
                code="no-links",
            )
        return V4Signer(email, self.credentials.sign)

    def presign(
        self,
        method: str,
        key: str,
        seconds: float,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        window: int = 0,
    ) -> PresignedLink:
        """Sign a link."""
        now = datetime.datetime.fromtimestamp(int(round_down(time.time(), window)), datetime.UTC)
        lifetime = int(seconds)
        url = presign_v4(
            method,
            f"{self.url}/{encode_path(self.path(key))}",
            headers=headers,
            query=query,
            signer=self.signer(),
            expires=lifetime,
            now=now,
        )
        expires_at = now + datetime.timedelta(seconds=lifetime)
        return PresignedLink(method, url, dict(headers or {}), {}, expires_at)

    def clock_skew(self) -> float | None:
        """Return by how many seconds this clock is ahead of the server's; None if unknown."""
        theirs = server_time(self.endpoint)
        return (
            None
            if theirs is None
            else (datetime.datetime.now(datetime.UTC) - theirs).total_seconds()
        )

    # Requests.

    @functools.cached_property
    def control(self) -> GCSControl:
        """The client for all requests other than those for objects."""
        return GCSControl(
            self.endpoint,
            self.name,
            credentials=self.credentials,
            timeout=self.config.timeout,
        )

    def _connect(self) -> GCSStore:
        endpoint, seconds = self.endpoint, self.config.timeout
        return native.obstore.store.GCSStore(
            self.name,
            # Override all that obstore would read from the environment.
            config={"base_url": self.endpoint, "skip_signature": False},
            # Must not refer to the bucket, which has the client; and without a provider, obstore
            # asks the metadata server of Google for each request.
            credential_provider=_provider(self.credentials),
            client_options=client_options(endpoint, endpoint, seconds),
            retry_config=retry_options(seconds),
        )

    def delete(self, path: str) -> None:
        """Remove an object, if it exists."""
        with suppress(FileNotFoundError):
            self.control.delete(path)

    def remove(self, path: str) -> None:
        """Remove an object. Errors: `FileNotFoundError` for all but one of several callers."""
        self.control.delete(path)

    def put_parts(self, key: str, content: Content, content_type: str) -> None:
        """Store content under a new key."""
        content.skip_digest()
        self.put_session(key, content, content_type)

    def put_session(self, key: str, content: Content, content_type: str) -> None:
        """Store content by a session, unless the object exists; leave nothing after a failure.

        Of several concurrent calls, one succeeds; the others raise `FileExistsError`. The bytes are
        sent one after another: a session knows no concurrent parts.
        """
        resource = object_resource(
            key,
            content_type,
            digest=content.known_digest,  # a computed digest would come too late
            upload_metadata=content.upload_metadata,
        )
        path = self.path(key)
        session = self.control.begin(path, resource)
        try:
            made, md5 = self._send(session, content)
        except BaseException:
            with suppress(Exception):  # Google ends it after a week
                self.control.cancel(session)
            raise
        if made.get("md5Hash", md5) != md5 or int(made.get("size", 0)) != content.size:
            with suppress(Exception):
                self.control.delete(path, str(made.get("generation", "")))
            raise Error(
                "The data was damaged in transit",
                f"/{key}: the server has other bytes",
                kind=Kind.UNAVAILABLE,
            )

    def _send(self, session: str, content: Content) -> tuple[Mapping[str, Any], str]:
        """Send all content; return the resource of the object, and the MD5 of the content."""
        md5, offset = hashlib.md5(usedforsecurity=False), 0
        for data, is_last in cut(content):
            md5.update(data)
            total = offset + len(data) if is_last else None
            made = self.control.send(session, offset, data, total=total).made
            offset += len(data)
        return made or {}, base64.b64encode(md5.digest()).decode()


def object_resource(
    key: str, content_type: str, *, digest: str | None, upload_metadata: str, upload: str = ""
) -> dict[str, Any]:
    """Return the resource of an object, as in the JSON interface; `upload` is a tag."""
    headers = object_headers(key, content_type)
    metadata = {**encode_upload_metadata(upload_metadata), **digest_metadata(digest)}
    if upload:
        metadata["upload"] = upload
    return {
        "contentType": headers["Content-Type"],
        "contentDisposition": headers["Content-Disposition"],
        "contentEncoding": headers["Content-Encoding"],
        "cacheControl": headers["Cache-Control"],
        "metadata": metadata,
    }


def _credentials(config: GCSConfig) -> Credentials:
    if config.key is None:
        return find_credentials()
    return service_account(read_key(config.key), config.key)


def _provider(credentials: Credentials) -> Any:
    """Return the provider of credentials in the form that obstore expects."""
    return credentials.for_obstore
