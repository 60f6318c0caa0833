"""The diagnosis of the settings of a bucket: credentials, server, region and addressing."""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from rex.attach.backend.diagnostics import (
    CLOCK_ADVICE,
    Doctor,
    Step,
    compare_clocks,
    fail,
    fail_with,
    in_order,
    ok,
    warn,
)
from rex.attach.backends.s3.check import Regions, element
from rex.attach.backends.s3.credentials import AwsChain
from rex.attach.links.client import Client, Unreachable
from rex.attach.storage import Storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backend.diagnostics import Check
    from rex.attach.backends.s3.bucket import Bucket
    from rex.attach.links.client import Answer
    from rex.attach.links.sigv4 import Credentials

__all__ = ["HOST_ADVICE", "S3SettingsDoctor"]

SKEW_WRONG = 5 * 60
LONGEST_SECONDS = 10
MIN_SHOWN = 8
"""The length below which an access key is hidden entirely, and a secret is not masked."""

HOST_ADVICE = (
    "the proxy must not change the header Host (nginx: proxy_set_header Host $http_host;), or the "
    "endpoint must be the address to which the proxy forwards requests"
)

_BLAMED = {
    "attach_s3_region": "region",
    "attach_s3_access_key": "keys",
    "attach_s3_secret_key": "keys",
    "attach_s3_session_token": "keys",
    "attach_s3_bucket": "bucket",
}
"""The step to blame by the setting that the check of the bucket names; by default, endpoint."""


