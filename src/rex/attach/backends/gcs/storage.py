"""Attachments on Google Cloud Storage, with links that bypass the application."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Unpack

from rex.attach.backend.abilities import Abilities
from rex.attach.backend.failures import Meaning
from rex.attach.backends.gcs.bucket import GCSBucket
from rex.attach.backends.gcs.codes import GCS_CODES, PLACE
from rex.attach.backends.gcs.control import GCSFailure
from rex.attach.backends.gcs.credentials import ServiceAccount
from rex.attach.backends.objects.objects import explain_obstore
from rex.attach.backends.objects.storage import ObjectStorage
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.backend.garbage import Garbage
    from rex.attach.backends.gcs.config import GCSConfig
    from rex.attach.content.content import Content
    from rex.attach.storage import StorageOptions

__all__ = ["GCSStorage"]

TOKENS_PURPOSE = b"rex.attach: the secret of tokens"


class GCSStorage(ObjectStorage):
    """Attachments in a bucket on Google Cloud Storage."""

    _codes = GCS_CODES

    def __init__(self, config: GCSConfig, **options: Unpack[StorageOptions]) -> None:
        """Use a bucket; make no request yet."""
        bucket = GCSBucket(config)
        super().__init__(bucket, **options)
        self._bucket = bucket
        self.bucket = bucket.name
        self.endpoint = bucket.endpoint

    def __repr__(self) -> str:
        return f"GCSStorage('gs://{self.bucket}/{self.prefix}')"

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same bucket."""
        return self._restorable(self._bucket.config)

    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        self._bucket.put_session(key, content, content_type)

    def _delete(self, key: str) -> None:
        self._bucket.remove(self._bucket.path(key))

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        bucket = self._bucket
        folder = bucket.path("" if day is None else day.isoformat().replace("-", "/") + "/")
        start = None if after is None else bucket.path(after)
        for found in bucket.control.objects(folder, start):
            key = found.name.removeprefix(self.prefix)
            # The listing begins with `after` itself; some servers ignore where it begins.
            if not key.startswith(f"{PLACE}/") and (after is None or key > after):
                yield key

    def _abilities(self) -> Abilities:
        from rex.attach.backends.gcs.links import GCSLinks
        from rex.attach.backends.gcs.resumable import GCSResumable
        from rex.attach.backends.gcs.rules import GCSRules

        return Abilities(
            links=GCSLinks(self._bucket),
            resumable=GCSResumable(self._bucket),
            bucket=GCSRules(self._bucket),
            garbage=self._garbage,
            diagnostics=self._doctors,
            one_remover=True,
            create_once=True,
        )

    def _garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        from rex.attach.backends.gcs.garbage import find_garbage

        lifetime = datetime.timedelta(seconds=self.upload_expires)
        return find_garbage(self._bucket, before, lifetime)

    def _doctors(self) -> Sequence[Doctor[Any]]:
        from rex.attach.backends.gcs.diagnostics import GCSDoctor

        return (GCSDoctor(self, self._bucket),)

    def _check(self, *, create: bool) -> None:
        from rex.attach.backends.gcs.check import check_bucket

        del create  # nothing needs to be created in a bucket
        check_bucket(self._bucket)

    def _own_secret(self) -> bytes:
        credentials = self._bucket.credentials
        if not isinstance(credentials, ServiceAccount):
            # Credentials that change cannot derive a lasting secret.
            return super()._own_secret()
        return hmac.digest(credentials.pem.encode(), TOKENS_PURPOSE, hashlib.sha256)

    def _explain(self, failure: Exception) -> Meaning | None:
        if isinstance(failure, GCSFailure):
            return failure.meaning
        meaning = super()._explain(failure)
        if explain_obstore(failure) is not None and meaning == explain_obstore(failure):
            # Perhaps there are no credentials; obstore does not say why, so get them again.
            try:
                self._bucket.credentials.token()
            except Error as error:
                found = Meaning(error.kind, error.message, error.code, error.setting)
                return found.because("" if error.payload is None else str(error.payload))
        return meaning
