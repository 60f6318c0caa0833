"""A real server notifies the service of what clients sent straight to it."""

from __future__ import annotations

from queue import Queue
from typing import TYPE_CHECKING

import httpx
import pytest

from attach.s3_storage import s3_storage
from attach.service import Service
from programs import PATIENCE
from rex.attach.web.app import Options
from rex.attach_demo.seaweedfs import SeaweedFS
from rex.core import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.backends.s3.storage import S3Storage

KEY = "0123456789abcdef"
MIB = 1024 * 1024

Heard = Queue[str]


@pytest.fixture(scope="module")
def notified() -> Iterator[tuple[S3Storage, Heard]]:
    """Run a server with a webhook to the service over its storage, and note what it tells."""
    heard: Heard = Queue()
    with Service() as service:
        place = service.reserve()
        environment = {
            "WEED_NOTIFICATION_WEBHOOK_ENABLED": "true",
            "WEED_NOTIFICATION_WEBHOOK_ENDPOINT": service.address(place) + "/events",
            "WEED_NOTIFICATION_WEBHOOK_BEARER_TOKEN": KEY,
        }
        with (
            SeaweedFS(environment=environment) as server,
            s3_storage(
                server.bucket,
                endpoint=server.endpoint,
                access_key=server.access_key,
                secret_key=server.secret_key,
                prefix="some/where",
                on_stored=lambda upload: heard.put(upload.handle),
            ) as storage,
        ):
            service.serve(storage, Options(events_key=Secret(KEY)), place=place)
            yield storage, heard


def test_a_form_straight_to_the_server(notified: tuple[S3Storage, Heard]) -> None:
    """The browser never comes back."""
    storage, heard = notified
    handle = storage.reserve("ü b+c.jpg")
    link = storage.upload_link(handle)
    answer = httpx.post(link.url, data=dict(link.fields), files={"file": b"content"})
    assert 204 == answer.status_code
    assert handle == heard.get(timeout=PATIENCE)


def test_a_multipart_upload_straight_to_the_server(notified: tuple[S3Storage, Heard]) -> None:
    """Completed by a link, so that no call of the storage tells of it; its parts do not count."""
    storage, heard = notified
    handle, uploads = storage.reserve("big.bin"), storage.multipart
    upload_id = uploads.create(handle)
    etags = []
    for number, data in ((1, b"a" * 5 * MIB), (2, b"b")):
        sent = httpx.put(uploads.link(handle, upload_id, number).url, content=data)
        etags.append(sent.headers["ETag"])
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
    link = uploads.complete_link(handle, upload_id)
    answer = httpx.request(link.method, link.url, content=body, headers=dict(link.headers))
    assert 200 == answer.status_code
    assert handle == heard.get(timeout=PATIENCE)
    assert 5 * MIB + 1 == storage.info(handle).size
