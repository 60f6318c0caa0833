"""The configuration of a storage on an S3-compatible server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rex.attach.backend.config import BackendSpec, option, read_place, timeout_option
from rex.core import typed

if TYPE_CHECKING:
    from rex.core.secret import AnySecret

__all__ = ["Addressing", "S3Config", "spec"]

Addressing = Literal["path", "virtual"]


@dataclass(frozen=True, slots=True)
class S3Config:
    """The bucket, the server, the credentials and the options of requests."""

    bucket: str = option(typed.text, in_url=True, help="the S3 bucket that keeps the attachments")
    endpoint: str | None = option(
        typed.url, None, help="the address of the S3 server; default: AWS"
    )
    public_endpoint: str | None = option(
        typed.url, None, help="the address of the S3 server for clients; default: the endpoint"
    )
    region: str | None = option(
        typed.text,
        None,
        help="the region of the bucket; default: that of the AWS chain if it provides the "
        "credentials, or us-east-1",
    )
    access_key: str | None = option(
        typed.text, None, help="the access key; default: the AWS chain provides the credentials"
    )
    secret_key: AnySecret | None = option(typed.text, None, secret=True, help="the secret key")
    session_token: AnySecret | None = option(
        typed.text, None, secret=True, help="the session token of temporary credentials"
    )
    prefix: str = option(typed.text, "", in_url=True, help="the folder in the bucket for all keys")
    addressing: Addressing | None = option(
        typed.choice("path", "virtual"),
        None,
        help="where a URL has the name of the bucket: in the path, or in the host (virtual); "
        "default: virtual on AWS, otherwise path",
    )
    ca_file: str | None = option(
        typed.path, None, help="a PEM file of certificates to trust in addition to the system's"
    )
    timeout: float = timeout_option()
    checksums: bool = option(
        typed.boolean,
        True,
        help="whether to send checksums, so that the server rejects data damaged in transit",
    )


spec = BackendSpec(
    scheme="s3",
    example="s3://bucket/prefix?endpoint=…",
    config=S3Config,
    prefix="attach_s3_",
    read_url=read_place("bucket"),
    factory="rex.attach.backends.s3.storage:S3Storage",
    extra="s3",
)
