"""A storage on S3 from keywords, those of the bucket and those of every storage alike."""

from __future__ import annotations

import dataclasses
from typing import Any

from rex.attach.backends.s3.config import S3Config
from rex.attach.backends.s3.storage import S3Storage

__all__ = ["s3_storage"]

FIELDS = {field.name for field in dataclasses.fields(S3Config)}


def s3_storage(bucket: str, **options: Any) -> S3Storage:
    """Make a storage on S3."""
    config = {name: options.pop(name) for name in FIELDS & options.keys()}
    return S3Storage(S3Config(bucket, **config), **options)
