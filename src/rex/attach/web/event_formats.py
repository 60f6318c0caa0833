"""The formats in which servers notify of objects: S3, SNS, EventBridge and SeaweedFS.

A notification is untrusted: every value may be missing or have another type.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from rex.core import Error, Kind

__all__ = ["Created", "read_events", "subscription_of"]

_BUCKETS = "/buckets/"
"""The directory of all buckets in a SeaweedFS filer (``filer.options.buckets_folder``)."""

_WRITTEN = ("create", "update")
"""SeaweedFS's types of events that follow a write; a repeated upload is an update."""


class Created(NamedTuple):
    """An object that was stored."""

    bucket: str
    key: str


def read_events(body: dict[str, Any]) -> list[Created | None]:
    """Return the events of a notification; None for an event that is not a stored object.

    Errors: `ILL_FORMED` for another format.
    """
    if body.get("Type") == "Notification":
        body = _message(body)
    records = body.get("Records")
    if isinstance(records, list):
        return [_of_s3(record) for record in records]
    if "detail-type" in body:
        return [_of_event_bridge(body)]
    if "event_type" in body:
        return [_of_seaweedfs(body)]
    # The first is SNS's message about the end of a subscription, the second S3's test.
    if body.get("Type") == "UnsubscribeConfirmation" or body.get("Event") == "s3:TestEvent":
        return [None]
    raise _unknown_format()


def subscription_of(body: dict[str, Any]) -> str | None:
    """Return the URL that confirms a subscription to an SNS topic, or None for other messages."""
    if body.get("Type") != "SubscriptionConfirmation":
        return None
    url = body.get("SubscribeURL")
    if not isinstance(url, str):
        raise _unknown_format()
    return url


def _message(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the message in an SNS envelope, which is JSON in a string."""
    try:
        message = json.loads(envelope["Message"])
    except (KeyError, TypeError, ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _unknown_format()
    return message


def _of_s3(record: object) -> Created | None:
    name = _find(record, "eventName")
    # MinIO's names have the prefix s3:.
    if not isinstance(name, str) or not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return None
    key = _find(record, "s3", "object", "key")
    try:
        key = unquote_plus(key, errors="strict") if isinstance(key, str) else None
    except UnicodeDecodeError:
        return None
    return _created(_find(record, "s3", "bucket", "name"), key)


def _of_event_bridge(body: dict[str, Any]) -> Created | None:
    if body["detail-type"] != "Object Created":
        return None
    detail = body.get("detail")
    return _created(_find(detail, "bucket", "name"), _find(detail, "object", "key"))


def _of_seaweedfs(body: dict[str, Any]) -> Created | None:
    path = body.get("key")
    if body["event_type"] not in _WRITTEN or not isinstance(path, str):
        return None
    is_directory = _find(body, "message", "new_entry", "is_directory")
    if is_directory or not path.startswith(_BUCKETS):
        return None
    bucket, _, key = path.removeprefix(_BUCKETS).partition("/")
    return Created(bucket, key)


def _created(bucket: object, key: object) -> Created | None:
    return Created(bucket, key) if isinstance(bucket, str) and isinstance(key, str) else None


def _find(value: object, *names: str) -> object:
    """Return a member of nested objects, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _unknown_format() -> Error:
    return Error(
        "The body must be an event notification of S3, SNS, EventBridge or SeaweedFS",
        kind=Kind.ILL_FORMED,
    )
