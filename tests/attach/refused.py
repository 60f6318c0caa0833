"""Links that are broken on purpose, and what a real server answers to them, as `curl -i` has it."""

from __future__ import annotations

import dataclasses
import http.client
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit

import requests

from attach.s3_storage import s3_storage
from programs import PATIENCE
from rex.attach.backends.s3 import bucket as s3_bucket
from rex.attach.links.sigv4 import Credentials, presign_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach.links.link import PresignedLink
    from rex.attach_demo.seaweedfs import SeaweedFS

__all__ = ["BROKEN", "Refused", "ask", "raw", "storage_on"]

TOKEN = "canary/session+token=="


class Refused(NamedTuple):
    """A link, what was answered to it, and what else is told of the request."""

    link: str
    response: bytes
    method: str | None = None
    headers: Mapping[str, str] | None = None


def storage_on(server: SeaweedFS, **options: Any) -> S3Storage:
    """Give a storage on the server; options are other settings than the right ones."""
    given = {
        "bucket": server.bucket,
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "prefix": "explain",
        **options,
    }
    return s3_storage(given.pop("bucket"), **given)


def ask(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Send a request just so; give the answer with its headers."""
    headers = {"Content-Length": str(len(body)), **(headers or {})}
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        target = url.removeprefix(f"{parts.scheme}://{parts.netloc}")
        connection.putrequest(method, target, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return raw(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def raw(status: int, headers: Any, body: bytes) -> bytes:
    """Write an answer as `curl -i` does."""
    lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def post(
    link: PresignedLink, changes: Mapping[str, str] | None = None, content: bytes = b"content"
) -> bytes:
    """Send a form with some fields changed or added."""
    fields = {**link.fields, **(changes or {})}
    answer = requests.post(link.url, data=fields, files={"file": content}, timeout=PATIENCE)
    return raw(answer.status_code, answer.headers.items(), answer.content)


def signed(server: SeaweedFS, method: str = "GET", **changes: Any) -> str:
    """Sign a link to something that is not there."""
    options = {
        "credentials": server.credentials["admin"],
        "region": server.region,
        "expires": 600,
        "now": datetime.now(UTC),
        **changes,
    }
    return presign_url(method, f"{server.endpoint}/{server.bucket}/explain/a.txt", **options)


def get(url: str) -> Refused:
    """Ask for a link."""
    return Refused(url, ask("GET", url))


def put(server: SeaweedFS) -> PresignedLink:
    """Make a link that works once."""
    storage = storage_on(server)
    return storage.upload_link(storage.reserve("scan.png"), method="PUT")


def form(server: SeaweedFS, *, minutes: int = 0, **options: Any) -> PresignedLink:
    """Make a form, some minutes ago."""
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)
    storage = storage_on(server, **options)
    with mock.patch.object(s3_bucket, "_now", return_value=past):
        return storage.upload_link(storage.reserve("scan.png"), max_size=10, expires=60)


def as_json(link: PresignedLink) -> str:
    """Give what `rex attach link --json` prints."""
    return json.dumps(link.as_dict())


def expired(server: SeaweedFS) -> Refused:
    """Sign two hours ago, for ten minutes."""
    return get(signed(server, now=datetime.now(UTC) - timedelta(hours=2)))


def expired_form(server: SeaweedFS) -> Refused:
    """Sign a form two hours ago."""
    link = form(server, minutes=120)
    return Refused(as_json(link), post(link))


def other_host(server: SeaweedFS) -> Refused:
    """Have another name for the host in the link than was signed."""
    return get(signed(server).replace("127.0.0.1", "localhost"))


def rewritten_host(server: SeaweedFS) -> Refused:
    """Ask as a proxy does that rewrites Host."""
    url = signed(server)
    return Refused(url, ask("GET", url, {"Host": "storage.internal"}), "GET")


def other_method(server: SeaweedFS) -> Refused:
    """Download with a link for an upload."""
    url = put(server).url
    return Refused(url, ask("GET", url), "GET")


def other_path(server: SeaweedFS) -> Refused:
    """Ask for another attachment than was signed."""
    return get(signed(server).replace("a.txt", "b.txt"))


def reencoded_path(server: SeaweedFS) -> Refused:
    """Have a space of the name made a plus."""
    url = presign_url(
        "GET",
        f"{server.endpoint}/{server.bucket}/explain/a%20b.txt",
        credentials=server.credentials["admin"],
        region=server.region,
        expires=600,
        now=datetime.now(UTC),
    )
    return get(url.replace("a%20b", "a+b"))


def added_parameter(server: SeaweedFS) -> Refused:
    """Have a parameter added."""
    return get(f"{signed(server)}&response-content-type=text%2Fhtml")


def longer(server: SeaweedFS) -> Refused:
    """Have it last longer than was signed."""
    return get(signed(server).replace("X-Amz-Expires=600", "X-Amz-Expires=86401"))


def unsigned_header(server: SeaweedFS) -> Refused:
    """Send one header more."""
    link = put(server)
    sent = {**link.headers, "x-amz-meta-author": "me"}
    return Refused(link.url, ask("PUT", link.url, sent, b"x"), "PUT", sent)


def missing_type(server: SeaweedFS) -> Refused:
    """Send no Content-Type."""
    link = put(server)
    sent = {name: value for name, value in link.headers.items() if name != "Content-Type"}
    return Refused(link.url, ask("PUT", link.url, sent, b"x"), "PUT", sent)


def other_type(server: SeaweedFS) -> Refused:
    """Send another Content-Type."""
    link = put(server)
    sent = {**link.headers, "Content-Type": "text/plain"}
    return Refused(as_json(link), ask("PUT", link.url, sent, b"x"), "PUT", sent)


def untold_headers(server: SeaweedFS) -> Refused:
    """Send no If-None-Match, and tell nothing of what was sent."""
    link = put(server)
    sent = {name: value for name, value in link.headers.items() if name != "If-None-Match"}
    return Refused(link.url, ask("PUT", link.url, sent, b"x"), "PUT")


def temporary_keys(server: SeaweedFS) -> Refused:
    """Sign with temporary keys that the server does not know."""
    return get(signed(server, credentials=Credentials("ASIA" + "Q" * 16, "secret", TOKEN)))


def cut_token(server: SeaweedFS) -> Refused:
    """Leave out the session token of temporary keys."""
    url = signed(server, credentials=Credentials("ASIA" + "Q" * 16, "secret", TOKEN))
    return get("&".join(part for part in url.split("&") if "Security-Token" not in part))


def wrong_key(server: SeaweedFS) -> Refused:
    """Sign with keys that nobody has."""
    return get(signed(server, credentials=Credentials("AKIA" + "Q" * 16, "secret")))


def wrong_secret(server: SeaweedFS) -> Refused:
    """Sign with another secret."""
    return get(signed(server, credentials=Credentials(server.access_key, "canary")))


def wrong_secret_form(server: SeaweedFS) -> Refused:
    """Sign a form with another secret."""
    link = form(server, secret_key="canary")
    return Refused(as_json(link), post(link))


def no_permission(server: SeaweedFS) -> Refused:
    """Sign with keys that may do nothing."""
    return get(signed(server, credentials=server.credentials["nobody"]))


def no_bucket(server: SeaweedFS) -> Refused:
    """Sign for a bucket that is not there."""
    storage = storage_on(server, bucket="nowhere")
    return get(storage.download_link(storage.reserve("a.txt")).url)


def exists_already(server: SeaweedFS) -> Refused:
    """Upload twice."""
    link = put(server)
    ask("PUT", link.url, link.headers, b"x")
    return Refused(link.url, ask("PUT", link.url, link.headers, b"x"), "PUT", link.headers)


def missing(server: SeaweedFS) -> Refused:
    """Ask for what is not there."""
    return get(signed(server))


def changed_field(server: SeaweedFS) -> Refused:
    """Send a form with another key, which the client tells."""
    link = form(server)
    changed = {"key": "explain/other.png"}
    sent = dataclasses.replace(link, fields={**link.fields, **changed})
    return Refused(as_json(sent), post(link, changed), "POST")


def untold_field(server: SeaweedFS) -> Refused:
    """Send a form with another type, and tell the link as it was made."""
    link = form(server)
    return Refused(as_json(link), post(link, {"Content-Type": "text/html"}))


def added_field(server: SeaweedFS) -> Refused:
    """Send a form with one field more."""
    link = form(server)
    return Refused(as_json(link), post(link, {"x-amz-meta-author": "me"}))


def too_large(server: SeaweedFS) -> Refused:
    """Send more than the form permits."""
    link = form(server)
    return Refused(as_json(link), post(link, content=b"x" * 11))


def html(server: SeaweedFS) -> Refused:
    """Copy it out of HTML."""
    return get(signed(server).replace("&", "&amp;"))


def cut_by_a_shell(server: SeaweedFS) -> Refused:
    """Leave out its quotes in a shell."""
    return get(signed(server).partition("&")[0])


def cut_at_its_end(server: SeaweedFS) -> Refused:
    """Copy all but its end."""
    return get(signed(server)[:-3])


def encoded_twice(server: SeaweedFS) -> Refused:
    """Encode it once more."""
    return get(signed(server).replace("%", "%25"))


def ends_a_sentence(server: SeaweedFS) -> Refused:
    """Copy the full stop, too."""
    return get(f"{signed(server)}.")


BROKEN: dict[Callable[[SeaweedFS], Refused], tuple[str, str | None]] = {
    expired: ("link-expired", None),
    expired_form: ("link-expired", None),
    other_host: ("host-changed", "signed-for-other-host"),
    rewritten_host: ("host-changed", None),
    other_method: ("wrong-method", None),
    other_path: ("path-or-key", "signature-mismatch"),
    reencoded_path: ("path-or-key", "path-encoded"),
    added_parameter: (
        "path-or-key",
        "parameter-changed",
    ),
    longer: ("path-or-key", "parameter-changed"),
    unsigned_header: ("header-added", None),
    missing_type: ("header-missing", None),
    other_type: ("header-changed", None),
    untold_headers: ("header-unlike", None),
    temporary_keys: ("unknown-temporary-key", None),
    cut_token: ("no-session-token", None),
    wrong_key: ("unknown-access-key", None),
    wrong_secret: ("path-or-key", "signature-mismatch"),
    wrong_secret_form: ("policy-or-key", "signature-mismatch"),
    no_permission: ("no-permission", None),
    no_bucket: ("no-bucket", None),
    exists_already: ("exists", None),
    missing: ("not-found", None),
    changed_field: ("field-changed", None),
    untold_field: ("policy-failed", None),
    added_field: ("field-added", None),
    too_large: ("too-large", None),
    html: ("from-html", None),
    cut_by_a_shell: ("incomplete", None),
    cut_at_its_end: ("cut-off", None),
    encoded_twice: ("encoded-twice", None),
    ends_a_sentence: ("end-changed", None),
}
"""What begins the reason that must be told, without settings and, where that is more, with them."""
