"""The configuration of a storage on Google Cloud Storage."""

from __future__ import annotations

from dataclasses import dataclass

from rex.attach.backend.config import BackendSpec, option, read_place, timeout_option
from rex.core import typed

__all__ = ["GCSConfig", "spec"]


@dataclass(frozen=True, slots=True)
class GCSConfig:
    """The bucket, the credentials and the options of requests."""

    bucket: str = option(
        typed.text, in_url=True, help="the bucket on Google Cloud that keeps the attachments"
    )
    key: str | None = option(
        typed.path,
        None,
        help="the path of a service account's key, a JSON file; default: the application default "
        "credentials of Google",
    )
    endpoint: str = option(
        typed.url, "https://storage.googleapis.com", help="the address of the server"
    )
    prefix: str = option(typed.text, "", in_url=True, help="the folder in the bucket for all keys")
    timeout: float = timeout_option()


spec = BackendSpec(
    scheme="gs",
    example="gs://bucket/prefix",
    config=GCSConfig,
    prefix="attach_gcs_",
    read_url=read_place("bucket"),
    factory="rex.attach.backends.gcs.storage:GCSStorage",
    extra="gcs",
)
