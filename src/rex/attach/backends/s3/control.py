"""S3 requests other than plain object requests: multipart uploads, listings, bucket rules.

botocore sends the requests; its import takes a third of a second, so the first request imports it.
"""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rex.attach.backend.multipart import MAX_PARTS, Part
from rex.attach.backends.objects.requests import Listed, ServerFailure, retry
from rex.attach.backends.s3.client import make_client
from rex.attach.backends.s3.codes import CONTROL_CODES
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Mapping, Sequence

    from rex.attach.backends.s3.credentials import CredentialsProvider

__all__ = ["Found", "Kept", "S3Control", "S3Failure"]

PASSING = frozenset(
    {
        "BadDigest",
        "InternalError",
        "MalformedAnswer",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
    }
)
"""The codes after which a retry may succeed."""


class S3Failure(ServerFailure):
    """An error response of the server, with the code and message of S3; or no response."""

    codes = CONTROL_CODES
    passing = PASSING


class Found(NamedTuple):
    """The size and ETag of an object."""

    size: int
    etag: str


class Kept(NamedTuple):
    """A small object and its content."""

    content: bytes
    age: float
    """Seconds since it was stored, by the server's clock."""


class S3Control:
    """A client for one bucket; keys are those of objects, with the prefix of the storage.

    Transient failures are retried for `timeout` seconds. With `checksums`, every part has a
    checksum, which the server verifies. Errors: `S3Failure`, and the errors of the credentials.
    Safe to use from any thread, and in a forked child.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str,
        region: str,
        addressing: str,
        credentials: CredentialsProvider,
        certificates: str | None,
        timeout: float,
        checksums: bool,
        folder: str = "",
    ) -> None:
        """Make no request yet; `folder` is for the storage's own objects, with a final slash."""
        self.folder = folder
        self._bucket = bucket
        self._endpoint = endpoint
        self._region = region
        self._addressing = addressing
        self._credentials = credentials
        self._certificates = certificates
        self.timeout = timeout
        self._checksums = checksums
        self._made: tuple[int, Any] = (0, None)

    def __repr__(self) -> str:
        return f"S3Control({self._bucket!r}, endpoint={self._endpoint!r})"

    # Multipart uploads.

    def create_multipart(
        self, key: str, headers: Mapping[str, str], metadata: Mapping[str, str] | None = None
    ) -> str:
        """Create a multipart upload; return its id.

        `headers` are those of `object_headers`; `metadata` becomes the user metadata of the object.
        """
        given: dict[str, object] = {name.replace("-", ""): value for name, value in headers.items()}
        answer = self._ask(
            "create_multipart_upload", "UploadId", Key=key, Metadata=dict(metadata or {}), **given
        )
        return str(answer["UploadId"])

    def list_multiparts(self, key: str) -> list[str]:
        """Return the ids of the unfinished multipart uploads of a key."""
        page = self._ask("list_multipart_uploads", "Bucket", Prefix=key)
        uploads = page.get("Uploads", ())
        return [upload["UploadId"] for upload in uploads if upload["Key"] == key]

    def list_uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime.datetime]]:
        """Yield key, id and creation time of the unfinished multipart uploads with a prefix."""
        markers: dict[str, str] = {}
        while True:
            page = self._ask("list_multipart_uploads", "Bucket", Prefix=prefix, **markers)
            for upload in page.get("Uploads", ()):
                yield upload["Key"], upload["UploadId"], upload["Initiated"]
            following = {
                "KeyMarker": page.get("NextKeyMarker", ""),
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }
            if not page.get("IsTruncated") or following == markers:
                return
            markers = following

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> Part:
        """Upload a part; all parts except the last must have at least 5 MiB.

        The checksum is Content-MD5, which works with any upload. The other checksums must be
        declared when an upload is created, and repeated when it is completed.
        """
        given = {}
        if self._checksums:
            md5 = hashlib.md5(data, usedforsecurity=False)
            given["ContentMD5"] = base64.b64encode(md5.digest()).decode()
        answer = self._ask(
            "upload_part",
            "ETag",
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            **given,
        )
        return Part(number, len(data), answer["ETag"])

    def list_parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Return the parts on the server, in the order of their numbers."""
        parts: dict[int, Part] = {}
        marker = 0
        while True:
            page = self._ask(
                "list_parts", "UploadId", Key=key, UploadId=upload_id, PartNumberMarker=marker
            )
            for part in page.get("Parts", ()):
                number = part["PartNumber"]
                parts[number] = Part(number, part["Size"], part["ETag"])
            # SeaweedFS lists part 10,000 before 1,000, and considers all parts after it listed.
            following = max((number for number in parts if number < MAX_PARTS), default=0)
            if not page.get("IsTruncated") or following <= marker:
                return (parts[number] for number in sorted(parts))
            marker = following

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """Complete an upload unless the key has an object; return the ETag of the new object.

        If the server does not support conditional completion, the request is repeated without the
        condition; see `completion.complete`.
        """
        named = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        request = {"Key": key, "UploadId": upload_id, "MultipartUpload": {"Parts": named}}
        complete = "complete_multipart_upload"
        try:
            answer = self._ask(complete, "ETag", **request, IfNoneMatch="*")
        except S3Failure as failure:
            if failure.code != "NotImplemented":
                raise
            answer = self._ask(complete, "ETag", **request)
        return str(answer["ETag"])

    def head(self, key: str) -> Found | None:
        """Return the size and ETag of an object, or None if it does not exist."""
        try:
            answer = self._ask("head_object", "ETag", "ContentLength", Key=key)
        except S3Failure as failure:
            if failure.code in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        return Found(answer["ContentLength"], answer["ETag"])

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload and remove its parts."""
        self._ask("abort_multipart_upload", Key=key, UploadId=upload_id)

    # Objects.

    def objects(self, prefix: str, after: str | None = None) -> Iterator[Listed]:
        """Yield the objects with a prefix and after a key, in the order of their keys.

        The keys are unchanged: obstore would trim slashes, and reject some keys that other programs
        may have created.
        """
        options: dict[str, str] = {} if after is None else {"StartAfter": after}
        while True:
            page = self._ask("list_objects_v2", "IsTruncated", Prefix=prefix, **options)
            for found in page.get("Contents", ()):
                yield Listed(found["Key"], found["Size"], found["LastModified"])
            following = page.get("NextContinuationToken")
            if not page["IsTruncated"] or not following:
                return
            options = {"ContinuationToken": following}

    def create(self, key: str, content: bytes) -> bool:
        """Store a small object unless the key exists; return whether the object was stored."""
        try:
            self._ask("put_object", "ETag", Key=key, Body=content, IfNoneMatch="*")
        except S3Failure as failure:
            if failure.kind is Kind.EXISTS:
                return False
            raise
        return True

    def read(self, key: str) -> Kept | None:
        """Return a small object, or None if it does not exist."""
        try:
            answer = self._ask("get_object", "LastModified", Key=key)
            with _explain_errors():
                content = answer["Body"].read()
        except S3Failure as failure:
            if failure.code in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return Kept(content, (now - answer["LastModified"]).total_seconds())

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._ask("delete_object", Key=key)

    # Bucket rules.

    def cors(self) -> list[dict[str, Any]]:
        """Return the CORS rules of the bucket in the format of S3; empty if none are set."""
        try:
            rules: list[dict[str, Any]] = self._ask("get_bucket_cors")["CORSRules"]
        except S3Failure as failure:
            if failure.code == "NoSuchCORSConfiguration":
                return []
            raise
        return rules

    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace all CORS rules of the bucket."""
        self._ask("put_bucket_cors", CORSConfiguration={"CORSRules": rules})

    # Versions.

    def keeps_versions(self) -> bool:
        """Return whether the bucket keeps removed and replaced objects as older versions."""
        try:
            return self._ask("get_bucket_versioning").get("Status") == "Enabled"
        except S3Failure as failure:
            if failure.kind is Kind.UNSUPPORTED:
                return False
            raise

    # Requests.

    def _ask(self, operation: str, *required: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, retrying for `timeout` seconds; the result has the `required` fields."""
        return retry(lambda: self.ask_once(operation, *required, **arguments), self.timeout)

    def ask_once(self, operation: str, *required: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation of botocore, without retries."""
        with _explain_errors():
            client = self._client()
            answer: dict[str, Any] = getattr(client, operation)(Bucket=self._bucket, **arguments)
        if any(name not in answer for name in required):
            raise S3Failure("MalformedAnswer", f"the response lacks one of {', '.join(required)}")
        return answer

    def _client(self) -> Any:
        # A fork must not share connections with its parent. Concurrent threads may each make a
        # client; the last client stays.
        process, client = self._made
        if process != os.getpid():
            client = make_client(
                self._endpoint,
                self._region,
                self._credentials,
                addressing=self._addressing,
                certificates=self._certificates,
                timeout=self.timeout,
            )
            self._made = (os.getpid(), client)
        return client


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Convert exceptions of botocore to `S3Failure`, without data of the request."""
    try:
        yield
    except Error:
        raise
    except Exception as failure:  # noqa: BLE001 - botocore and its libraries may raise any
        answer = getattr(failure, "response", None)
        if not isinstance(answer, dict):
            raise S3Failure(type(failure).__name__, is_passing=_is_of_network(failure)) from None
        error = answer.get("Error", {})
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        is_passing = status in (429, 500, 502, 503, 504)
        raise S3Failure(code or type(failure).__name__, message, is_passing=is_passing) from None


def _is_of_network(failure: Exception) -> bool:
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, SSLError
    from botocore.parsers import ResponseParserError

    passing = (HTTPClientError, NoConnection, ResponseParserError)
    return isinstance(failure, passing) and not isinstance(failure, SSLError)
