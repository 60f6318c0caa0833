"""Run the conformance suite on any S3 server: ``make promises``.

Settings in the environment name the bucket, which must exist, and its owner: ``ATTACH_S3_BUCKET``,
``ATTACH_S3_ENDPOINT``, ``ATTACH_S3_ACCESS_KEY``, ``ATTACH_S3_SECRET_KEY``, ``ATTACH_S3_REGION``.
The suite stores about 2 GB behind a prefix of its own, and takes some minutes. The exit code is 1
if the server does not keep a promise.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from dataclasses import dataclass

from attach.harnesses import S3Harness
from attach.s3_storage import s3_storage
from rex.attach.conformance import promises_for

__all__ = ["main"]

SETTINGS = ("bucket", "endpoint", "access_key", "secret_key")


@dataclass
class Place:
    """The bucket of the settings."""

    bucket: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str


def main() -> int:
    """Print each promise that the server does not keep; return the exit code."""
    given = {name: os.environ.get(f"ATTACH_S3_{name.upper()}", "") for name in SETTINGS}
    missing = [f"ATTACH_S3_{name.upper()}" for name, value in given.items() if not value]
    if missing:
        print(f"The environment must have {', '.join(missing)}", file=sys.stderr)
        return 2
    region = os.environ.get("ATTACH_S3_REGION") or "us-east-1"
    harness = S3Harness(Place(**given, region=region), f"conformance/{uuid.uuid4().hex[:8]}")
    promises = promises_for(s3_storage("any", access_key="any", secret_key="any").abilities)
    began, broken = time.monotonic(), 0
    for promise in promises:
        try:
            promise(harness)
        except Exception as error:  # noqa: BLE001 - any exception breaks a promise
            broken += 1
            print(f"broken: {promise.__name__}: {error!r}", flush=True)
    kept = len(promises) - broken
    print(f"{kept} of {len(promises)} promises kept, in {time.monotonic() - began:.0f} s")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
