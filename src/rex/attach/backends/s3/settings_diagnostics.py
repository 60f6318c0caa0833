"""The examination of what the settings say of a bucket: keys, server, region, addressing."""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from rex.attach.backend.diagnostics import Doctor, Step, fail, fail_with, ok, warn
from rex.attach.backends.s3.check import Regions, element
from rex.attach.backends.s3.credentials import AwsChain
from rex.attach.links.client import Client, Unreachable
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backend.diagnostics import Check
    from rex.attach.backends.s3.bucket import Bucket
    from rex.attach.links.client import Answer
    from rex.attach.links.sigv4 import Credentials
    from rex.attach.storage import Storage

__all__ = ["HOST_ADVICE", "S3SettingsDoctor"]

SKEW_WRONG = 5 * 60
SKEW_WARNED = 30
"""Seconds between the clocks; at 15 minutes, S3 refuses what is signed."""
LONGEST_SECONDS = 10
MIN_SHOWN = 8
"""Of a shorter key or secret, nothing is shown, and nothing looked for in what is told."""

HOST_ADVICE = (
    "the proxy must pass Host on as it comes (nginx: proxy_set_header Host $http_host;), or the "
    "endpoint be the address that the server itself is given"
)

_BLAMED = {
    "attach_s3_region": "region",
    "attach_s3_access_key": "keys",
    "attach_s3_secret_key": "keys",
    "attach_s3_session_token": "keys",
    "attach_s3_bucket": "bucket",
}
"""The step that is wrong where the check of the bucket names a setting; else the endpoint is."""


