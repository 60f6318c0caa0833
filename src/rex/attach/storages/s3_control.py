"""What an S3 server is asked besides objects: uploads in parts, and which sites may use a bucket.

botocore does it; it is imported when it is first needed, since that takes a third of a second.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rex.attach.multipart import MAX_PARTS, Part
from rex.attach.storages.s3_codes import S3_CODES
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Mapping

    from rex.attach.signing.credentials import CredentialsProvider

__all__ = ["S3Control", "S3Failure"]

ATTEMPTS = 2
CONNECT_SECONDS = 5
MAX_TEXT = 300


class S3Failure(Exception):  # noqa: N818 - an `Error` is made of it
    """What the server answered instead: S3's own code and message, or none if there was none.

    `kind` and `phrase` say what it means.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.kind, phrase = _BY_CODE.get(code, _UNKNOWN)
        details = ": ".join(text for text in (code, message) if text)[:MAX_TEXT]
        is_vague = self.kind is Kind.UNAVAILABLE and details.isprintable()
        self.phrase = f"{phrase} ({details})" if is_vague else phrase


class S3Control:
    """Asks a server about one bucket; keys are those of objects, with the storage's prefix.

    Errors are `S3Failure`, and those of the credentials. May be used from any thread, and in a
    forked child.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str,
        region: str,
        addressing: str,
        credentials: CredentialsProvider,
        ca_file: str | None,
        timeout: float,
    ) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        self._region = region
        self._addressing = addressing
        self._credentials = credentials
        self._ca_file = ca_file
        self._timeout = timeout
        self._made: tuple[int, Any] = (0, None)

    def __repr__(self) -> str:
        return f"S3Control({self._bucket!r}, endpoint={self._endpoint!r})"

    # Uploads in parts.

    def create_multipart(
        self, key: str, headers: Mapping[str, str], metadata: Mapping[str, str] | None = None
    ) -> str:
        """Begin an upload; give its id. The headers are those of `object_headers`."""
        answer = self._ask(
            "create_multipart_upload",
            Key=key,
            Metadata=dict(metadata or {}),
            **{name.replace("-", ""): value for name, value in headers.items()},
        )
        upload_id: str = answer["UploadId"]
        return upload_id

    def list_multiparts(self, key: str) -> list[str]:
        """Give the ids of the uploads that have begun for a key and not ended."""
        uploads = self._ask("list_multipart_uploads", Prefix=key).get("Uploads", ())
        return [upload["UploadId"] for upload in uploads if upload["Key"] == key]

    def unfinished(self, prefix: str) -> Iterator[tuple[str, str, datetime.datetime]]:
        """Give the uploads behind a prefix that have not ended: key, id, and when each began."""
        markers: dict[str, str] = {}
        while True:
            page = self._ask("list_multipart_uploads", Prefix=prefix, **markers)
            for upload in page.get("Uploads", ()):
                yield upload["Key"], upload["UploadId"], upload["Initiated"]
            following = {
                "KeyMarker": page.get("NextKeyMarker", ""),
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }
            if not page.get("IsTruncated") or following == markers:
                return
            markers = following

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Send one part, of at least 5 MiB unless it is the last; give its ETag."""
        answer = self._ask("upload_part", Key=key, UploadId=upload_id, PartNumber=number, Body=data)
        etag: str = answer["ETag"]
        return etag

    def list_parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Give the parts that are there, in the order of their numbers."""
        parts: dict[int, Part] = {}
        marker = 0
        while True:
            page = self._ask("list_parts", Key=key, UploadId=upload_id, PartNumberMarker=marker)
            for part in page.get("Parts", ()):
                number = part["PartNumber"]
                parts[number] = Part(number=number, size=part["Size"], etag=part["ETag"])
            # SeaweedFS lists part 10,000 before 1,000, and takes all after it for listed.
            following = max((number for number in parts if number < MAX_PARTS), default=0)
            if not page.get("IsTruncated") or following <= marker:
                return iter(sorted(parts.values()))
            marker = following

    def complete(self, key: str, upload_id: str, parts: Iterable[tuple[int, str]]) -> None:
        """Make the object of the parts (number and ETag), unless there is one.

        Not every server can make that a condition; the others replace what is there.
        """
        named = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        asked = {"Key": key, "UploadId": upload_id, "MultipartUpload": {"Parts": named}}
        try:
            self._ask("complete_multipart_upload", **asked, IfNoneMatch="*")
        except S3Failure as failure:
            if failure.code != "NotImplemented":
                raise
            self._ask("complete_multipart_upload", **asked)

    def abort(self, key: str, upload_id: str) -> None:
        """End an upload and remove its parts."""
        self._ask("abort_multipart_upload", Key=key, UploadId=upload_id)

    # Which sites' pages may use the bucket.

    def cors(self) -> list[dict[str, Any]]:
        """Give the rules of the bucket in S3's words; none where nobody has set any."""
        try:
            rules: list[dict[str, Any]] = self._ask("get_bucket_cors")["CORSRules"]
        except S3Failure as failure:
            if failure.code == "NoSuchCORSConfiguration":
                return []
            raise
        return rules

    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace all rules of the bucket."""
        self._ask("put_bucket_cors", CORSConfiguration={"CORSRules": rules})

    # How the server is asked.

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        client = self._client()
        with _explained():
            answer: dict[str, Any] = getattr(client, operation)(Bucket=self._bucket, **arguments)
        return answer

    def _client(self) -> Any:
        # Connections are not shared with the process that this one was forked from. Threads that
        # come here at once make a client each, and one of them stays.
        process, client = self._made
        if process != os.getpid():
            client = self._make_client()
            self._made = (os.getpid(), client)
        return client

    def _make_client(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        # Nothing in the environment or in the files of AWS may turn against our settings.
        nothing = {
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
        session = Session(session_vars=nothing)
        session.register_component("credential_provider", _Provider(self._credentials))
        config = Config(
            signature_version="s3v4",
            connect_timeout=min(CONNECT_SECONDS, self._timeout),
            read_timeout=self._timeout,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3={
                "addressing_style": self._addressing,
                "us_east_1_regional_endpoint": "regional",
            },
            use_dualstack_endpoint=False,
            use_fips_endpoint=False,
            # Not every server knows the checksums that botocore would add.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent="rex-attach",
        )
        client = session.create_client(
            "s3",
            region_name=self._region,
            endpoint_url=self._endpoint,
            verify=self._ca_file or ssl.get_default_verify_paths().cafile,
            config=config,
        )
        client.meta.events.register_last("before-parameter-build.s3", _stay)
        return client


def _stay(context: dict[str, Any], **_: object) -> None:
    """Have botocore believe that it has followed a redirect already, so that it follows none."""
    context.setdefault("s3_redirect", {})["redirected"] = True


class _Provider:
    """What botocore asks for the keys of the moment."""

    def __init__(self, credentials: CredentialsProvider) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Any:
        from botocore.credentials import Credentials, ReadOnlyCredentials

        ours = self._credentials

        class Keys(Credentials):  # type: ignore[misc]  # botocore has no types
            """Our keys as botocore takes them; they are asked for anew for each request."""

            def get_frozen_credentials(self) -> ReadOnlyCredentials:
                now = ours()
                return ReadOnlyCredentials(now.access_key, now.secret_key, now.session_token)

        # The two that are given here are never used.
        return Keys("", "")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what botocore raises into `S3Failure`, without what it knows of the request."""
    try:
        yield
    except Error:
        raise
    except Exception as failure:  # noqa: BLE001 - whatever botocore or a library below it raises
        answer = getattr(failure, "response", None)
        error = answer.get("Error", {}) if isinstance(answer, dict) else {}
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        raise S3Failure(code or type(failure).__name__, message) from None


_UNKNOWN = (Kind.UNAVAILABLE, "The server does not answer as it should")

_BY_CODE = {
    **S3_CODES,
    "NoSuchUpload": (Kind.NOT_FOUND, "There is no such upload"),
    "NoSuchKey": (Kind.NOT_FOUND, "There is no such upload"),
    "InvalidPart": (Kind.CONFLICT, "The parts on the server are not those that were named"),
    "InvalidPartOrder": (Kind.ILL_FORMED, "The parts are not in the order of their numbers"),
    "InvalidRequest": (Kind.ILL_FORMED, "The server does not understand the request"),
    "InvalidArgument": (Kind.ILL_FORMED, "The server does not understand the request"),
    "EntityTooSmall": (Kind.ILL_FORMED, "A part but the last is smaller than 5 MiB"),
    "PreconditionFailed": (Kind.EXISTS, "Attachment exists already"),
    "ConditionalRequestConflict": (Kind.EXISTS, "Attachment exists already"),
    "MethodNotAllowed": S3_CODES["NotImplemented"],
}