class S3SettingsDoctor(Doctor[Storage]):
    """Diagnoses the settings; stores nothing."""

    required = ("credentials", "endpoint", "clock", "region", "keys", "addressing", "bucket")

    def __init__(self, storage: Storage, bucket: Bucket) -> None:
        super().__init__(storage)
        self._s3 = storage
        self._bucket = bucket
        self._skew: float | None = None
        self._known: Credentials | None = None

    def first(self) -> list[Step]:
        checks = {
            "credentials": self._credentials,
            "endpoint": self._endpoint,
            "clock": self._clock,
            "region": self._region,
            "keys": self._keys,
            "addressing": self._check_addressing,
            "bucket": self._find,
        }
        return in_order(checks)

    @functools.cached_property
    def client(self) -> Client:
        return self._bucket.http_client(LONGEST_SECONDS)

    def _credentials(self) -> Check:
        provider = self._bucket.credentials
        keys = self._bucket.term(60).credentials
        self._known = keys
        known = f"access key {_shorten(keys.access_key)}"
        if keys.session_token is not None:
            known += f", temporary, until {keys.expires_at or 'an unknown time'}"
        if isinstance(provider, AwsChain):
            return ok(f"from the AWS chain ({provider.method}): {known}")
        if keys.session_token is None:
            return ok(f"from the settings: {known}")
        return warn(
            "temporary-credentials",
            f"from the settings: {known}",
            "temporary credentials in settings are not renewed, and links expire with them: remove "
            "them from the settings if a role or a profile provides them (AWS chain)",
        )

    def _endpoint(self) -> Check:
        client, began = self.client, time.perf_counter()  # raises for wrong certificates
        try:
            answer = client.send("GET", f"{self._bucket.endpoint}/")
        except Unreachable as failure:
            advice = "attach_s3_endpoint must be the address on which the server listens"
            if failure.is_certificate:
                advice = "set attach_s3_ca_file to the PEM file of its certificate authority"
            return fail(
                "unreachable", f"{self._bucket.endpoint} cannot be reached: {failure}", advice
            )
        taken = (time.perf_counter() - began) * 1000
        self._compare_clocks(answer)
        if self._step_to_blame == "endpoint":
            advice = (
                "attach_s3_endpoint must be the address of the S3 API, not of the web console, and "
                "must not contain the bucket"
            )
            is_passing = self._error.kind is Kind.UNAVAILABLE
            return fail_with(self._error, *(() if is_passing else (advice,)))
        server = answer.headers.get("Server")
        named = f" ({server})" if server else ""
        return ok(f"{self._bucket.endpoint}{named} responds in {taken:.0f} ms")

    def _compare_clocks(self, answer: Answer) -> None:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
            ours = self._bucket.term(60).now
            self._skew = (ours - theirs).total_seconds()
        except (TypeError, ValueError):
            self._skew = None

    def _clock(self) -> Check:
        is_refused = self._step_to_blame == "clock"
        if self._skew is None and is_refused:
            return fail_with(self._error, *CLOCK_ADVICE)
        return compare_clocks(self._skew, SKEW_WRONG, is_refused=is_refused)

    def _region(self) -> Check:
        if self._step_to_blame != "region":
            return ok(self._bucket.region)
        regions = self._error.payload
        expected = regions.expected if isinstance(regions, Regions) else ""
        return fail_with(self._error, f"attach_s3_region={expected or '…'}")

    def _keys(self) -> Check:
        if self._step_to_blame != "keys":
            return ok("the server accepts them")
        if self._error.setting == "attach_s3_secret_key" and self._is_secret_right():
            return fail(
                "host-changed",
                "the secret key is right, but a proxy changes the header Host, so that requests do "
                "not match their signatures",
                HOST_ADVICE,
            )
        advice = "set credentials that the server accepts; rex settings shows where they are set"
        if self._error.code == "credentials-expired":
            advice = "get new credentials, or remove them so that the AWS chain renews them"
        return fail_with(self._error, advice)

    def _is_secret_right(self) -> bool:
        """Upload a form above its size limit: its signature does not cover the host."""
        link = self._s3.upload_link(self._s3.reserve("doctor.txt"), max_size=0, expires=60)
        answer = self.client.upload(dataclasses.replace(link, url=f"{self._bucket.url}/"), b"x")
        return element(answer.body, "Code") == "EntityTooLarge"

    def _check_addressing(self) -> Check:
        if self._step_to_blame != "addressing":
            return ok(f"{self._bucket.addressing}: {self._bucket.url}")
        return fail_with(self._error, f"attach_s3_addressing={self._other.addressing}")

    def _find(self) -> Check:
        bucket = self._bucket.name
        if self._step_to_blame == "list":
            text = f"{bucket}: without s3:ListBucket, the server does not tell whether it exists"
            return warn("unknown", text)
        if self._step_to_blame != "bucket":
            return ok(bucket)
        endpoint = shlex.quote(self._bucket.endpoint)
        return fail_with(
            self._error,
            "create the bucket, or set attach_s3_bucket to an existing bucket:",
            f"$ aws s3api create-bucket --endpoint-url {endpoint} --bucket {shlex.quote(bucket)}",
        )

    @functools.cached_property
    def _failure(self) -> Error | None:
        """The error of the check of the bucket, or None."""
        try:
            self._bucket.check()
        except Error as error:
            return error
        return None

    @property
    def _error(self) -> Error:
        """The error of the check of the bucket, if there is a step to blame."""
        assert self._failure is not None  # noqa: S101 - there is a step to blame
        return self._failure

    @functools.cached_property
    def _step_to_blame(self) -> str:
        """The step to which the error of the check belongs, or an empty string."""
        if self._failure is None:
            return ""
        if self._failure.kind is Kind.DENIED:
            return "list"
        if self._failure.code == "clock-skew":
            return "clock"
        step = _BLAMED.get(self._failure.setting or "", "endpoint")
        if step in ("bucket", "endpoint") and self._works_otherwise():
            return "addressing"
        return step

    @functools.cached_property
    def _other(self) -> Bucket:
        """The bucket with the other addressing."""
        return self._bucket.with_addressing(
            "path" if self._bucket.addressing == "virtual" else "virtual"
        )

    def _works_otherwise(self) -> bool:
        try:
            self._other.check()
        except Error:
            return False
        return True

    def mask(self, text: str) -> str:
        keys = self._known
        if keys is not None:
            for secret in (keys.secret_key, keys.session_token or ""):
                text = text.replace(secret, "…") if len(secret) >= MIN_SHOWN else text
            text = text.replace(keys.access_key, _shorten(keys.access_key))
        return re.sub("[0-9a-f]{64}", "…", text)  # signatures


def _shorten(access_key: str) -> str:
    """Return the beginning of an access key, enough to recognise it."""
    return f"{access_key[:4]}…" if len(access_key) >= MIN_SHOWN else "…"
