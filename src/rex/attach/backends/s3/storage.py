"""Attachments on an S3-compatible server, with links that bypass the application."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Unpack

from rex.attach.backend.abilities import Abilities, BucketRules
from rex.attach.backend.failures import Meaning
from rex.attach.backends.objects import native
from rex.attach.backends.objects.objects import (
    digest_metadata,
    encode_upload_metadata,
    object_headers,
)
from rex.attach.backends.objects.storage import ObjectStorage
from rex.attach.backends.s3.bucket import Bucket
from rex.attach.backends.s3.codes import PLACE, S3_CODES
from rex.attach.backends.s3.completion import complete
from rex.attach.backends.s3.control import S3Failure
from rex.attach.backends.s3.credentials import AwsChain
from rex.attach.backends.s3.multipart import S3Multipart, send_parts
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.backend.garbage import Garbage
    from rex.attach.backends.s3.config import S3Config
    from rex.attach.content.content import Content
    from rex.attach.storage import StorageOptions

__all__ = ["S3Storage"]

TOKENS_PURPOSE = b"rex.attach: the secret of tokens"


class S3Storage(ObjectStorage):
    """Attachments in a bucket on Amazon S3 or on a compatible server."""

    _codes = S3_CODES

    def __init__(self, config: S3Config, **options: Unpack[StorageOptions]) -> None:
        """Use a bucket; make no request yet."""
        bucket_ = Bucket(config)
        super().__init__(bucket_, **options)
        self._bucket = bucket_
        self.bucket = bucket_.name
        self.region = bucket_.region
        self.endpoint = bucket_.endpoint

    def __repr__(self) -> str:
        return f"S3Storage('s3://{self.bucket}/{self.prefix}', endpoint={self.endpoint!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same bucket."""
        return self._restorable(self._bucket.config)

    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        control, path = self._bucket.control, self._bucket.path(key)
        headers = object_headers(key, content_type)
        metadata = encode_upload_metadata(content.upload_metadata) | digest_metadata(
            content.known_digest
        )
        upload_id = control.create_multipart(path, headers, metadata)
        try:
            parts = send_parts(control, path, upload_id, content)
            complete(control, path, upload_id, parts)
        except BaseException:
            with suppress(S3Failure):  # the upload may be complete
                control.abort(path, upload_id)
            raise

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        bucket = self._bucket
        folder = bucket.path("" if day is None else day.isoformat().replace("-", "/") + "/")
        for found in bucket.control.objects(folder, None if after is None else bucket.path(after)):
            key = found.name.removeprefix(self.prefix)
            if not key.startswith(f"{PLACE}/"):
                yield key

    def _abilities(self) -> Abilities:
        from rex.attach.backends.s3.links import S3Links
        from rex.attach.backends.s3.resumable import S3Resumable

        return Abilities(
            links=S3Links(self._bucket),
            resumable=S3Resumable(self._bucket),
            multipart=S3Multipart(self._bucket),
            bucket=S3Rules(self._bucket),
            garbage=self._garbage,
            diagnostics=self._doctors,
        )

    def _garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        from rex.attach.backends.s3.garbage import find_garbage

        lifetime = datetime.timedelta(seconds=self.upload_expires)
        return find_garbage(self._bucket, before, lifetime)

    def _doctors(self) -> Sequence[Doctor[Any]]:
        from rex.attach.backends.s3.diagnostics import S3Doctor

        return (S3Doctor(self, self._bucket),)

    def _own_secret(self) -> bytes:
        provider = self._bucket.credentials
        credentials = None if isinstance(provider, AwsChain) else provider()
        if credentials is None or credentials.session_token is not None:
            # Credentials that change cannot derive a lasting secret.
            return super()._own_secret()
        return hmac.digest(credentials.secret_key.encode(), TOKENS_PURPOSE, hashlib.sha256)

    def _explain(self, failure: Exception) -> Meaning | None:
        if isinstance(failure, S3Failure):
            return failure.meaning
        if isinstance(failure, native.obstore.exceptions.UnauthenticatedError):
            # Perhaps there are no credentials; obstore does not say why, so get them again.
            try:
                self._bucket.credentials()
            except Error as error:
                meaning = Meaning(error.kind, error.message, error.code, error.setting)
                return meaning.because("" if error.payload is None else str(error.payload))
        return super()._explain(failure)

    def _check(self, *, create: bool) -> None:
        del create  # nothing needs to be created in a bucket
        self._bucket.check()


class S3Rules(BucketRules):
    """Reads and sets the rules of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def cors(self) -> list[dict[str, Any]]:
        return self._bucket.control.cors()

    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        self._bucket.control.set_cors(rules)

    def lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        from rex.attach.backends.s3.garbage import lifecycle

        return lifecycle(self._bucket.prefix, days, noncurrent)
