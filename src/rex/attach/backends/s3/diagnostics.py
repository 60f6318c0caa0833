"""The diagnosis of a bucket: the features of S3 besides the operations, and advice."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import shlex
from typing import TYPE_CHECKING

from rex.attach.backend.diagnostics import Step, fail, ok, warn
from rex.attach.backends.s3.check import element
from rex.attach.backends.s3.completion import complete
from rex.attach.backends.s3.control import S3Failure
from rex.attach.backends.s3.settings_diagnostics import HOST_ADVICE, S3SettingsDoctor
from rex.attach.links.client import Unreachable
from rex.attach.links.sigv4 import encode_path, presign_url
from rex.attach.storage.cors import METHODS
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rex.attach.backend.diagnostics import Check
    from rex.attach.backends.s3.bucket import Bucket
    from rex.attach.links.client import Answer
    from rex.attach.storage import Storage

__all__ = ["S3Doctor"]

CONTENT = b"one part, the last one"
TOO_LARGE = 413
BLOCKED = (403, 405)

_PERMISSIONS = {
    "list": "s3:ListBucket",
    "write": "s3:PutObject",
    "conditional write": "s3:GetObject",  # after a conflict, put reads the existing object
    "post link": "s3:PutObject",
    "put link": "s3:PutObject",
    "read": "s3:GetObject",
    "range read": "s3:GetObject",
    "info": "s3:GetObject",
    "get link": "s3:GetObject",
    "remove": "s3:DeleteObject",
}
_MULTIPART_STEPS = ("checksum", "multipart", "conditional completion")
"""The steps that need several permissions in turn: see `S3Doctor._needed`."""
_OF_BUCKET = ("s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning")
_BY_METHOD = {"POST": "s3:PutObject", "PUT": "s3:PutObject", "GET": "s3:GetObject"}


_PUBLIC = (
    "attach_s3_public_endpoint must be an address of the same server as attach_s3_endpoint, which "
    "clients and this machine can reach"
)
_MISLED = {
    "SignatureDoesNotMatch": ("a proxy changes the header Host", HOST_ADVICE),
    "InvalidAccessKeyId": ("that is a different S3 server", _PUBLIC),
    "NoSuchBucket": ("that is a different S3 server", _PUBLIC),
}
"""The cause of a refused link by error code, provided that the credentials are right; advice."""


class S3Doctor(S3SettingsDoctor):
    """Diagnoses a bucket and its configuration."""

    methods = METHODS

    def __init__(self, storage: Storage, bucket: Bucket) -> None:
        super().__init__(storage, bucket)
        self._needed = ""
        self._lacking: set[str] = set()

    def more(self, reserve: Callable[[], str]) -> list[Step]:
        return [
            Step("checksum", functools.partial(self._checksum, reserve), ("write",)),
            Step("multipart", functools.partial(self._multipart, reserve), ("write",)),
            Step(
                "conditional completion",
                functools.partial(self._completion, reserve),
                ("multipart",),
            ),
            Step("versions", self._versions, ("write",)),
        ]

    # Features of S3 besides the operations.

    def _checksum(self, reserve: Callable[[], str]) -> Check:
        """Send an object and a part with wrong checksums, as if damaged in transit."""
        self._needed = "s3:PutObject"
        verified = "the server does not detect data damaged in transit; rex attach verify does"
        if not self._bucket.config.checksums:
            return warn("no-checksums", "checksums are disabled (attach_s3_checksums)", verified)
        handle = reserve()
        if self._send_with(reserve(), CONTENT, b"other").ok:
            return warn("checksums-ignored", "the server accepts a damaged object", verified)
        if not self._send_with(handle, CONTENT, CONTENT).ok:
            return fail(
                "checksums-refused",
                "the server rejects requests with checksums",
                "attach_s3_checksums=false",
            )
        if self._takes_damaged_part(reserve()):
            return warn(
                "part-checksums-ignored",
                "the server rejects a damaged object, but accepts a damaged part",
                verified,
            )
        head = self._send("HEAD", handle, {"x-amz-checksum-mode": "ENABLED"})
        stored = "stored" if head.headers.get("x-amz-checksum-sha256") else "not stored"
        return ok(f"the server rejects damaged data; the SHA-256 is {stored}")

    def _takes_damaged_part(self, handle: str) -> bool:
        uploads, control = self._s3.multipart, self._bucket.control
        upload_id = uploads.create(handle, "text/plain")
        part = {"Key": self._s3.key_of_handle(handle), "UploadId": upload_id, "PartNumber": 1}
        md5 = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
        try:
            control.ask_once("upload_part", Body=CONTENT, ContentMD5=md5, **part)
        except S3Failure:
            return False
        finally:
            self._abort(handle, upload_id)
        return True

    def _completion(self, reserve: Callable[[], str]) -> Check:
        """Complete two uploads of one handle, like two concurrent clients."""
        uploads, control, handle = self._s3.multipart, self._bucket.control, reserve()
        key = self._s3.key_of_handle(handle)
        begun: list[str] = []
        try:
            begun.append(uploads.create(handle, "text/plain"))
            begun.append(uploads.create(handle, "text/plain"))
            with self._s3.map_errors(handle):
                parts = [control.upload_part(key, each, 1, CONTENT) for each in begun]
                complete(control, key, begun[0], [parts[0]])
                is_replaced = self._completes(key, begun[1], parts[1].etag)
        finally:
            for upload_id in begun:
                self._abort(handle, upload_id)
        if is_replaced:
            return warn(
                "completion-not-conditional",
                "completion is not conditional: of two concurrent uploads of more than 8 MiB to "
                "one handle, the later upload replaces the earlier one",
                "use a new handle for each upload, as add and the service do",
            )
        return ok("completing an upload does not replace an existing object")

    def _send_with(self, handle: str, content: bytes, summed: bytes) -> Answer:
        digest = base64.b64encode(hashlib.sha256(summed).digest()).decode()
        return self._send("PUT", handle, {"x-amz-checksum-sha256": digest}, content)

    def _send(
        self, method: str, handle: str, headers: dict[str, str], content: bytes | None = None
    ) -> Answer:
        now, credentials, *_ = self._bucket.term(60)
        url = presign_url(
            method,
            f"{self._bucket.url}/{encode_path(self._bucket.path(handle[1:]))}",
            headers=headers,
            credentials=credentials,
            region=self._bucket.region,
            expires=60,
            now=now,
        )
        try:
            return self.client.send(method, url, headers, content)
        except Unreachable as failure:
            raise Error(
                "The S3 server does not respond",
                failure,
                kind=Kind.UNAVAILABLE,
                code="server-unreachable",
            ) from None

    def _multipart(self, reserve: Callable[[], str]) -> Check:
        uploads, control = self._s3.multipart, self._bucket.control
        handle, other = reserve(), reserve()
        begun: dict[str, str] = {}
        try:
            self._needed = "s3:PutObject"
            begun[handle] = uploads.create(handle, "text/plain")
            with self._s3.map_errors(handle):
                part = control.upload_part(
                    self._s3.key_of_handle(handle), begun[handle], 1, CONTENT
                )
            self._needed = "s3:ListMultipartUploadParts"
            if [part] != [*uploads.parts(handle, begun[handle])]:
                return fail("part-not-listed", "the server does not list the uploaded part")
            self._needed = "s3:GetObject"  # completion reads the object before and after
            uploads.complete(handle, begun[handle], [(1, part.etag)])
            del begun[handle]
            begun[other] = uploads.create(other, "text/plain")
            self._needed = "s3:ListBucketMultipartUploads"
            with self._s3.map_errors(other):
                control.list_multiparts(self._s3.key_of_handle(other))
            self._needed = "s3:AbortMultipartUpload"
            uploads.abort(other, begun[other])
            del begun[other]
        finally:
            for each, upload_id in begun.items():
                self._abort(each, upload_id)
        return ok("one multipart upload completed, and one aborted")

    def _abort(self, handle: str, upload_id: str) -> None:
        """Abort an upload after a failure; an error here replaces that failure."""
        needed, self._needed = self._needed, "s3:AbortMultipartUpload"
        try:
            self._s3.multipart.abort(handle, upload_id)
        except Error as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
        self._needed = needed

    def _completes(self, key: str, upload_id: str, etag: str) -> bool:
        """Return whether a conditional completion succeeds although the object exists."""
        try:
            self._bucket.control.ask_once(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
                IfNoneMatch="*",
            )
        except S3Failure:
            return False
        return True

    def _versions(self) -> Check:
        try:
            if not self._bucket.control.keeps_versions():
                return ok("the bucket keeps no versions: a removed attachment is gone")
        except S3Failure as failure:
            if failure.kind is not Kind.DENIED:
                raise
            permission = "s3:GetBucketVersioning"
            return warn(
                "unknown", "reading the versioning of the bucket failed", *self._policy(permission)
            )
        return warn(
            "versions-kept",
            "the bucket keeps versions: the bytes of a removed attachment remain, readable with "
            "credentials",
            "add a lifecycle rule that deletes them, as data protection may require:",
            "$ rex attach sweep --lifecycle --noncurrent 1d",
        )

    # Advice.

    def advice(self, step: str, error: Error) -> Sequence[str]:
        permission = self._needed if step in _MULTIPART_STEPS else _PERMISSIONS.get(step)
        if step == "remove" and "s3:GetObject" in self._lacking:
            permission = "s3:GetObject"  # remove reads the object first
        if error.kind is Kind.DENIED and permission is not None:
            remains = f"an unfinished multipart upload remains: {error.payload}"
            is_left = permission == "s3:AbortMultipartUpload"
            return (*self._policy(permission), *([remains] if is_left else []))
        if error.kind is Kind.UNSUPPORTED and step == "write":
            return ("update the server: it must support conditional writes (If-None-Match on PUT)",)
        return super().advice(step, error)

    def _policy(self, permission: str) -> Sequence[str]:
        """Return advice about a missing permission, with an IAM policy the first time."""
        if permission in self._lacking:
            return (f"the credentials lack the permission {permission}",)
        self._lacking.add(permission)
        arn = f"arn:aws:s3:::{self._bucket.name}"
        statement = {
            "Effect": "Allow",
            "Action": permission,
            "Resource": arn if permission in _OF_BUCKET else f"{arn}/{self._bucket.prefix}*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        return f"the credentials lack the permission {permission}; this policy grants it:", policy

    def explain_refusal(self, method: str, answer: Answer) -> Check:
        code = element(answer.body, "Code")
        url = self._bucket.public_url
        found = f"{method} to {url} returned the status {answer.status} {code}".rstrip()
        if code == "AccessDenied":
            return fail("no-permission", found, *self._policy(_BY_METHOD[method]))
        if code in _MISLED:
            meaning, advice = _MISLED[code]
            return fail("link-refused", f"{found}: {meaning}", advice)
        if code:
            return fail("link-refused", f"{found}: {element(answer.body, 'Message')}")
        found = f"{found}, and the response is not from an S3 server"
        if answer.status == TOO_LARGE:
            advice = "let the proxy accept bodies of attach_max_size (nginx: client_max_body_size)"
            return fail("proxy-limit", found, advice)
        if answer.status in BLOCKED and method != "GET":
            advice = f"the proxy or firewall in front of the server must allow {method}; or else,"
            return fail("proxy-blocks", found, advice, _PUBLIC)
        return fail("not-s3", found, _PUBLIC)

    def unreachable(self, failure: Unreachable) -> Check:
        return fail(
            "unreachable", f"{self._bucket.public_url} cannot be reached: {failure}", _PUBLIC
        )

    def not_shared(self, origin: str) -> Sequence[str]:
        return (
            "add a CORS rule to the bucket, and check that no proxy removes the header Origin:",
            f"$ rex attach cors --origin {shlex.quote(origin)} --apply",
            json.dumps({"CORSRules": [self._s3.cors.make_rule([origin])]}),
        )

    def discard(self, handle: str) -> None:
        # Unlike `remove`, this needs no permission to read.
        with self._s3.map_errors(handle):
            self._bucket.delete(self._bucket.path(handle[1:]))
