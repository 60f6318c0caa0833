"""The diagnosis of a bucket: its settings, the features of Google besides the operations."""

from __future__ import annotations

import functools
import re
import shlex
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rex.attach.backend.diagnostics import (
    Doctor,
    Step,
    compare_clocks,
    fail,
    fail_with,
    in_order,
    ok,
    skip,
    warn,
)
from rex.attach.backends.gcs.bucket import MAX_SKEW, object_resource
from rex.attach.backends.gcs.check import check_bucket
from rex.attach.backends.gcs.control import GCSFailure
from rex.attach.backends.gcs.credentials import ServiceAccount
from rex.attach.backends.gcs.rules import LINK_HEADERS
from rex.attach.backends.objects.requests import element
from rex.attach.links.client import Client, Unreachable
from rex.attach.storage import Storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rex.attach.backend.diagnostics import Check
    from rex.attach.backends.gcs.bucket import GCSBucket
    from rex.attach.links.client import Answer

__all__ = ["GCSDoctor"]

WEEK = 7 * 24 * 3600
CONTENT = b"the only piece of a session"
ROLE = "roles/storage.objectUser"

_PERMISSIONS = {
    "list": "storage.objects.list",
    "write": "storage.objects.create",
    "conditional write": "storage.objects.create",
    "read": "storage.objects.get",
    "range read": "storage.objects.get",
    "info": "storage.objects.get",
    "sessions": "storage.objects.create",
    "remove": "storage.objects.delete",
}
"""The permission that a step needs."""
_STEPS = {"attach_gcs_key": "keys", "attach_gcs_bucket": "bucket"}
"""The step to blame by the setting that the check of the bucket names."""


