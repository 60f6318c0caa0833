"""What an operator needs to know of a failure is in the log, and in no answer to a client."""

from __future__ import annotations

import contextlib
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from attach.fake_server import Answer, fake_server, refused_address
from attach.s3_storage import s3_storage
from attach.web.tus_client import PIECE, VERSION
from attach.web.uploaders import Page
from rex.attach.backends.local.storage import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach import Storage

pytestmark = pytest.mark.long

BUCKET, PREFIX, ACCESS_KEY = "inner-bucket", "inner-prefix", "INNERACCESSKEY"
HANDLE = "/2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a.txt"
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
FILE = (
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--edge--\r\n'
)

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/?name=a", {"content": b"x"}),
    ("POST", "/", {"headers": FORM, "content": FILE}),
    ("GET", "/", {}),
    ("GET", HANDLE, {}),
    ("GET", f"{HANDLE}?link", {}),
    ("DELETE", HANDLE, {}),
    ("POST", "/tus", {"headers": {**VERSION, "Upload-Length": "1"}}),
    ("GET", f"/tus{HANDLE}", {}),
    ("DELETE", f"/tus{HANDLE}", {"headers": VERSION}),
    (
        "PATCH",
        f"/tus{HANDLE}",
        {"headers": {**VERSION, **PIECE, "Upload-Offset": "0"}, "content": b"x"},
    ),
    ("POST", "/s3/multipart", {"json": {"filename": "a"}}),
]

ANSWERS = {
    "nothing listens": None,
    "400": (400, "InvalidRequest"),
    "403": (403, "AccessDenied"),
    "404": (404, "NoSuchBucket"),
    "412": (412, "PreconditionFailed"),
    "500": (500, "InternalError"),
    "501": (501, "NotImplemented"),
    "503": (503, "SlowDown"),
}
"""What a server answers to everything: a status, and a code of S3."""


@contextlib.contextmanager
def failing_s3(name: str) -> Iterator[tuple[Storage, list[str]]]:
    """Yield a storage on a server that fails, and the words that no client may read."""
    answer = ANSWERS[name]
    with contextlib.ExitStack() as stack:
        if answer is None:
            endpoint = refused_address()
        else:
            status, code = answer
            message = f"see {BUCKET} at inner-host"
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            headers = {"Content-Type": "application/xml"}
            endpoint = stack.enter_context(fake_server(lambda _: Answer(status, body, headers)))
        storage = s3_storage(
            BUCKET,
            endpoint=endpoint,
            prefix=PREFIX,
            access_key=ACCESS_KEY,
            secret_key="inner-secret-key",
            timeout=0.2,
        )
        stack.enter_context(storage)
        words = [BUCKET, PREFIX, ACCESS_KEY, "inner", endpoint.rpartition(":")[2], "S3Storage"]
        yield storage, words


@pytest.mark.parametrize("name", ANSWERS)
def test_a_client_reads_nothing_about_the_server(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither its address nor the bucket, the prefix or its own words, whatever fails."""
    caplog.set_level(logging.INFO)
    with failing_s3(name) as (storage, words):
        page = Page(storage)
        for method, path, options in REQUESTS:
            caplog.clear()
            answer = page.ask(method, path, **options)
            if answer.status_code in (200, 404):
                continue  # a link that is made offline; what is not there
            told = f"{answer.text} {answer.headers}"
            assert [] == [word for word in (*words, "attach_") if word in told], (method, path)
            assert answer.status_code >= 400
            assert {"rex.attach", "rex.web"} & {one.name for one in caplog.records}


def test_a_client_reads_nothing_about_a_directory(tmp_path: Path) -> None:
    """Not its path, when it is gone."""
    with LocalStorage(tmp_path / "inner-directory", url="http://here") as storage:
        storage.check()
        page = Page(storage)
        shutil.rmtree(tmp_path / "inner-directory")
        for method, path, options in REQUESTS:
            answer = page.ask(method, path, **options)
            told = f"{answer.text} {answer.headers}"
            assert [] == [word for word in ("inner", str(tmp_path), "attach_") if word in told]
            if path != "/s3/multipart":
                assert 503 == answer.status_code, (method, path)