class S3SettingsDoctor(Doctor):
    """Examines what was configured; nothing is stored."""

    required = ("credentials", "endpoint", "clock", "region", "keys", "addressing", "bucket")

    def __init__(self, storage: Storage, bucket: Bucket) -> None:
        super().__init__(storage)
        self._s3 = storage
        self._bucket = bucket
        self._skew: float | None = None
        self._known: Credentials | None = None

    def first(self) -> list[Step]:
        looks = {
            "credentials": self._credentials,
            "endpoint": self._endpoint,
            "clock": self._clock,
            "region": self._region,
            "keys": self._keys,
            "addressing": self._check_addressing,
            "bucket": self._find,
        }
        names = [*looks]
        return [Step(name, looks[name], names[:at][-1:]) for at, name in enumerate(names)]

    @functools.cached_property
    def client(self) -> Client:
        return self._bucket.http_client(LONGEST_SECONDS)

    def _credentials(self) -> Check:
        provider = self._bucket.credentials
        _, keys, _ = self._bucket.lifetime(60)
        self._known = keys
        known = f"access key {_shorten(keys.access_key)}"
        if keys.session_token is not None:
            known += f", temporary, until {keys.expires_at or 'nobody knows when'}"
        if isinstance(provider, AwsChain):
            return ok(f"from the AWS chain ({provider.method}): {known}")
        if keys.session_token is None:
            return ok(f"from the settings: {known}")
        return warn(
            "temporary-credentials",
            f"from the settings: {known}",
            "nobody renews temporary keys that stand in settings, and links end with them: leave "
            "the keys away where a role or a profile gives them (AWS chain)",
        )

    def _endpoint(self) -> Check:
        client, began = self.client, time.perf_counter()  # which fails without its certificates
        try:
            answer = client.send("GET", f"{self._bucket.endpoint}/")
        except Unreachable as failure:
            advice = "attach_s3_endpoint must be the address at which the server listens"
            if failure.is_certificate:
                advice = "give the PEM file of its authority with attach_s3_ca_file"
            return fail(
                "unreachable", f"{self._bucket.endpoint} cannot be reached: {failure}", advice
            )
        taken = (time.perf_counter() - began) * 1000
        self._compare_clocks(answer)
        if self._step_to_blame == "endpoint":
            advice = (
                "attach_s3_endpoint must be the address of the S3 service itself: not that of its "
                "web console, and without the bucket"
            )
            is_passing = self._refusal.kind is Kind.UNAVAILABLE
            return fail_with(self._refusal, *(() if is_passing else (advice,)))
        server = answer.headers.get("Server")
        named = f" ({server})" if server else ""
        return ok(f"{self._bucket.endpoint}{named} answers in {taken:.0f} ms")

    def _compare_clocks(self, answer: Answer) -> None:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
            ours, _, _ = self._bucket.lifetime(60)
            self._skew = (ours - theirs).total_seconds()
        except (TypeError, ValueError):
            self._skew = None

    def _clock(self) -> Check:
        advice = "have both set by NTP:", "$ timedatectl set-ntp true"
        if self._skew is None:
            if self._step_to_blame == "clock":
                return fail_with(self._refusal, *advice)
            return ok("the server does not tell its time")
        seconds = abs(self._skew)
        if seconds <= SKEW_WARNED and self._step_to_blame != "clock":
            return ok(f"{seconds:.0f} s from that of the server")
        direction = "ahead of" if self._skew > 0 else "behind"
        found = f"the clock here is {seconds:.0f} s {direction} that of the server"
        is_wrong = seconds > SKEW_WRONG or self._step_to_blame == "clock"
        return (fail if is_wrong else warn)("clock-skew", found, *advice)

    def _region(self) -> Check:
        if self._step_to_blame != "region":
            return ok(self._bucket.region)
        regions = self._refusal.payload
        expected = regions.expected if isinstance(regions, Regions) else ""
        return fail_with(self._refusal, f"attach_s3_region={expected or '…'}")

    def _keys(self) -> Check:
        if self._step_to_blame != "keys":
            return ok("the server knows them")
        if self._refusal.setting == "attach_s3_secret_key" and self._is_secret_right():
            return fail(
                "host-changed",
                "the secret key is right, but requests do not arrive as they were signed: "
                "something on the way changes the header Host",
                HOST_ADVICE,
            )
        advice = "give keys that the server knows; rex settings tells where they stand"
        if self._refusal.code == "credentials-expired":
            advice = "get new keys, or have the AWS chain renew them (leave them away)"
        return fail_with(self._refusal, advice)

    def _is_secret_right(self) -> bool:
        """Send a form that is too large: the signature of a form does not cover the host."""
        link = self._s3.upload_link(self._s3.reserve("doctor.txt"), max_size=0, expires=60)
        answer = self.client.upload(dataclasses.replace(link, url=f"{self._bucket.url}/"), b"x")
        return element(answer.body, "Code") == "EntityTooLarge"

    def _check_addressing(self) -> Check:
        if self._step_to_blame != "addressing":
            return ok(f"{self._bucket.addressing}: {self._bucket.url}")
        return fail_with(self._refusal, f"attach_s3_addressing={self._other.addressing}")

    def _find(self) -> Check:
        bucket = self._bucket.name
        if self._step_to_blame == "list":
            text = f"{bucket}: whether it is there is not told without s3:ListBucket"
            return warn("unknown", text)
        if self._step_to_blame != "bucket":
            return ok(bucket)
        endpoint = shlex.quote(self._bucket.endpoint)
        return fail_with(
            self._refusal,
            "make the bucket, or give the name of another in attach_s3_bucket:",
            f"$ aws s3api create-bucket --endpoint-url {endpoint} --bucket {bucket}",
        )

    @functools.cached_property
    def _failure(self) -> Error | None:
        """What the check of the bucket says."""
        try:
            self._bucket.check()
        except Error as error:
            return error
        return None

    @property
    def _refusal(self) -> Error:
        """The same, where something is to blame."""
        assert self._failure is not None  # noqa: S101 - or nothing were to blame
        return self._failure

    @functools.cached_property
    def _step_to_blame(self) -> str:
        """The step to which that belongs."""
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
        """The bucket with its name in the other place."""
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
    """Show so much of an access key that one knows which it is."""
    return f"{access_key[:4]}…" if len(access_key) >= MIN_SHOWN else "…"