class GCSDoctor(Doctor[Storage]):
    """Diagnoses a bucket and its configuration."""

    required = ("credentials", "endpoint", "clock", "keys", "bucket")
    headers = ",".join(sorted(name.lower() for name in LINK_HEADERS))

    def __init__(self, storage: Storage, bucket: GCSBucket) -> None:
        super().__init__(storage)
        self._gcs = storage
        self._bucket = bucket

    def first(self) -> list[Step]:
        checks = {
            "credentials": self._credentials,
            "endpoint": self._endpoint,
            "clock": self._clock,
            "keys": self._keys,
            "bucket": self._find,
        }
        return in_order(checks)

    def more(self, reserve: Callable[[], str]) -> list[Step]:
        return [
            Step("sessions", functools.partial(self._sessions, reserve), ("write",)),
            Step("lifetime", self._lifetime, ("write",)),
            Step("versions", self._versions, ("write",)),
        ]

    @functools.cached_property
    def client(self) -> Client:
        return Client(timeout=min(10.0, self._bucket.config.timeout))

    # The settings.

    def _credentials(self) -> Check:
        credentials = self._bucket.credentials
        if isinstance(credentials, ServiceAccount):
            place = "attach_gcs_key" if self._bucket.config.key else "the default credentials"
            return ok(f"from {place}: the key of {credentials.email}")
        credentials.token()
        if not credentials.email:
            return warn(
                "no-links",
                f"from the default credentials ({credentials}), which cannot sign links",
                "set attach_gcs_key, or use the service account of a machine or workload",
            )
        return ok(f"from the default credentials: {credentials.email}; IAM signs the links")

    def lacks_links(self) -> Check | None:
        with suppress(Error):
            if not self._bucket.credentials.email:
                return skip("no-links", "the credentials cannot sign links")
        return None

    def _endpoint(self) -> Check:
        bucket, began = self._bucket, time.perf_counter()
        advice = "attach_gcs_endpoint must be the address of the server, without the bucket"
        try:
            answer = self.client.send("GET", f"{bucket.endpoint}/")
        except Unreachable as failure:
            if bucket.is_default:
                advice = "the firewall or proxy of this network must allow the address"
            return fail("unreachable", f"{bucket.endpoint} cannot be reached: {failure}", advice)
        taken = (time.perf_counter() - began) * 1000
        if self._blamed == "endpoint":
            return fail_with(self._error, advice)
        server = answer.headers.get("Server", "")
        return ok(f"{bucket.endpoint} ({server or 'unnamed'}) responds in {taken:.0f} ms")

    def _clock(self) -> Check:
        return compare_clocks(self._bucket.clock_skew(), MAX_SKEW)

    def _keys(self) -> Check:
        if self._blamed != "keys":
            return ok("the server accepts them")
        email = shlex.quote(self._bucket.credentials.email)
        return fail_with(
            self._error,
            "the key may have been deleted, or its account disabled; compare the key's id with",
            f"$ gcloud iam service-accounts keys list --iam-account {email}",
        )

    def _find(self) -> Check:
        if self._blamed == "denied":
            return fail_with(self._error, *self._grant("storage.objects.list"))
        if self._blamed != "bucket":
            return ok(self._bucket.name)
        name = shlex.quote(self._bucket.name)
        return fail_with(
            self._error,
            "create the bucket, or set attach_gcs_bucket to an existing bucket:",
            f"$ gcloud storage buckets create gs://{name} --uniform-bucket-level-access",
        )

    @functools.cached_property
    def _failure(self) -> Error | None:
        """The error of the check of the bucket, or None."""
        try:
            check_bucket(self._bucket)
        except Error as error:
            return error
        return None

    @property
    def _error(self) -> Error:
        assert self._failure is not None  # noqa: S101 - there is a step to blame
        return self._failure

    @property
    def _blamed(self) -> str:
        """The step to which the error of the check belongs, or an empty string."""
        error = self._failure
        if error is None:
            return ""
        if error.kind is Kind.DENIED:
            return "denied"
        return _STEPS.get(error.setting or "", "endpoint")

    # The features.

    def _sessions(self, reserve: Callable[[], str]) -> Check:
        """Complete two sessions of one handle, like two concurrent clients."""
        handle = reserve()
        control, path = self._bucket.control, self._bucket.path(handle[1:])
        resource = object_resource(handle[1:], "text/plain", digest=None, upload_metadata="")
        total = len(CONTENT)
        with self._gcs.map_errors(handle):
            first, second = (control.begin(path, resource) for _ in range(2))
            control.send(first, 0, CONTENT, total=total)
            try:
                control.send(second, 0, CONTENT, total=total)
            except FileExistsError:
                return ok("completing a session does not replace an existing object")
        return fail(
            "completion-not-conditional",
            "a completed session replaced an existing object",
            "a proxy in front of the server must pass the parameter ifGenerationMatch on",
        )

    def _lifetime(self) -> Check:
        seconds = self._gcs.upload_expires
        if seconds <= WEEK:
            return ok(f"uploads expire after {seconds / 3600:.0f} h; Google keeps sessions a week")
        return warn(
            "uploads-outlast-sessions",
            "Google ends sessions after 7 days, before the uploads expire",
            "attach_upload_expires=7d",
        )

    def _versions(self) -> Check:
        try:
            found = self._bucket.control.bucket()
        except GCSFailure as failure:
            if failure.kind is not Kind.DENIED:
                raise
            return warn("unknown", "the credentials do not allow reading the bucket's rules")
        retention = int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds") or 0)
        if found.get("versioning", {}).get("enabled"):
            return warn(
                "versions-kept",
                "the bucket keeps versions: the bytes of a removed attachment remain, readable "
                "with credentials",
                "add a lifecycle rule that deletes them, as data protection may require:",
                "$ rex attach sweep --lifecycle --noncurrent 1d",
            )
        if retention:
            name = shlex.quote(self._bucket.name)
            return warn(
                "versions-kept",
                f"the bucket keeps deleted objects for {retention / 86400:g} days: the bytes of a "
                "removed attachment can be restored",
                "disable soft delete, as data protection may require:",
                f"$ gcloud storage buckets update gs://{name} --clear-soft-delete",
            )
        return ok("the bucket keeps no deleted objects: a removed attachment is gone")

    # Advice.

    def advice(self, step: str, error: Error) -> Sequence[str]:
        if error.kind is Kind.DENIED and step in _PERMISSIONS:
            return self._grant(_PERMISSIONS[step])
        return super().advice(step, error)

    def _grant(self, permission: str) -> Sequence[str]:
        """Return advice about a missing permission."""
        name, email = shlex.quote(self._bucket.name), self._bucket.credentials.email or "…"
        member = shlex.quote(f"serviceAccount:{email}")
        command = f"$ gcloud storage buckets add-iam-policy-binding gs://{name}"
        return (
            f"the credentials lack the permission {permission}, which {ROLE} has:",
            f"{command} --member {member} --role {ROLE}",
        )

    def explain_refusal(self, method: str, answer: Answer) -> Check:
        text = answer.body.decode(errors="replace")
        code = element(text, "Code")
        found = f"{method} to {self._bucket.url} returned the status {answer.status} {code}"
        if code == "AccessDenied":
            needed = {"GET": "storage.objects.get"}.get(method, "storage.objects.create")
            return fail("no-permission", found, *self._grant(needed))
        if code:
            return fail("link-refused", f"{found}: {element(text, 'Message')[:200]}")
        return fail(
            "not-gcs",
            f"{found.rstrip()}, and the response is not from Google Cloud Storage",
            "a proxy answers in place of the server: it must pass the links on unchanged",
        )

    def unreachable(self, failure: Unreachable) -> Check:
        text = f"{self._bucket.endpoint} cannot be reached: {failure}"
        return fail("unreachable", text, "clients must reach the address of the server")

    def not_shared(self, origin: str) -> Sequence[str]:
        command = f"$ rex attach cors --origin {shlex.quote(origin)} --apply"
        return "add a CORS rule to the bucket; this needs storage.buckets.update:", command

    def discard(self, handle: str) -> None:
        with self._gcs.map_errors(handle):
            self._bucket.delete(self._bucket.path(handle[1:]))

    def mask(self, text: str) -> str:
        return re.sub(r"(X-Goog-Signature=|Bearer )[\w.%-]+", r"\1…", text)
