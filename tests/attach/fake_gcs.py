"""A FAKE of Google Cloud Storage: what its documentation says of the requests that we send.

No real server of Google was ever seen by these tests. The fake checks signatures, policies and
tokens with code of its own, keeps preconditions, and forgets half of what a client sends where a
session may do so.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import re
import threading
import uuid
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from python_multipart.multipart import parse_form

from attach.fake_gcs_sessions import Session
from attach.fake_gcs_signatures import Account, Refused, check_range
from attach.v4_cases import EMAIL, KEY

HEADERS = {
    "contentType": "Content-Type",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "cacheControl": "Cache-Control",
}


class Stored(NamedTuple):
    """An object: its bytes, its resource, and when it was stored."""

    data: bytes
    resource: dict[str, Any]
    generation: int
    updated: datetime.datetime

    @property
    def etag(self) -> str:
        """The ETag, with quotation marks."""
        return f'"{self.generation}"'

    def as_json(self, name: str) -> dict[str, Any]:
        """Give the resource as the JSON interface does."""
        md5 = base64.b64encode(hashlib.md5(self.data, usedforsecurity=False).digest()).decode()
        facts = {"name": name, "size": str(len(self.data)), "md5Hash": md5}
        times = {"updated": self.updated.isoformat().replace("+00:00", "Z")}
        return {**self.resource, **facts, **times, "generation": str(self.generation)}


class FakeGCS:
    """A bucket on a fake server; use it in a ``with`` statement."""

    bucket = "attachments"

    def __init__(self) -> None:
        self.account = Account(KEY)
        self.objects: dict[str, Stored] = {}
        self.sessions: dict[str, Session] = {}
        self.rules: dict[str, Any] = {}
        self.denied: set[str] = set()
        """Methods for which the credentials have no permission."""
        self.failures: list[tuple[str, int]] = []
        """The next responses: a method and a status, as of a server in trouble."""
        self.lost: list[str] = []
        """Methods whose next request is done, and answered 503."""
        self.page_size = 1000
        self.lock = threading.RLock()
        self._generation = 0

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def store(self, name: str, data: bytes, resource: dict[str, Any], *, once: bool) -> Stored:
        """Store an object, unless it exists."""
        with self.lock:
            if once and name in self.objects:
                raise Refused(412, "PreconditionFailed", "At least one condition did not hold")
            self._generation += 1
            now = datetime.datetime.now(datetime.UTC)
            self.objects[name] = Stored(data, resource, self._generation, now)
            return self.objects[name]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeGCS
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def handle_one_request(self) -> None:
        """Answer as the method says."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        self.raw_path, self.query = path, dict(parse_qsl(query, keep_blank_values=True))
        fake = self.fake
        try:
            self.fail_as_told(fake)
            self.dispatch(path)
        except Refused as refused:
            self.refuse(refused)
        except ConnectionError:
            self.close_connection = True

    def fail_as_told(self, fake: FakeGCS) -> None:
        """Fail the request, if a test wants it; perhaps after it was done."""
        if fake.failures and fake.failures[0][0] == self.command:
            raise Refused(fake.failures.pop(0)[1], "InternalError", "Try again")
        if self.command in fake.lost:
            fake.lost.remove(self.command)
            answer, self.answer = self.answer, lambda *_, **__: None  # type: ignore[method-assign]
            self.dispatch(self.raw_path)
            self.answer = answer  # type: ignore[method-assign]
            raise Refused(503, "InternalError", "The response was lost")

    def dispatch(self, path: str) -> None:
        """Choose by the path: a session, the JSON interface, or the XML interface."""
        root = f"/storage/v1/b/{self.fake.bucket}"
        if path == "/":
            raise Refused(400, "MissingSecurityHeader")
        if self.command == "OPTIONS":
            self.answer(200)
            return
        if path.startswith("/session/"):
            self.session(path.removeprefix("/session/"))
        elif path.startswith(("/storage/", "/upload/")):
            self.check_token()
            if path == f"/upload{root}/o":
                self.begin()
            elif path == root:
                self.rules()
            elif path == f"{root}/o":
                self.list()
            elif path.startswith(f"{root}/o/"):
                self.of_json(unquote(path.removeprefix(f"{root}/o/")))
            else:
                raise Refused(404, "notFound", "The specified bucket does not exist.")
        else:
            self.xml(path)

    # The XML interface.

    def xml(self, path: str) -> None:
        """PUT, GET, HEAD and POST of an object."""
        bucket, _, name = unquote(path).lstrip("/").partition("/")
        if bucket != self.fake.bucket:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        if self.command == "POST":
            self.form()
            return
        if "X-Goog-Signature" in self.query:
            headers = dict(self.headers.items())
            self.fake.account.check_link(self.command, self.raw_path, self.query, headers)
        else:
            self.check_token()
        if self.command == "PUT":
            check_range(len(self.body), self.headers.get("x-goog-content-length-range"))
            once = self.headers.get("x-goog-if-generation-match") == "0"
            resource = self.resource(dict(self.headers.items()))
            stored = self.fake.store(name, self.body, resource, once=once)
            self.answer(200, {"ETag": stored.etag, "x-goog-generation": str(stored.generation)})
        elif self.command in ("GET", "HEAD"):
            self.get(name)
        else:
            raise Refused(405, "MethodNotAllowed")

    def get(self, name: str) -> None:
        """Send an object, or a range of it."""
        stored = self.fake.objects.get(name)
        if stored is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        data, status, more = stored.data, 200, {}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found:
            start, end = int(found[1]), int(found[2] or len(data) - 1)
            if start >= len(data):
                raise Refused(416, "InvalidRange")
            more["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
            data, status = data[start : end + 1], 206
        headers = {
            HEADERS[key]: str(stored.resource[key]) for key in HEADERS.keys() & stored.resource
        }
        for name_, value in stored.resource.get("metadata", {}).items():
            headers[f"x-goog-meta-{name_}"] = value
        for asked, header in (("type", "Content-Type"), ("disposition", "Content-Disposition")):
            if f"response-content-{asked}" in self.query:
                headers[header] = self.query[f"response-content-{asked}"]
        times = {"Last-Modified": format_datetime(stored.updated, usegmt=True)}
        generation = {"x-goog-generation": str(stored.generation)}
        self.answer(status, {**headers, **more, **times, **generation, "ETag": stored.etag}, data)

    @staticmethod
    def resource(headers: dict[str, str]) -> dict[str, Any]:
        """Make the resource of an object from headers."""
        given = {name.lower(): value for name, value in headers.items()}
        found: dict[str, Any] = {
            key: given[name.lower()] for key, name in HEADERS.items() if name.lower() in given
        }
        start = "x-goog-meta-"
        metadata = {n[len(start) :]: value for n, value in given.items() if n.startswith(start)}
        return {**found, "metadata": metadata}

    def form(self) -> None:
        """Store what a form uploads, if its policy allows every field."""
        fields: dict[str, str] = {}
        files: list[bytes] = []

        def on_field(field: Any) -> None:
            fields[field.field_name.decode().lower()] = (field.value or b"").decode()

        def on_file(file: Any) -> None:
            file.file_object.seek(0)
            files.append(file.file_object.read())
            file.close()

        headers = {"Content-Type": self.headers["Content-Type"].encode()}
        parse_form(headers, io.BytesIO(self.body), on_field, on_file)
        if not files:
            raise Refused(400, "InvalidArgument", "no file")
        self.fake.account.check_policy(fields, len(files[0]))
        stored = self.fake.store(fields["key"], files[0], self.resource(fields), once=False)
        self.answer(int(fields.get("success_action_status", 204)), {"ETag": stored.etag})

    # Sessions.

    def begin(self) -> None:
        """Begin a session."""
        once = self.query.get("ifGenerationMatch") == "0"
        session = Session(self.query["name"], json.loads(self.body), once=once)
        name = uuid.uuid4().hex
        self.fake.sessions[name] = session
        self.answer(200, {"Location": f"{self.fake.endpoint}/session/{name}"})

    def session(self, name: str) -> None:
        """Take bytes, tell how many there are, or end the session."""
        fake = self.fake
        with fake.lock:
            session = fake.sessions.get(name)
            if session is None:
                raise Refused(404, "notFound", "No such session")
            if self.command == "DELETE":
                del fake.sessions[name]
                raise Refused(499, "499")
            if session.is_done:
                self.send_json(fake.objects[session.name].as_json(session.name))
                return
            if session.receive(self.headers["Content-Range"], self.body):
                data = bytes(session.data)
                stored = fake.store(session.name, data, session.resource, once=session.once)
                session.is_done = True
                self.send_json(stored.as_json(session.name))
                return
            size = len(session.data)
            self.answer(308, {"Range": f"bytes=0-{size - 1}"} if size else {})

    # The JSON interface.

    def of_json(self, name: str) -> None:
        """Tell of an object, or remove it."""
        with self.fake.lock:
            stored = self.fake.objects.get(name)
            if stored is None:
                raise Refused(404, "notFound", "No such object")
            if self.command == "DELETE":
                given = self.query.get("ifGenerationMatch", str(stored.generation))
                if given != str(stored.generation):
                    raise Refused(412, "conditionNotMet")
                del self.fake.objects[name]
                self.answer(204)
            else:
                self.send_json(stored.as_json(name))

    def list(self) -> None:
        """List the objects, a page of them."""
        fake, query = self.fake, self.query
        with fake.lock:
            objects = sorted(fake.objects.items(), key=lambda item: item[0].encode())
        start = query.get("pageToken") or query.get("startOffset", "")
        wanted = [
            (name, stored)
            for name, stored in objects
            if name.startswith(query.get("prefix", "")) and name.encode() >= start.encode()
        ]
        size = min(int(query.get("maxResults", fake.page_size)), fake.page_size)
        page, rest = wanted[:size], wanted[size:]
        found: dict[str, Any] = {"kind": "storage#objects"}
        if page:
            found["items"] = [stored.as_json(name) for name, stored in page]
        if rest:
            found["nextPageToken"] = rest[0][0]
        self.send_json(found)

    def rules(self) -> None:
        """Tell of the bucket, or change it."""
        if self.command == "PATCH":
            self.fake.rules |= json.loads(self.body)
        self.send_json({"name": self.fake.bucket, **self.fake.rules})

    def check_token(self) -> None:
        """Check the token of the service account, and whether it may do this."""
        self.fake.account.check_token(self.headers.get("Authorization", ""))
        if self.command in self.fake.denied:
            raise Refused(403, "forbidden", f"{EMAIL} does not have access")

    # Responses.

    def send_json(self, value: object) -> None:
        """Send JSON."""
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def refuse(self, refused: Refused) -> None:
        """Send an error in the form of the interface."""
        if urlsplit(self.path).path.startswith(("/storage/", "/upload/", "/session/")):
            error = {"code": refused.status, "message": refused.message}
            body = {"error": {**error, "errors": [{"reason": refused.code}]}}
            headers = {"Content-Type": "application/json"}
            self.answer(refused.status, headers, json.dumps(body).encode())
            return
        said = {"Code": refused.code, "Message": refused.message, **refused.more}
        inner = "".join(
            f"<{name}>{text.replace('&', '&amp;').replace('<', '&lt;')}</{name}>"
            for name, text in said.items()
        )
        body_ = f"<?xml version='1.0' encoding='UTF-8'?><Error>{inner}</Error>".encode()
        self.answer(refused.status, {"Content-Type": "application/xml"}, body_)

    def sharing(self) -> dict[str, str]:
        """Give the headers for pages of other origins, as the rules of the bucket say."""
        origin = self.headers.get("Origin")
        method = self.headers.get("Access-Control-Request-Method", self.command)
        for rule in self.fake.rules.get("cors", ()):
            if {origin, "*"} & {*rule["origin"]} and method in rule["method"]:
                names = ", ".join(rule.get("responseHeader", ()))
                shared = {"Access-Control-Allow-Origin": str(origin)}
                if self.command != "OPTIONS":
                    return {**shared, "Access-Control-Expose-Headers": names}
                return {
                    **shared,
                    "Access-Control-Allow-Methods": ", ".join(rule["method"]),
                    "Access-Control-Allow-Headers": names,
                    "Access-Control-Max-Age": str(rule.get("maxAgeSeconds", 3600)),
                }
        return {}

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send a response."""
        self.send_response(status)
        for name, value in {**(headers or {}), **self.sharing()}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
